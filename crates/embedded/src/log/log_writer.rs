//! The thread that writes the logs: it does every read and write of one, in the order in which
//! they arrive.
//!
//! It takes all waiting commands together and stores their changes with one write, so that many
//! publishers share it. Only then does it reply and announce. So no client has an event that a
//! crash could lose, and the order on a channel is the order in its log.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::disk::database::OpenError;
use crate::disk::{Disk, DiskSettings};
use crate::log::{LogSettings, Logs};
use crate::pubsub::PubSub;
use tidings_bus::{LinkState, StateCell};

/// The commands that may wait. A further one waits outside; each client waits for one reply, or a
/// few.
const QUEUE_MAX: usize = 256;

/// The longest time for a reply. Only a disk that does not respond takes nearly as long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The bytes of new entries in one write: they are in memory beside all logs, and again in
/// messages.
const TOGETHER_BYTES_MAX: usize = 16 << 20;

/// Sends commands to the thread. The thread ends when the last of these is dropped, or by a close.
#[derive(Debug, Clone)]
pub(crate) struct LogWriter {
    queue: mpsc::Sender<WriterMessage>,
}

enum WriterMessage {
    Work(Work),
    /// Remove ended logs, write waiting changes.
    Tidy,
    Close(oneshot::Sender<()>),
}

/// Works with the logs, and returns the function that replies when the changes are stored.
type Work = Box<dyn FnOnce(&mut Logs) -> Completion + Send>;
type Completion = Box<dyn FnOnce(Result<&PubSub, LogWriterError>) + Send>;

/// The result of a command.
#[derive(Debug)]
pub(crate) struct Committed<T> {
    /// For the client that sent the command.
    pub(crate) reply: T,
    /// For the subscribers of the channels.
    pub(crate) announcements: Vec<Announcement>,
}

/// A message that is published when the work behind it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announcement {
    pub(crate) channel: Bytes,
    pub(crate) message: Bytes,
}

/// Work was not done, or not surely.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LogWriterError {
    #[error("the bus was stopped")]
    Stopped,
    #[error("the disk does not respond")]
    Late,
    #[error("too many clients read logs at the same time: try again")]
    Busy,
    #[error("the log cannot be written: {0}")]
    Disk(String),
}

/// A pending reply.
#[derive(Debug)]
pub(crate) struct Pending<T>(oneshot::Receiver<Result<T, LogWriterError>>);

impl<T> Committed<T> {
    /// A reply without an announcement.
    pub(crate) fn without_announcements(reply: T) -> Self {
        Self { reply, announcements: Vec::new() }
    }

    /// A reply, and messages for the subscribers of one channel.
    pub(crate) fn announcing(reply: T, channel: &Bytes, messages: Vec<Bytes>) -> Self {
        let announce = |message| Announcement { channel: channel.clone(), message };
        Self { reply, announcements: messages.into_iter().map(announce).collect() }
    }
}

impl<T> Pending<T> {
    /// Waits for the reply. If this is dropped, the command is done nevertheless.
    pub(crate) async fn reply(self) -> Result<T, LogWriterError> {
        match timeout(PATIENCE, self.0).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) => Err(LogWriterError::Stopped),
            Err(_) => Err(LogWriterError::Late),
        }
    }
}

impl LogWriter {
    /// Starts the thread, on logs that are kept on disk or in memory only, and waits until it has
    /// read them.
    pub(crate) async fn start(
        settings: LogSettings,
        disk: Option<DiskSettings>,
        pubsub: Arc<PubSub>,
        state: Arc<StateCell>,
    ) -> Result<Self, OpenError> {
        let (queue, work) = mpsc::channel(QUEUE_MAX);
        let (opened, opening) = oneshot::channel();
        let keep = move || {
            match WriterState::open(settings, disk, pubsub, state) {
                Ok(mut keeping) => {
                    let _ = opened.send(Ok(()));
                    keeping.run(work);
                }
                // The receiver may be gone.
                Err(error) => drop(opened.send(Err(error))),
            }
        };
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(keep)
            .map_err(|error| OpenError::Thread(error.to_string()))?;
        opening.await.unwrap_or_else(|_| Err(OpenError::Thread("reading them failed".to_owned())))?;
        Ok(Self { queue })
    }

    /// On new logs that are kept in memory only.
    #[cfg(test)]
    pub(crate) async fn in_memory(pubsub: &Arc<PubSub>) -> Self {
        let settings = LogSettings {
            events: 1000,
            age: Duration::from_secs(60),
            bytes: 1 << 20,
            memory: 16 << 20,
            idempotency_cache: crate::log::IdempotencyBounds { log: 1 << 20, all: 4 << 20 },
        };
        let state = Arc::new(StateCell::new("embedded"));
        Self::start(settings, None, Arc::clone(pubsub), state).await.unwrap()
    }

    /// Sends a command, and waits for a place in the queue. The reply comes when it is done and
    /// stored.
    ///
    /// Cancellation safe: either the work is in the queue or it is not.
    pub(crate) async fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Logs) -> Committed<T> + Send + 'static,
    ) -> Pending<T> {
        let (reply, replied) = oneshot::channel();
        match timeout(PATIENCE, self.queue.reserve()).await {
            Ok(Ok(place)) => {
                place.send(WriterMessage::Work(Box::new(move |logs| complete(work(logs), reply))))
            }
            // Dropped, the sender says that the thread has stopped.
            Ok(Err(_)) => drop(reply),
            Err(_) => drop(reply.send(Err(LogWriterError::Late))),
        }
        Pending(replied)
    }

    /// Sends a command and waits for the reply.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Logs) -> Committed<T> + Send + 'static,
    ) -> Result<T, LogWriterError> {
        self.submit(work).await.reply().await
    }

    /// Removes ended logs, and writes waiting changes. Meant for a call every second.
    pub(crate) async fn tidy(&self) {
        // Without the thread there is nothing to remove.
        let _ = self.queue.send(WriterMessage::Tidy).await;
    }

    /// Ends the thread once all earlier commands are done and on the disk.
    pub(crate) async fn close(&self) {
        let (closed, closing) = oneshot::channel();
        if self.queue.send(WriterMessage::Close(closed)).await.is_ok() {
            // An error says that the thread has ended, as intended.
            let _ = closing.await;
        }
    }

    /// Whether the thread takes work.
    pub(crate) fn is_running(&self) -> bool {
        !self.queue.is_closed()
    }
}

fn complete<T: Send + 'static>(
    done: Committed<T>,
    reply: oneshot::Sender<Result<T, LogWriterError>>,
) -> Completion {
    Box::new(move |stored| {
        let replied = match stored {
            Ok(pubsub) => {
                for Announcement { channel, message } in &done.announcements {
                    pubsub.publish(channel, message);
                }
                reply.send(Ok(done.reply))
            }
            Err(error) => reply.send(Err(error)),
        };
        // The receiver may be gone.
        drop(replied);
    })
}

/// The state of the thread.
struct WriterState {
    logs: Logs,
    settings: LogSettings,
    disk: Option<Disk>,
    pubsub: Arc<PubSub>,
    state: Arc<StateCell>,
}

impl WriterState {
    fn open(
        settings: LogSettings,
        disk: Option<DiskSettings>,
        pubsub: Arc<PubSub>,
        state: Arc<StateCell>,
    ) -> Result<Self, OpenError> {
        let mut logs = Logs::new(settings, disk.is_some());
        let disk = disk.map(|settings| Disk::open(settings, &mut logs)).transpose()?;
        Ok(Self { logs, settings, disk, pubsub, state })
    }

    fn run(&mut self, mut queue: mpsc::Receiver<WriterMessage>) {
        let mut messages = Vec::with_capacity(QUEUE_MAX);
        while queue.blocking_recv_many(&mut messages, QUEUE_MAX) > 0 {
            if let Some(closed) = self.process(messages.drain(..)) {
                queue.close();
                self.close();
                let _ = closed.send(());
                return;
            }
        }
        self.close();
    }

    /// Does the waiting commands, stores the changes, and replies. Returns the sender of a close,
    /// if there is one.
    fn process(&mut self, messages: impl Iterator<Item = WriterMessage>) -> Option<oneshot::Sender<()>> {
        self.recover();
        self.logs.begin(now());
        let mut closed = None;
        let mut completions = Vec::new();
        for message in messages {
            match message {
                WriterMessage::Work(work) => completions.push(work(&mut self.logs)),
                WriterMessage::Tidy => {}
                WriterMessage::Close(sender) => closed = Some(sender),
            }
            if self.logs.appended_bytes() > TOGETHER_BYTES_MAX {
                self.finish(completions.drain(..));
            }
        }
        self.finish(completions.drain(..));
        closed
    }

    /// Stores the changes, and replies.
    fn finish(&mut self, completions: impl Iterator<Item = Completion>) {
        self.logs.evict();
        let stored = self.store();
        for complete in completions {
            complete(stored.as_ref().map(|()| &*self.pubsub).map_err(Clone::clone));
        }
    }

    fn store(&mut self) -> Result<(), LogWriterError> {
        let changes = self.logs.take_changes();
        let Some(disk) = &mut self.disk else { return Ok(()) };
        let was_sound = disk.is_sound();
        let stored = disk.store(&changes);
        if let (Err(error), true) = (&stored, was_sound) {
            tracing::error!(error, "the log cannot be written: nothing is published until it can");
            self.state.count_interruption();
            self.state.set_link(LinkState::Down { error: format!("the log cannot be written: {error}") });
        }
        stored.map_err(LogWriterError::Disk)
    }

    /// After a failure of the disk, begins again with its content as soon as it can be read. The
    /// logs in memory are not valid, because they have the changes that failed.
    fn recover(&mut self) {
        let Some(disk) = &mut self.disk else { return };
        let mut logs = Logs::new(self.settings, true);
        if disk.reopen(&mut logs) {
            self.logs = logs;
            self.pubsub.interrupt();
            self.state.set_link(LinkState::Up);
            tracing::info!("the log can be written again");
        }
    }

    fn close(&mut self) {
        if let Some(disk) = &mut self.disk
            && let Err(error) = disk.close()
        {
            tracing::error!(error, "the log was not closed properly: the last events may be lost");
        }
    }
}

/// Milliseconds since the Unix epoch.
fn now() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
