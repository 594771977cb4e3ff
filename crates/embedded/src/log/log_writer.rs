//! The thread that keeps the logs: everything that reads or writes one is done here, in the order in which it comes.
//!
//! What has come meanwhile is done together and stored together, so that many publishers share one write to the disk. Only
//! then is anybody answered and anything announced: nobody has seen an event that a crash could take back, and the order
//! on a channel is the order in its log.

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

/// How much work may wait. Whoever brings more waits; each of them waits for one answer, or a few.
const QUEUE_MAX: usize = 256;

/// How long an answer may take. Only a disk that does not answer comes near it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How much new entries may take that are stored together: they are in memory beside all logs, and again in messages.
const TOGETHER_BYTES_MAX: usize = 16 << 20;

/// Gives work to the thread. It ends when the last of these is dropped, or one is told to close.
#[derive(Debug, Clone)]
pub(crate) struct LogWriter {
    queue: mpsc::Sender<WriterMessage>,
}

enum WriterMessage {
    Work(Work),
    /// Remove what has ended, write what waits to be written.
    Tidy,
    Close(oneshot::Sender<()>),
}

/// Works with the logs, and answers what is to be said when that is stored.
type Work = Box<dyn FnOnce(&mut Logs) -> Say + Send>;
type Say = Box<dyn FnOnce(Result<&PubSub, LogWriterError>) + Send>;

/// What work leads to.
#[derive(Debug)]
pub(crate) struct Committed<T> {
    /// For whoever brought it.
    pub(crate) answer: T,
    /// For everybody.
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
    #[error("the disk does not answer")]
    Late,
    #[error("too many clients read logs at the same time: try again")]
    Busy,
    #[error("the log cannot be written: {0}")]
    Disk(String),
}

/// An answer to come.
#[derive(Debug)]
pub(crate) struct Pending<T>(oneshot::Receiver<Result<T, LogWriterError>>);

impl<T> Committed<T> {
    /// Nobody else is told.
    pub(crate) fn quietly(answer: T) -> Self {
        Self { answer, announcements: Vec::new() }
    }
}

impl<T> Pending<T> {
    /// Waits for the answer. Dropped, the work is done all the same.
    pub(crate) async fn answer(self) -> Result<T, LogWriterError> {
        match timeout(PATIENCE, self.0).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(LogWriterError::Stopped),
            Err(_) => Err(LogWriterError::Late),
        }
    }
}

impl LogWriter {
    /// Starts the thread, on logs that are kept on disk or in memory only, and waits until it has read them.
    pub(crate) async fn start(
        settings: LogSettings,
        disk: Option<DiskSettings>,
        pubsub: Arc<PubSub>,
        state: Arc<StateCell>,
    ) -> Result<Self, OpenError> {
        let (queue, work) = mpsc::channel(QUEUE_MAX);
        let (opened, opening) = oneshot::channel();
        let keep = move || {
            match Keeping::open(settings, disk, pubsub, state) {
                Ok(mut keeping) => {
                    let _ = opened.send(Ok(()));
                    keeping.run(work);
                }
                // Whoever wanted it may be gone.
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
            idempotency_cache: crate::log::OnceBounds { log: 1 << 20, all: 4 << 20 },
        };
        let state = Arc::new(StateCell::new("embedded"));
        Self::start(settings, None, Arc::clone(pubsub), state).await.unwrap()
    }

    /// Brings work, waiting for a place in the queue. The answer comes when it is done and stored.
    ///
    /// Cancellation safe: either the work is in the queue or it is not.
    pub(crate) async fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Logs) -> Committed<T> + Send + 'static,
    ) -> Pending<T> {
        let (answer, answered) = oneshot::channel();
        match timeout(PATIENCE, self.queue.reserve()).await {
            Ok(Ok(place)) => place.send(WriterMessage::Work(Box::new(move |logs| say(work(logs), answer)))),
            // Dropped, the sender says that the thread has stopped.
            Ok(Err(_)) => drop(answer),
            Err(_) => drop(answer.send(Err(LogWriterError::Late))),
        }
        Pending(answered)
    }

    /// Brings work and waits for the answer.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Logs) -> Committed<T> + Send + 'static,
    ) -> Result<T, LogWriterError> {
        self.submit(work).await.answer().await
    }

    /// Has what has ended removed, and what waits written. Meant to be called about once a second.
    pub(crate) async fn tidy(&self) {
        // Where the thread has stopped there is nothing to tidy.
        let _ = self.queue.send(WriterMessage::Tidy).await;
    }

    /// Ends the thread once all work that came before is done and on the disk.
    pub(crate) async fn close(&self) {
        let (closed, closing) = oneshot::channel();
        if self.queue.send(WriterMessage::Close(closed)).await.is_ok() {
            // An error says that the thread has ended, which is what was wanted.
            let _ = closing.await;
        }
    }

    /// Whether the thread takes work.
    pub(crate) fn is_running(&self) -> bool {
        !self.queue.is_closed()
    }
}

fn say<T: Send + 'static>(done: Committed<T>, answer: oneshot::Sender<Result<T, LogWriterError>>) -> Say {
    Box::new(move |stored| {
        let answered = match stored {
            Ok(pubsub) => {
                for Announcement { channel, message } in &done.announcements {
                    pubsub.publish(channel, message);
                }
                answer.send(Ok(done.answer))
            }
            Err(error) => answer.send(Err(error)),
        };
        // Whoever asked may be gone.
        drop(answered);
    })
}

/// What the thread works with.
struct Keeping {
    logs: Logs,
    settings: LogSettings,
    disk: Option<Disk>,
    pubsub: Arc<PubSub>,
    state: Arc<StateCell>,
}

impl Keeping {
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

    /// Does what has come, stores it, and says so. Answers who wants the end of it all, if somebody does.
    fn process(&mut self, messages: impl Iterator<Item = WriterMessage>) -> Option<oneshot::Sender<()>> {
        self.recover();
        self.logs.begin(now());
        let mut closed = None;
        let mut said = Vec::new();
        for message in messages {
            match message {
                WriterMessage::Work(work) => said.push(work(&mut self.logs)),
                WriterMessage::Tidy => {}
                WriterMessage::Close(sender) => closed = Some(sender),
            }
            if self.logs.appended_bytes() > TOGETHER_BYTES_MAX {
                self.finish(said.drain(..));
            }
        }
        self.finish(said.drain(..));
        closed
    }

    /// Stores what was done, and says so.
    fn finish(&mut self, said: impl Iterator<Item = Say>) {
        self.logs.make_room();
        let stored = self.store();
        for say in said {
            say(stored.as_ref().map(|()| &*self.pubsub).map_err(Clone::clone));
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

    /// Where the disk had failed: begins anew with what is on it, as soon as it can be read again. What is in memory cannot
    /// be relied on, since the work that failed is in it.
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
