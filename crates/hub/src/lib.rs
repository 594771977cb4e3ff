//! Workspaces with subscribers on this node: their recent frames, their order, and their cursors.
//!
//! The bus delivers into the hub through [`BusHandler`]; subscribers read from it by polling.
//!
//! | part | contents |
//! | --- | --- |
//! | [`workspace`] | one workspace: its subscription, its events, its waiting subscribers |
//! | [`sequencer`] | puts channel and log into one order without loss or repetition |
//! | [`pace`] | the rate limit on events, and what it drops |
//! | [`ring`] | the recent frames, numbered and bounded |
//! | [`lifecycle`] | one stream over time, as a state machine for every writer |
//! | [`replay`] | older frames, read from the log once for all clients at the same place |
//! | [`resumption`] | whether a client that resumes gets everything |
//! | [`pages`] | the memory of these parts of logs |
//! | [`subscriber`] | the cursor and the filter of one client, and its next frame |
//! | [`ring_reader`] | one reader of the ring for many clients |
//! | [`waiter_slot`] | membership in a workspace, and the waker of a subscriber |
//! | [`budget`] | the memory of all rings |
//! | [`lingering`] | workspaces without subscribers, which are dropped first |
//! | [`read_queue`] | the reads of logs that the hub wants |
//! | [`queue`] | messages that wait for a read |
//! | [`marks`], [`look`] | marks of live events: those to write, and the second look at one |
//! | [`drops`] | dropped events that subscribers do not know of yet |
//! | [`watch_list`] | the sampled events whose deliveries are not complete |
//! | [`survey`], [`trace`] | the figures of workspaces, and the place of one event, for operators |
//!
//! Read first: [`Hub`], [`Subscriber`], [`Next`], `Sequencer`.
//!
//! This crate must never know sockets, HTTP, Redis types or a runtime. It reads no log itself: it
//! asks through [`ReadQueue`] and gets the page by [`Hub::answer`].
//!
//! Locks are taken in the order map, then workspace. The lock of a workspace is held while one
//! message is parsed and encoded. It is never held over I/O, a wake, or the encoding of a page.

mod budget;
mod connected;
mod drops;
mod filter;
mod lifecycle;
mod lingering;
mod look;
mod marks;
mod pace;
mod pages;
mod queue;
pub mod rate;
mod read_queue;
mod replay;
mod resumption;
mod ring;
mod ring_reader;
mod sequencer;
mod shared;
mod start;
mod subscriber;
mod survey;
mod trace;
mod waiter_slot;
mod watch_list;
mod workspace;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

pub use filter::{SubscriptionFilter, TypeFilter, TypeFilterError};
pub use lifecycle::{NEVER, StreamEnds, StreamLifecycle, StreamMoment, StreamStep, Tick};
pub use marks::{MARK_SLACK, Marks};
pub use pace::Clock;
pub use read_queue::{LogRead, ReadQueue, ReaderId};
pub use resumption::Resumption;
pub use ring_reader::{RingRead, RingReader};
pub use start::{Resume, Start};
pub use subscriber::{Joined, Next, Subscriber};
pub use survey::WorkspaceFigures;
pub use trace::{EventPlace, TracedFrame};
pub use waiter_slot::SubscriptionGuard;
pub use watch_list::{WATCH_TIME, WATCHED_MAX, WatchList, WatchedEvent};

use crate::rate::Rates;
use read_queue::ReadOrigin;
use shared::HubShared;
use tidings_event::NodeId;
use tidings_event::log::{LogError, LogPage};
use tidings_event::workspace::WorkspaceId;
use tidings_event::{BusHandler, DesiredSubscriptions};
use tidings_metrics::Metrics;
use workspace::WorkspaceCell;

/// The limits of a hub.
#[derive(Debug, Clone, Copy)]
pub struct HubSettings {
    /// Frames in a workspace's ring.
    pub ring_events: usize,
    /// Bytes in a workspace's ring.
    pub ring_bytes: usize,
    /// Bytes in the rings of all workspaces together. The newest event of each workspace is kept in
    /// any case.
    pub ring_bytes_in_all: usize,
    /// Bytes in pages of logs that resuming clients read.
    pub replay_bytes: usize,
    /// The rates at which a workspace's channel may carry events.
    pub rates: Rates,
    /// The largest payload in bytes. A larger one is dropped, with a reset.
    pub event_bytes: usize,
    /// The time for which a workspace without subscribers is kept.
    pub linger: Duration,
    /// Workspaces at a time.
    pub workspaces: usize,
    /// Whether workspaces carry live events.
    pub live: LiveEvents,
    /// The time for which a log keeps an event. An older one may have expired with its log.
    pub retention: Duration,
    /// Whether the frame of a sampled event carries the trace of its publisher.
    pub traces_in_streams: bool,
}

/// Whether workspaces carry live events, which are in no log. It decides when a client gets a reset
/// because it may have missed some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LiveEvents {
    /// A workspace does if it carried some within the retention; a mark beside its log says so.
    #[default]
    Auto,
    /// None does: a live event is delivered all the same, and its loss causes no reset.
    Never,
    /// All do: no mark is written or read.
    Always,
}

/// The limit at which a hub rejects a further workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The number of workspaces.
    #[error("this node holds as many workspaces as it may (limits.workspaces)")]
    Workspaces,
    /// The memory for their events.
    #[error("the events of this node's workspaces leave no memory for another one (limits.ring_bytes)")]
    RingBytes,
}

impl Full {
    /// The label in the metric of refusals: the setting, with hyphens.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Workspaces => "workspaces",
            Self::RingBytes => "ring-bytes",
        }
    }
}

/// Returns the bytes of rings beyond which a hub with these limits rejects a further workspace.
#[must_use]
pub const fn bytes_full(ring_bytes_in_all: usize, event_bytes: usize) -> usize {
    ring_bytes_in_all.saturating_sub(event_bytes + ring::FRAME_OVERHEAD_BYTES)
}

/// All workspaces of this node.
#[derive(Debug)]
pub struct Hub {
    workspaces: Mutex<HashMap<WorkspaceId, Arc<WorkspaceCell>>>,
    desired_subscriptions: Arc<DesiredSubscriptions>,
    shared: Arc<HubShared>,
}

impl Hub {
    /// Creates an empty hub. It names the workspaces that it needs in `desired_subscriptions`.
    #[must_use]
    pub fn new(
        node: NodeId,
        settings: HubSettings,
        desired_subscriptions: Arc<DesiredSubscriptions>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self::with_clock(node, settings, desired_subscriptions, metrics, Clock::default())
    }

    /// The same with another clock.
    #[must_use]
    pub fn with_clock(
        node: NodeId,
        settings: HubSettings,
        desired_subscriptions: Arc<DesiredSubscriptions>,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Self {
        let shared = Arc::new(HubShared::new(node, settings, clock, metrics));
        Self { workspaces: Mutex::default(), desired_subscriptions, shared }
    }

    /// Watches the deliveries of sampled events.
    #[must_use]
    pub fn watched_by(mut self, watch_list: Option<Arc<WatchList>>) -> Self {
        // No workspace shares it yet.
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.watch_list = watch_list;
        }
        self
    }

    /// Joins a workspace. The subscriber first gets [`Next::Joined`] once the bus has confirmed the
    /// workspace, then every later event. Dropping it ends the subscription.
    ///
    /// # Errors
    ///
    /// [`Full`] names the limit that the workspace would exceed.
    pub fn join(
        &self,
        id: &WorkspaceId,
        start: Start,
        filter: SubscriptionFilter,
    ) -> Result<Subscriber, Full> {
        let mut workspaces = self.workspaces.lock();
        let cell = match workspaces.get(id) {
            Some(cell) => Arc::clone(cell),
            None => {
                self.free_lingering(&mut workspaces)?;
                let cell = Arc::new(WorkspaceCell::new(id.clone(), Arc::clone(&self.shared)));
                workspaces.insert(id.clone(), Arc::clone(&cell));
                self.shared.metrics.workspaces.inc();
                self.desired_subscriptions.want(id);
                cell
            }
        };
        // While the map is locked: a sweep must not release the workspace before the subscriber is
        // in it.
        let (slot, is_refused) = cell.enter();
        if is_refused {
            self.desired_subscriptions.want(id);
        }
        drop(workspaces);
        Ok(Subscriber::new(cell, slot, start, filter))
    }

    /// Releases the workspaces that had no subscriber for the linger time at `now`, and sends the
    /// resets that are due. The caller does this about once a second. Returns the number of
    /// released workspaces.
    pub fn sweep(&self, now: Instant) -> usize {
        let mut workspaces = self.workspaces.lock();
        let before = workspaces.len();
        workspaces.retain(|id, cell| {
            let goes = cell.sweep(now, self.shared.settings.linger);
            if goes {
                self.desired_subscriptions.release(id);
            }
            !goes
        });
        let released = before - workspaces.len();
        self.shared.metrics.workspaces.dec_by(i64::try_from(released).unwrap_or(i64::MAX));
        self.shared.lingering.retain(|id| workspaces.contains_key(id));
        drop(workspaces);
        self.shared.pages.sweep(now);
        self.shared.read_queue.note_freed();
        if self.shared.take_unreported() {
            for cell in self.cells() {
                cell.send_due_resets();
            }
        }
        released
    }

    /// The limit that the hub has reached with this number of workspaces, if it has.
    fn full(&self, workspaces: usize) -> Option<Full> {
        if workspaces >= self.shared.settings.workspaces {
            Some(Full::Workspaces)
        } else {
            self.shared.is_memory_full().then_some(Full::RingBytes)
        }
    }

    /// Releases lingering workspaces, the longest first, until a further one fits. It looks at no
    /// other workspace, so many clients at a full hub cost little. The map is locked, so a later
    /// join requests its workspace after the release.
    fn free_lingering(&self, workspaces: &mut HashMap<WorkspaceId, Arc<WorkspaceCell>>) -> Result<(), Full> {
        while let Some(full) = self.full(workspaces.len()) {
            let id = self.shared.lingering.take().ok_or(full)?;
            // The workspace may have a subscriber again, or it may be gone.
            if workspaces.get(&id).is_some_and(|cell| cell.take_from_lingering()) {
                workspaces.remove(&id);
                self.desired_subscriptions.release(&id);
                self.shared.metrics.workspaces.dec();
            }
        }
        Ok(())
    }

    /// Replaces the rates at which channels may carry events, of all workspaces. Their buckets are
    /// full then.
    pub fn set_rates(&self, rates: Rates) {
        self.shared.set_rates(rates);
        // A workspace that is not in the list yet was created with the new rates.
        for cell in self.cells() {
            cell.lock().sequencer.set_rates(rates);
        }
    }

    /// Wakes every subscriber, because a drain has begun.
    pub fn wake_all(&self) {
        for cell in self.cells() {
            cell.wake();
        }
    }

    /// The reads of logs that the hub needs.
    #[must_use]
    pub fn read_queue(&self) -> &ReadQueue {
        &self.shared.read_queue
    }

    /// Takes the page of a read from [`read_queue`](Self::read_queue). Each read gets one.
    pub fn answer(&self, read: &LogRead, page: Result<LogPage, LogError>) {
        // A workspace that was released meanwhile no longer needs it.
        let cell = self.cell(&read.workspace).filter(|cell| cell.has_requested(read));
        match (read.origin, cell) {
            (ReadOrigin::Workspace(read_id), Some(cell)) => cell.caught_up(read_id, page),
            (ReadOrigin::Look { number }, Some(cell)) => cell.looked(number, page),
            (ReadOrigin::Replay { reader }, cell) => {
                if let Some(cell) = cell {
                    cell.replayed(read.span, reader, page);
                }
                self.shared.pages.end();
                self.shared.read_queue.note_freed();
            }
            (_, None) => {}
        }
    }

    /// The workspaces whose mark of live events has to be written.
    #[must_use]
    pub fn marks(&self) -> &Marks {
        &self.shared.marks
    }

    /// Handles a failed write of a mark that came from [`marks`](Self::marks): the next live event
    /// requests it again.
    pub fn mark_failed(&self, workspace: &WorkspaceId) {
        if let Some(cell) = self.cell(workspace) {
            cell.lock().sequencer.mark_failed();
        }
    }

    /// The number of workspaces.
    #[must_use]
    pub fn workspaces(&self) -> usize {
        self.workspaces.lock().len()
    }

    fn cells(&self) -> Vec<Arc<WorkspaceCell>> {
        self.workspaces.lock().values().cloned().collect()
    }

    /// One workspace, if the node holds it.
    fn cell(&self, id: &WorkspaceId) -> Option<Arc<WorkspaceCell>> {
        self.workspaces.lock().get(id).cloned()
    }
}

impl BusHandler for Hub {
    fn confirmed(&self, workspace: &WorkspaceId) {
        if let Some(cell) = self.cell(workspace) {
            cell.confirmed();
        }
    }

    fn refused(&self, workspace: &WorkspaceId, _reason: &str) {
        if let Some(cell) = self.cell(workspace) {
            cell.refused();
        }
    }

    fn message(&self, workspace: &WorkspaceId, message: Bytes) {
        // Without a workspace, the release of the subscription is on its way.
        if let Some(cell) = self.cell(workspace) {
            cell.message(&message);
        }
    }

    fn lost(&self, workspace: &WorkspaceId) {
        if let Some(cell) = self.cell(workspace) {
            cell.interrupted();
        }
    }

    fn interrupted(&self) {
        for cell in self.cells() {
            cell.interrupted();
        }
    }
}

#[cfg(test)]
mod model_log;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
