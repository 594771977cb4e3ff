//! What others have to say to a shard, and how it is woken for it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::{Wake, Waker};

use mio::{Registry, Token};

use super::handoff::Handoff;
use tidings_limits::{Ending, OnClose};

/// A word to a shard. There are no more of them at a time than connections and logs, since each has
/// two words on its way at most; connections are bounded by the listener, and what those have left
/// who are gone is heard in the turns that follow.
#[derive(Debug)]
pub(super) enum ShardMessage {
    /// A connection is handed over.
    Open(Box<Handoff>),
    /// A connection may have something to do.
    Look(u32),
    /// A log may have something to read.
    Read(u32),
    /// Streams end from now on.
    Drain,
    /// Connections that are still there are cut.
    Abandon,
    /// The shard ends.
    Stop,
}

/// A shard's ear, for others.
#[derive(Debug)]
pub(super) struct ShardSender {
    messages: Sender<ShardMessage>,
    waker: mio::Waker,
    /// Whether the shard waits, or is about to.
    asleep: AtomicBool,
}

impl ShardSender {
    /// An inbox whose words wake the poll.
    ///
    /// # Errors
    ///
    /// When the system has no means of waking left.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<(Arc<Self>, Receiver<ShardMessage>)> {
        let (messages, receiver) = mpsc::channel();
        let waker = mio::Waker::new(registry, token)?;
        Ok((Arc::new(Self { messages, waker, asleep: AtomicBool::new(false) }), receiver))
    }

    /// Says something. A shard that is gone does not hear it, and what was handed over is dropped.
    pub(super) fn send(&self, message: ShardMessage) {
        let _ = self.messages.send(message);
        if self.asleep.swap(false, Ordering::SeqCst) {
            // Only a poll that is gone cannot be woken.
            let _ = self.waker.wake();
        }
    }

    /// The shard is about to wait: whoever says something from here on wakes it. What was said
    /// before must be looked for once more after this.
    pub(super) fn park(&self) {
        self.asleep.store(true, Ordering::SeqCst);
    }

    /// The shard is awake.
    pub(super) fn unpark(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }
}

impl OnClose for ShardSender {
    fn on_close(&self, stream: u32, _ending: Ending) {
        self.send(ShardMessage::Look(stream));
    }
}

/// Wakes a shard for one of its connections or logs.
#[derive(Debug)]
pub(super) struct ClientWaker {
    shard_sender: Arc<ShardSender>,
    of: WakerOf,
    /// Whether the word is on its way.
    rung: AtomicBool,
}

/// For whom a bell is.
#[derive(Debug, Clone, Copy)]
pub(super) enum WakerOf {
    /// A connection.
    Client(u32),
    /// A log.
    Log(u32),
}

impl ClientWaker {
    pub(super) fn new(shard_sender: &Arc<ShardSender>, of: WakerOf) -> Arc<Self> {
        Arc::new(Self { shard_sender: Arc::clone(shard_sender), of, rung: AtomicBool::new(false) })
    }

    /// The word was heard: a further one is said again. To be called before looking.
    pub(super) fn received(&self) {
        self.rung.store(false, Ordering::SeqCst);
    }

    /// A waker that rings it.
    pub(super) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }
}

impl Wake for ClientWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::SeqCst) {
            self.shard_sender.send(match self.of {
                WakerOf::Client(client) => ShardMessage::Look(client),
                WakerOf::Log(log) => ShardMessage::Read(log),
            });
        }
    }
}
