//! What a client has seen, shared between the task that reads and the test that asks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::parser::Event;

/// How the body of a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// As the server meant it, after a whole event.
    Clean,
    /// As the server meant it, within an event, which is thereby lost.
    WithinEvent,
    /// By the end of the connection where more was to come.
    Aborted(String),
}

/// A growing record.
#[derive(Debug, Clone, Default)]
pub(super) struct Record(Arc<RecordState>);

#[derive(Debug, Default)]
struct RecordState {
    seen: Mutex<Seen>,
    grown: Notify,
}

/// All that was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub events: Vec<(Instant, Event)>,
    pub retries: Vec<u64>,
    pub last_event_id: String,
    /// The first bytes of the body.
    pub body: Vec<u8>,
    pub body_bytes: u64,
    pub opened: u64,
    pub end: Option<End>,
    /// What the stream must not hold, and held.
    pub fault: Option<String>,
    /// How many events the test has taken.
    taken: usize,
}

impl Record {
    /// Changes the record and wakes the test.
    pub(super) fn update(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.0.seen.lock());
        self.0.grown.notify_waiters();
    }

    /// Looks at the record.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.0.seen.lock())
    }

    /// Waits until there is a value, or the time is over.
    pub(super) async fn wait<T>(
        &self,
        within: Duration,
        mut value: impl FnMut(&mut Seen) -> Option<T>,
    ) -> Option<T> {
        let wait = async {
            loop {
                let grown = self.0.grown.notified();
                tokio::pin!(grown);
                // In line before the look, so that growth in between is not missed.
                grown.as_mut().enable();
                if let Some(value) = value(&mut self.0.seen.lock()) {
                    return value;
                }
                grown.await;
            }
        };
        tokio::time::timeout(within, wait).await.ok()
    }

    /// Fails the test where the stream had a fault.
    pub(super) fn check(&self) {
        // An older program, beside which this one is tested, opens its streams with such a block.
        if std::env::var_os("TIDINGS_OTHER_PROGRAM").is_some() {
            return;
        }
        if let Some(fault) = self.look(|seen| seen.fault.clone()) {
            panic!("{fault}; {}", self.story());
        }
    }

    /// The next event that the test has not taken yet, however long it takes, or the end when there
    /// is none.
    pub(super) async fn next(&self) -> Result<(Instant, Event), End> {
        let next = self.wait(Duration::MAX, |seen| match seen.events.get(seen.taken) {
            Some(next) => {
                seen.taken += 1;
                Some(Ok(next.clone()))
            }
            None => seen.end.clone().map(Err),
        });
        let next = next.await;
        self.check();
        next.unwrap_or(Err(End::Aborted("no deadline is that far".to_owned())))
    }

    /// The next event that the test has not taken yet and that fulfils the condition; those before
    /// it are thereby taken too. Fails the test when none comes.
    pub(super) async fn wait_for(
        &self,
        within: Duration,
        what: &str,
        mut wanted: impl FnMut(&Event) -> bool,
    ) -> Event {
        let found = self.wait(within, |seen| {
            if seen.fault.is_some() {
                return Some(Err(End::WithinEvent));
            }
            let next = seen.events[seen.taken..].iter().position(|(_, event)| wanted(event));
            if let Some(offset) = next {
                let event = seen.events[seen.taken + offset].1.clone();
                seen.taken += offset + 1;
                return Some(Ok(event));
            }
            seen.end.clone().map(Err)
        });
        let found = found.await;
        self.check();
        match found {
            Some(Ok(event)) => event,
            Some(Err(end)) => panic!("the stream ended ({end:?}) before {what}; {}", self.story()),
            None => panic!("not within {within:?}: {what}; {}", self.story()),
        }
    }

    /// What was seen, for the message of a test that fails.
    pub(super) fn story(&self) -> String {
        const SHOWN: usize = 20;
        self.look(|seen| {
            let last = seen.events.iter().skip(seen.events.len().saturating_sub(SHOWN));
            let lines: Vec<_> = last.map(|(_, event)| format!("  {event:?}")).collect();
            format!(
                "{} events in {} bytes, the last of them:\n{}",
                seen.events.len(),
                seen.body_bytes,
                lines.join("\n")
            )
        })
    }
}
