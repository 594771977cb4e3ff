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
//! | [`replay`] | older frames, read from the log once for all clients at the same place |
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
//!
//! Read first: [`Hub`], [`Subscriber`], [`Next`], `Sequencer`.
//!
//! This crate must never know sockets, HTTP, Redis types or a runtime. It reads no log itself: it
//! asks through [`ReadQueue`] and gets the page by [`Hub::answer`].
//!
//! Locks are taken in the order map, then workspace. They are held while pointers move, no longer.

#[cfg(feature = "benching")]
pub mod benching;
mod budget;
mod drops;
mod filter;
mod lingering;
mod look;
mod marks;
mod pace;
mod pages;
mod queue;
pub mod rate;
mod read_queue;
mod replay;
mod ring;
mod ring_reader;
mod sequencer;
mod shared;
mod start;
mod subscriber;
mod waiter_slot;
mod workspace;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

pub use filter::{SubscriptionFilter, TypeFilter, TypeFilterError};
pub use marks::{MARK_SLACK, Marks};
pub use pace::Clock;
pub use read_queue::{LogRead, ReadQueue, ReaderId};
pub use ring_reader::{RingRead, RingReader};
pub use start::{Resume, Start};
pub use subscriber::{Joined, Next, Subscriber};
pub use waiter_slot::SubscriptionGuard;

use crate::rate::Rates;
use read_queue::ReadOrigin;
use shared::HubShared;
use tidings_event::NodeId;
use tidings_event::log::{LogError, LogPage};
use tidings_event::workspace::WorkspaceId;
use tidings_event::{BusHandler, DesiredSubscriptions};
use tidings_metrics::Metrics;
use workspace::WorkspaceCell;

/// The bounds a hub keeps.
#[derive(Debug, Clone, Copy)]
pub struct HubSettings {
    /// Frames in a workspace's ring.
    pub ring_events: usize,
    /// Bytes in a workspace's ring.
    pub ring_bytes: usize,
    /// Bytes in the rings of all workspaces together. The newest event of each workspace stays all the same.
    pub ring_bytes_in_all: usize,
    /// Bytes in pages of logs that clients which come back read.
    pub replay_bytes: usize,
    /// How fast a workspace's channel may bring events.
    pub rates: Rates,
    /// Bytes of a payload.
    pub event_bytes: usize,
    /// How long a workspace is kept after its last subscriber left.
    pub linger: Duration,
    /// Workspaces at a time.
    pub workspaces: usize,
    /// Whether workspaces carry events that are not logged.
    pub live: LiveEvents,
}

/// Whether workspaces carry live events, which stand in no log: what decides where a client has to be told that it may
/// have missed some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LiveEvents {
    /// Each workspace that has shown some within the retention does; the nodes know it from a mark beside its log.
    #[default]
    Auto,
    /// None does: a live event that comes all the same is delivered, and its loss is not told.
    Never,
    /// All do: no mark is written or read.
    Always,
}

/// The hub holds as many workspaces, or as many events of them, as it may, and a further workspace was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this node holds as many workspaces as it may (limits.workspaces, limits.ring_bytes)")]
pub struct Full;

/// All workspaces of this node.
#[derive(Debug)]
pub struct Hub {
    workspaces: Mutex<HashMap<WorkspaceId, Arc<WorkspaceCell>>>,
    desired_subscriptions: Arc<DesiredSubscriptions>,
    shared: Arc<HubShared>,
}

impl Hub {
    /// An empty hub. What it wants to hear of stands in `desired_subscriptions`.
    #[must_use]
    pub fn new(
        node: NodeId,
        settings: HubSettings,
        desired_subscriptions: Arc<DesiredSubscriptions>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self::with_clock(node, settings, desired_subscriptions, metrics, Clock::default())
    }

    /// The same, with a clock of one's own.
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

    /// Joins a workspace. The subscriber first gets [`Next::Joined`] once the bus has confirmed the workspace, then
    /// everything after that. It leaves by being dropped.
    ///
    /// # Errors
    ///
    /// [`Full`], when the workspace would be one too many, or there is no room for its events.
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
                self.make_room(&mut workspaces)?;
                let cell = Arc::new(WorkspaceCell::new(id.clone(), Arc::clone(&self.shared)));
                workspaces.insert(id.clone(), Arc::clone(&cell));
                self.shared.metrics.workspaces.inc();
                self.desired_subscriptions.want(id);
                cell
            }
        };
        // While the map is locked: the workspace must not be swept away before the subscriber stands in it.
        let (slot, ask_again) = cell.enter();
        if ask_again {
            self.desired_subscriptions.want(id);
        }
        drop(workspaces);
        Ok(Subscriber::new(cell, slot, start, filter))
    }

    /// Gives up the workspaces that had no subscriber for the linger time at `now`, and tells those that are there of what was
    /// dropped because it came too fast. To be called every second or so. Answers how many were given up.
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
        self.shared.read_queue.made_room();
        if self.shared.take_untold() {
            for cell in self.cells() {
                cell.tell_dropped();
            }
        }
        released
    }

    /// Whether a workspace beside so many others would be one too many.
    fn is_full(&self, workspaces: usize) -> bool {
        workspaces >= self.shared.settings.workspaces || self.shared.is_crowded()
    }

    /// Gives up workspaces that only linger, those that have done so for longest first, until there is room for one more. It
    /// looks at no other, so that a crowd before a full hub costs little. The map is locked, so that a join right after this one
    /// wants its workspace after it is released.
    fn make_room(&self, workspaces: &mut HashMap<WorkspaceId, Arc<WorkspaceCell>>) -> Result<(), Full> {
        while self.is_full(workspaces.len()) {
            let id = self.shared.lingering.take().ok_or(Full)?;
            // Somebody may have come back to it, or it may be gone.
            if workspaces.get(&id).is_some_and(|cell| cell.is_taken_from_lingering()) {
                workspaces.remove(&id);
                self.desired_subscriptions.release(&id);
                self.shared.metrics.workspaces.dec();
            }
        }
        Ok(())
    }

    /// Lets every subscriber look around: a drain has begun.
    pub fn wake_all(&self) {
        for cell in self.cells() {
            cell.wake();
        }
    }

    /// What is wanted of the logs.
    #[must_use]
    pub fn read_queue(&self) -> &ReadQueue {
        &self.shared.read_queue
    }

    /// Brings the answer to a wish from [`read_queue`](Self::read_queue). Each wish wants one.
    pub fn answer(&self, read: &LogRead, page: Result<LogPage, LogError>) {
        // A workspace that was given up meanwhile wants it no more.
        let cell = self.cell(&read.workspace).filter(|cell| cell.has_asked(read));
        match (read.asker, cell) {
            (ReadOrigin::Workspace(ticket), Some(cell)) => cell.caught_up(ticket, page),
            (ReadOrigin::Look { number }, Some(cell)) => cell.looked(number, page),
            (ReadOrigin::Replay { reader }, cell) => {
                if let Some(cell) = cell {
                    cell.replayed(read.span, reader, page);
                }
                self.shared.pages.end();
                self.shared.read_queue.made_room();
            }
            (_, None) => {}
        }
    }

    /// The workspaces that want their mark of live events written.
    #[must_use]
    pub fn marks(&self) -> &Marks {
        &self.shared.marks
    }

    /// The mark of a workspace that was taken from [`marks`](Self::marks) could not be written: its next live event wants it again.
    pub fn mark_failed(&self, workspace: &WorkspaceId) {
        if let Some(cell) = self.cell(workspace) {
            cell.lock().sequencer.mark_failed();
        }
    }

    /// How many workspaces are held now.
    #[must_use]
    pub fn workspaces(&self) -> usize {
        self.workspaces.lock().len()
    }

    fn cells(&self) -> Vec<Arc<WorkspaceCell>> {
        self.workspaces.lock().values().cloned().collect()
    }

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
        // Nobody here any more: the release of the subscription is on its way.
        if let Some(cell) = self.cell(workspace) {
            cell.message(&message);
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
