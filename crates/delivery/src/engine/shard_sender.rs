//! The messages to a shard, and the waker for them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::{Wake, Waker};

use mio::{Registry, Token};

use super::event_streams::TraceRequest;
use super::handoff::Handoff;
use super::listing::ListRequest;
use tidings_limits::{Ending, OnClose};

/// A message to a shard. Their number is bounded, since each connection and broadcast has two on
/// their way at most, and there is one ping. The listener bounds the connections, and messages of
/// removed connections are received in the following turns.
#[derive(Debug)]
pub(super) enum ShardMessage {
    /// A connection is handed off.
    Open(Box<Handoff>),
    /// A connection may have work.
    Look(u32),
    /// A broadcast may have something to read.
    Read(u32),
    /// The shard makes progress when it receives this.
    Ping,
    /// An operator asks for the streams of a workspace; the console bounds how many do.
    List(Box<ListRequest>),
    /// A request for the streams that have an event.
    Trace(Box<TraceRequest>),
    /// Streams end from now on.
    Drain,
    /// Abort the remaining streams.
    Abandon,
    /// End the shard.
    Stop,
}

/// Sends messages to a shard and wakes it.
#[derive(Debug)]
pub(super) struct ShardSender {
    messages: Sender<ShardMessage>,
    waker: mio::Waker,
    /// Whether the shard is parked, or is about to be.
    asleep: AtomicBool,
    /// Whether a ping is on its way.
    is_pinged: AtomicBool,
}

impl ShardSender {
    /// Creates the sender and receiver of a shard's messages, which wake its poll.
    ///
    /// # Errors
    ///
    /// If the system has no waker left.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<(Arc<Self>, Receiver<ShardMessage>)> {
        let (messages, receiver) = mpsc::channel();
        let waker = mio::Waker::new(registry, token)?;
        Ok((
            Arc::new(Self {
                messages,
                waker,
                asleep: AtomicBool::new(false),
                is_pinged: AtomicBool::new(false),
            }),
            receiver,
        ))
    }

    /// Sends a message. A shard that has ended does not receive it, and a connection in it is
    /// dropped.
    pub(super) fn send(&self, message: ShardMessage) {
        let _ = self.messages.send(message);
        if self.asleep.swap(false, Ordering::SeqCst) {
            // Waking fails only if the poll is gone.
            let _ = self.waker.wake();
        }
    }

    /// Sends a ping, unless the shard has not received the one before. Returns whether it did.
    pub(super) fn ping(&self) -> bool {
        let is_received = !self.is_pinged.swap(true, Ordering::SeqCst);
        if is_received {
            self.send(ShardMessage::Ping);
        }
        is_received
    }

    /// Notes that the ping was received.
    pub(super) fn pinged(&self) {
        self.is_pinged.store(false, Ordering::SeqCst);
    }

    /// Marks the shard as parked: later messages wake it. The shard checks for earlier messages
    /// once more after this.
    pub(super) fn park(&self) {
        self.asleep.store(true, Ordering::SeqCst);
    }

    /// Marks the shard as awake.
    pub(super) fn unpark(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }
}

impl OnClose for ShardSender {
    fn on_close(&self, stream: u32, _ending: Ending) {
        self.send(ShardMessage::Look(stream));
    }
}

/// Wakes a shard for one of its connections or broadcasts.
#[derive(Debug)]
pub(super) struct ShardWaker {
    shard_sender: Arc<ShardSender>,
    of: WakerOf,
    /// Whether a message is on its way.
    is_sent: AtomicBool,
}

/// The target of a waker.
#[derive(Debug, Clone, Copy)]
pub(super) enum WakerOf {
    /// A connection.
    Client(u32),
    /// A broadcast.
    Broadcast(u32),
}

impl ShardWaker {
    pub(super) fn new(shard_sender: &Arc<ShardSender>, of: WakerOf) -> Arc<Self> {
        Arc::new(Self { shard_sender: Arc::clone(shard_sender), of, is_sent: AtomicBool::new(false) })
    }

    /// Notes that the message was received, so the next wake-up sends another one. The shard calls
    /// it before it looks.
    pub(super) fn received(&self) {
        self.is_sent.store(false, Ordering::SeqCst);
    }

    /// The waker for a task context.
    pub(super) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }
}

impl Wake for ShardWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_sent.swap(true, Ordering::SeqCst) {
            self.shard_sender.send(match self.of {
                WakerOf::Client(client) => ShardMessage::Look(client),
                WakerOf::Broadcast(broadcast) => ShardMessage::Read(broadcast),
            });
        }
    }
}
