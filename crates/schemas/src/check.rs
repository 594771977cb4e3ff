//! Checks the events of a node by their schemas, each once.
//!
//! HTTP asks before it publishes. A thread checks the events from the bus, beside their delivery.
//! It counts and logs them, and neither refuses nor delays one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::mismatch::{Mismatch, Violation, bounded};
use super::seen::{EventKey, EventKeys, SeenEvents};
use super::set::SchemaSet;
use super::workers::Workers;
use tidings_event::envelope;
use tidings_event::envelope::Message;
use tidings_event::log::LogEntry;
use tidings_event::workspace::WorkspaceId;
use tidings_event::{EntryId, SchemaVersion};
use tidings_metrics::{Metrics, SchemaResult, Throttle};

/// Bytes of events that are checked on the spot. A check of so many bytes is as short as other
/// steps of a publication.
const BYTES_ON_THE_SPOT: usize = 4096;

/// Publications over HTTP that wait for a thread.
const WAITING_PUBLICATIONS: usize = 256;

/// Messages and pages of logs that wait for their check.
const WAITING_READS: usize = 8192;

/// Bytes of these.
const WAITING_READ_BYTES: usize = 32 * 1024 * 1024;

/// What a node does with an event over HTTP that does not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaMode {
    /// Publishes it, counts and logs it.
    Report,
    /// Refuses it.
    Enforce,
}

/// A publication is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckRefusal {
    /// An event does not match.
    Mismatch {
        /// The place of the event in the publication, from 0.
        index: usize,
        /// The reason.
        mismatch: Mismatch,
    },
    /// The check could not be made in time.
    Unchecked,
}

/// Checks the events of a node.
#[derive(Debug)]
pub struct SchemaCheck {
    shared: Arc<CheckParts>,
    mode: SchemaMode,
    /// Bound on a check that waits for a thread.
    patience: Duration,
    /// Check large publications.
    publications: Workers,
    /// One thread, so that it sees events in their order.
    reads: Workers,
}

#[derive(Debug)]
struct CheckParts {
    set: SchemaSet,
    metrics: Arc<Metrics>,
    keys: EventKeys,
    seen: Mutex<SeenEvents>,
    /// Bytes that wait in `reads`.
    waiting_bytes: AtomicUsize,
    warnings: Throttle,
}

impl SchemaCheck {
    /// Starts the threads of the checks.
    ///
    /// # Errors
    ///
    /// The error of the system if it starts no thread.
    pub fn start(
        set: SchemaSet,
        mode: SchemaMode,
        patience: Duration,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let cores = available_parallelism().map_or(1, usize::from);
        Ok(Self {
            shared: Arc::new(CheckParts {
                set,
                metrics,
                keys: EventKeys::default(),
                seen: Mutex::default(),
                waiting_bytes: AtomicUsize::new(0),
                warnings: Throttle::default(),
            }),
            mode,
            patience,
            publications: Workers::start("tidings-schemas", (cores / 2).max(1), WAITING_PUBLICATIONS)?,
            reads: Workers::start("tidings-reads", 1, WAITING_READS)?,
        })
    }

    /// The version of the schemas.
    #[must_use]
    pub fn version(&self) -> SchemaVersion {
        self.shared.set.version()
    }

    /// Checks the events of a publication over HTTP. Small ones are checked on the spot, others by
    /// a thread beside the runtime. Cancellation safe.
    ///
    /// # Errors
    ///
    /// [`CheckRefusal`], and only with [`SchemaMode::Enforce`].
    pub async fn publication(
        &self,
        workspace: &WorkspaceId,
        payloads: Vec<Bytes>,
    ) -> Result<(), CheckRefusal> {
        let bytes: usize = payloads.iter().map(Bytes::len).sum();
        let found = if bytes <= BYTES_ON_THE_SPOT && !self.shared.set.is_recursive() {
            Some(mismatches_of(&self.shared.set, &payloads, self.mode))
        } else {
            self.elsewhere(payloads.clone()).await
        };
        let count = payloads.len() as u64;
        let metrics = &self.shared.metrics;
        let mismatches = match (found, self.mode) {
            (None, SchemaMode::Enforce) => {
                metrics.count_schema_checks(SchemaResult::Unchecked, count);
                return Err(CheckRefusal::Unchecked);
            }
            (None, SchemaMode::Report) => {
                metrics.count_schema_checks(SchemaResult::Unchecked, count);
                Vec::new()
            }
            (Some(mut mismatches), SchemaMode::Enforce) if !mismatches.is_empty() => {
                metrics.count_schema_checks(SchemaResult::Refused, count);
                let (index, mismatch) = mismatches.swap_remove(0);
                return Err(CheckRefusal::Mismatch { index, mismatch });
            }
            (Some(mismatches), _) => {
                metrics.count_schema_checks(SchemaResult::Valid, count - mismatches.len() as u64);
                mismatches
            }
        };
        for (_, mismatch) in &mismatches {
            self.shared.note(workspace, "http", mismatch);
        }
        self.expect(workspace, &payloads);
        Ok(())
    }

    /// Has a publication checked by a thread. `None` if that does not happen in time.
    async fn elsewhere(&self, payloads: Vec<Bytes>) -> Option<Vec<(usize, Mismatch)>> {
        let (answer, answered) = oneshot::channel();
        let (shared, mode) = (Arc::clone(&self.shared), self.mode);
        let job = move || {
            if !answer.is_closed() {
                // A client that left needs no response.
                let _ = answer.send(mismatches_of(&shared.set, &payloads, mode));
            }
        };
        self.publications.add(job).ok()?;
        tokio::time::timeout(self.patience, answered).await.ok()?.ok()
    }

    /// Notes that the node is about to read these events from the bus, and has checked them.
    fn expect(&self, workspace: &WorkspaceId, payloads: &[Bytes]) {
        let keys: Vec<EventKey> =
            payloads.iter().map(|payload| self.shared.keys.payload(workspace, payload)).collect();
        let mut seen = self.shared.seen.lock();
        keys.into_iter().for_each(|key| seen.add(key));
    }

    /// Checks a message of a workspace's channel, later and on another thread. Never blocks.
    pub fn message(&self, workspace: &WorkspaceId, message: &Bytes) {
        // An empty message is no event.
        if message.is_empty() {
            return;
        }
        let (shared, workspace, message) = (Arc::clone(&self.shared), workspace.clone(), message.clone());
        let (bytes, events) = (message.len(), 1);
        self.later(bytes, events, move || match envelope::parse(&message) {
            Ok(Message::Live(payload)) => shared.live(&workspace, &payload),
            Ok(Message::Logged { id, payload, .. }) => shared.logged(&workspace, id, &payload),
            // The hub counts what is none.
            Ok(Message::LookAtLog) | Err(_) => {}
        });
    }

    /// Checks the entries of a log that the node read because it may not know them yet. Never
    /// blocks.
    pub fn entries(&self, workspace: &WorkspaceId, entries: &[LogEntry]) {
        let of = |entry: &LogEntry| Some((entry.id, entry.payload.clone()?));
        let entries: Vec<(EntryId, Bytes)> = entries.iter().filter_map(of).collect();
        let bytes = entries.iter().map(|(_, payload)| payload.len()).sum();
        let (shared, workspace, events) = (Arc::clone(&self.shared), workspace.clone(), entries.len());
        if events > 0 {
            self.later(bytes, events, move || {
                entries.iter().for_each(|(id, payload)| shared.logged(&workspace, *id, payload));
            });
        }
    }

    fn later(&self, bytes: usize, events: usize, job: impl FnOnce() + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        let waiting = shared.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let is_added = waiting <= WAITING_READ_BYTES
            && self
                .reads
                .add(move || {
                    shared.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
                    job();
                })
                .is_ok();
        if !is_added {
            self.shared.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.shared.metrics.count_schema_checks(SchemaResult::Unchecked, events as u64);
        }
    }
}

impl CheckParts {
    fn live(&self, workspace: &WorkspaceId, payload: &Bytes) {
        self.read(workspace, payload);
    }

    /// Checks a durable event, unless HTTP on this node did, or a message or page had it before.
    fn logged(&self, workspace: &WorkspaceId, id: EntryId, payload: &Bytes) {
        let entry = self.keys.entry(workspace, id);
        let published = self.keys.payload(workspace, payload);
        {
            let mut seen = self.seen.lock();
            if seen.contains(entry) {
                return;
            }
            seen.add(entry);
            if seen.take(published) {
                return;
            }
        }
        self.read(workspace, payload);
    }

    fn read(&self, workspace: &WorkspaceId, payload: &[u8]) {
        match self.set.check(payload) {
            Ok(()) => self.metrics.count_schema_checks(SchemaResult::Valid, 1),
            Err(mismatch) => self.note(workspace, "bus", &mismatch),
        }
    }

    /// Counts and logs an event that is delivered and does not match.
    fn note(&self, workspace: &WorkspaceId, from: &'static str, mismatch: &Mismatch) {
        let result = match mismatch {
            Mismatch::NoSchema { .. } => SchemaResult::NoSchema,
            Mismatch::NotJson(_) | Mismatch::NoType | Mismatch::TwoTypes | Mismatch::Violation(_) => {
                SchemaResult::Mismatch
            }
        };
        self.metrics.count_schema_checks(result, 1);
        if let Some(silenced) = self.warnings.pass() {
            let event_type = match mismatch {
                Mismatch::Violation(Violation { event_type, .. }) | Mismatch::NoSchema { event_type, .. } => {
                    Some(bounded(event_type, 64))
                }
                _ => None,
            };
            tracing::warn!(
                %workspace, event_type, from, reason = %mismatch, silenced,
                "an event does not match its schema, and is delivered"
            );
        }
    }
}

/// The events that do not match, each with its index; with [`SchemaMode::Enforce`] the first one
/// alone.
fn mismatches_of(set: &SchemaSet, payloads: &[Bytes], mode: SchemaMode) -> Vec<(usize, Mismatch)> {
    let most = match mode {
        SchemaMode::Report => usize::MAX,
        SchemaMode::Enforce => 1,
    };
    let check = |(index, payload): (usize, &Bytes)| Some((index, set.check(payload).err()?));
    payloads.iter().enumerate().filter_map(check).take(most).collect()
}

#[cfg(test)]
mod tests;
