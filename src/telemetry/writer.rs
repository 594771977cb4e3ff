//! A bounded queue of lines with a thread that writes them, so that no caller ever waits for the
//! reader of the log.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use prometheus_client::metrics::counter::Counter;
use rustix::io::Errno;

/// Bytes that may wait to be written. Lines beyond them are dropped and counted.
const QUEUE_BYTES_MAX: usize = 1024 * 1024;

/// Capacity that an empty queue keeps.
const QUEUE_BYTES_KEPT: usize = 16 * 1024;

/// The pause before a further attempt at a descriptor that is set to non-blocking and full.
const FULL_PAUSE: Duration = Duration::from_millis(20);

/// Writes lines to a descriptor from a thread of its own. A clone writes to the same queue.
#[derive(Debug, Clone)]
pub(super) struct BackgroundWriter(Arc<WriterShared>);

#[derive(Debug, Default)]
struct WriterShared {
    queue: Mutex<LineQueue>,
    /// There is something to write.
    filled: Condvar,
    /// Everything is written, or dropped.
    settled: Condvar,
}

#[derive(Debug, Default)]
struct LineQueue {
    lines: Vec<u8>,
    /// Whether the thread works on lines that it took.
    writing: bool,
    /// Dropped lines that no line has reported yet.
    unreported: u64,
    dropped: Counter,
    thread: Option<ThreadId>,
}

impl BackgroundWriter {
    /// Starts the thread, which ends with the process. After lines were dropped and others could be
    /// written again, it calls `report` with how many were dropped; what `report` writes is always
    /// queued.
    ///
    /// # Errors
    ///
    /// When the system has no thread left.
    pub(super) fn start(name: &str, target: impl AsFd + Send + 'static, report: fn(u64)) -> io::Result<Self> {
        let shared = Arc::<WriterShared>::default();
        let writer = Self(Arc::clone(&shared));
        thread::Builder::new().name(name.to_owned()).spawn(move || shared.run(&target, report))?;
        Ok(writer)
    }

    /// Queues whole lines. Never waits: it drops lines that do not fit.
    pub(super) fn write(&self, lines: &[u8]) {
        let mut queue = self.0.queue.lock();
        let is_report = queue.thread == Some(thread::current().id());
        if queue.lines.len().saturating_add(lines.len()) > QUEUE_BYTES_MAX && !is_report {
            queue.drop_lines(lines);
            return;
        }
        queue.lines.extend_from_slice(lines);
        drop(queue);
        self.0.filled.notify_one();
    }

    /// Waits until everything that was queued is written or dropped; `false` when it is not within
    /// the time.
    pub(super) fn flush(&self, longest: Duration) -> bool {
        let mut queue = self.0.queue.lock();
        let waited = self.0.settled.wait_while_for(&mut queue, |queue| !queue.is_settled(), longest);
        !waited.timed_out() || queue.is_settled()
    }

    /// Counts dropped lines in `counter`, those of the past included.
    pub(super) fn count_dropped_in(&self, counter: Counter) {
        let mut queue = self.0.queue.lock();
        counter.inc_by(queue.dropped.get());
        queue.dropped = counter;
    }
}

impl io::Write for BackgroundWriter {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        Self::write(self, lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LineQueue {
    fn is_settled(&self) -> bool {
        self.lines.is_empty() && !self.writing
    }

    fn drop_lines(&mut self, lines: &[u8]) {
        let count = count_lines(lines);
        self.unreported = self.unreported.saturating_add(count);
        self.dropped.inc_by(count);
    }
}

impl WriterShared {
    fn run(&self, target: &impl AsFd, report: fn(u64)) {
        self.queue.lock().thread = Some(thread::current().id());
        let mut taken = Vec::new();
        let mut is_torn = false;
        loop {
            {
                let mut queue = self.queue.lock();
                self.filled.wait_while(&mut queue, |queue| queue.lines.is_empty());
                std::mem::swap(&mut queue.lines, &mut taken);
                queue.writing = true;
            }
            let lost = write_lines(target, &taken, &mut is_torn);
            let unreported = {
                let mut queue = self.queue.lock();
                queue.drop_lines(lost);
                if lost.is_empty() { std::mem::take(&mut queue.unreported) } else { 0 }
            };
            if unreported > 0 {
                report(unreported);
            }
            taken.clear();
            taken.shrink_to(QUEUE_BYTES_KEPT);
            let mut queue = self.queue.lock();
            queue.writing = false;
            if queue.is_settled() {
                self.settled.notify_all();
            }
        }
    }
}

/// Writes lines and returns those that could not be written. `is_torn`: the last written line has
/// no end yet.
fn write_lines<'a>(target: &impl AsFd, lines: &'a [u8], is_torn: &mut bool) -> &'a [u8] {
    if *is_torn && write_bytes(target, b"\n").is_err() {
        return lines;
    }
    *is_torn = false;
    let Err(written) = write_bytes(target, lines) else { return &[] };
    let (done, lost) = lines.split_at(written);
    *is_torn = done.last().is_some_and(|&byte| byte != b'\n');
    lost
}

/// Writes all bytes, for however long it takes; otherwise returns how many were written before an
/// error.
fn write_bytes(target: &impl AsFd, bytes: &[u8]) -> Result<(), usize> {
    let mut written = 0;
    while written < bytes.len() {
        match rustix::io::write(target, &bytes[written..]) {
            Ok(0) => return Err(written),
            Ok(count) => written += count,
            Err(Errno::INTR) => {}
            // Other programs that share the descriptor may have set it to non-blocking.
            Err(Errno::AGAIN) => thread::sleep(FULL_PAUSE),
            Err(_) => return Err(written),
        }
    }
    Ok(())
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests;
