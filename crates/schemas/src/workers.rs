//! Threads for checks that may take long, so that no check holds up the runtime.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use parking_lot::Mutex;

/// One piece of work.
type Job = Box<dyn FnOnce() + Send>;

/// Threads that share a bounded queue.
///
/// They end when all clones are dropped and the queue is empty. Nothing waits for them: a schema
/// that refers to itself can take any time, and must not delay the end of the program.
#[derive(Clone)]
pub(crate) struct Workers {
    queue: SyncSender<Job>,
}

/// The queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueFull;

impl Workers {
    /// Starts `threads` threads with a queue of `jobs`.
    pub(crate) fn start(name: &str, threads: usize, jobs: usize) -> std::io::Result<Self> {
        let (queue, receiver) = sync_channel(jobs);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..threads.max(1) {
            let receiver = Arc::clone(&receiver);
            thread::Builder::new().name(name.to_owned()).spawn(move || work(&receiver))?;
        }
        Ok(Self { queue })
    }

    /// Adds a job; never blocks.
    pub(crate) fn add(&self, job: impl FnOnce() + Send + 'static) -> Result<(), QueueFull> {
        match self.queue.try_send(Box::new(job)) {
            Ok(()) => Ok(()),
            // The threads live as long as the queue.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(QueueFull),
        }
    }
}

fn work(receiver: &Mutex<Receiver<Job>>) {
    loop {
        // One thread waits for a job, the others for the lock.
        let job = receiver.lock().recv();
        match job {
            // A panic is logged, and ends this job alone.
            Ok(job) => drop(catch_unwind(AssertUnwindSafe(job))),
            Err(_) => return,
        }
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").finish_non_exhaustive()
    }
}
