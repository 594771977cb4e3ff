//! State that all workspaces of a hub share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::HubSettings;
use super::budget::RingBudget;
use super::lingering::Lingering;
use super::marks::Marks;
use super::pace::Clock;
use super::pages::Pages;
use super::read_queue::ReadQueue;
use super::ring::FRAME_OVERHEAD_BYTES;
use super::watch_list::WatchList;
use crate::rate::Rates;
use tidings_event::control::ResetReason;
use tidings_event::log::LogEntry;
use tidings_event::workspace::WorkspaceId;
use tidings_event::{Audience, Frame, LivePart, NodeId, Position, TraceParent};
use tidings_metrics::Metrics;
use tidings_metrics::Throttle;

/// Shared by the hub and its workspaces.
#[derive(Debug)]
pub(super) struct HubShared {
    pub(super) node: NodeId,
    pub(super) settings: HubSettings,
    pub(super) metrics: Arc<Metrics>,
    pub(super) read_queue: ReadQueue,
    pub(super) pages: Arc<Pages>,
    pub(super) marks: Marks,
    pub(super) lingering: Lingering,
    pub(super) clock: Clock,
    /// The sampled events; `None` if no event is sampled.
    pub(super) watch_list: Option<Arc<WatchList>>,
    /// The budget of all rings.
    pub(super) budget: Arc<RingBudget>,
    /// The rates at which a workspace's channel may carry events.
    rates: Mutex<Rates>,
    /// Whether there ever was a limit on them: then a workspace may have dropped events.
    had_rates: AtomicBool,
    /// A workspace has dropped events without a reset so far.
    has_unreported: AtomicBool,
    /// For log lines about events that are dropped.
    drop_warnings: Throttle,
    /// For log lines about logs that cannot be read.
    pub(super) read_warnings: Throttle,
    /// Numbers for live positions. The node has one count, so a workspace that is released and
    /// created again never repeats a number.
    live_numbers: AtomicU64,
    /// Ids of reads and workspaces; one count of the node for the same reason.
    ids: AtomicU64,
}

impl HubShared {
    pub(super) fn new(node: NodeId, settings: HubSettings, clock: Clock, metrics: Arc<Metrics>) -> Self {
        let budget = RingBudget::new(metrics.ring_bytes.clone(), settings.ring_bytes_in_all);
        let pages = Pages::new(metrics.replay_bytes.clone(), settings.replay_bytes, settings.ring_bytes);
        let pages = Arc::new(pages);
        Self {
            clock,
            watch_list: None,
            budget: Arc::new(budget),
            node,
            settings,
            metrics,
            read_queue: ReadQueue::new(Arc::clone(&pages)),
            pages,
            marks: Marks::default(),
            rates: Mutex::new(settings.rates),
            had_rates: AtomicBool::new(settings.rates != Rates::default()),
            has_unreported: AtomicBool::new(false),
            lingering: Lingering::default(),
            drop_warnings: Throttle::default(),
            read_warnings: Throttle::default(),
            live_numbers: AtomicU64::new(0),
            ids: AtomicU64::new(0),
        }
    }

    /// The budget of all pages.
    pub(super) fn page_budget(&self) -> Arc<RingBudget> {
        Arc::clone(&self.pages.budget)
    }

    /// Whether the rings leave too little memory for the largest event.
    pub(super) fn is_memory_full(&self) -> bool {
        self.budget.lacks(self.settings.event_bytes + FRAME_OVERHEAD_BYTES)
    }

    /// A live position right after a logged one; no other event has it.
    pub(super) fn next_live(&self, logged: Position) -> Position {
        let number = self.live_numbers.fetch_add(1, Ordering::Relaxed) + 1;
        Position { live: Some(LivePart { node: self.node, number }), ..logged }
    }

    /// The rates at which a workspace's channel may carry events.
    pub(super) fn rates(&self) -> Rates {
        *self.rates.lock()
    }

    /// Replaces the rates. Workspaces that exist keep theirs.
    pub(super) fn set_rates(&self, rates: Rates) {
        *self.rates.lock() = rates;
        self.had_rates.fetch_or(rates != Rates::default(), Ordering::Relaxed);
    }

    /// Notes that a workspace has dropped events whose reset has to wait.
    pub(super) fn note_unreported(&self) {
        self.has_unreported.store(true, Ordering::Relaxed);
    }

    /// Whether a workspace may have dropped events without a reset. Clears the note.
    pub(super) fn take_unreported(&self) -> bool {
        self.had_rates.load(Ordering::Relaxed) || self.has_unreported.swap(false, Ordering::Relaxed)
    }

    /// Returns a number that no other read or workspace of this node has.
    pub(super) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns a payload as text, if it can be delivered.
    pub(super) fn check<'a>(&self, payload: &'a Bytes) -> Result<&'a str, ResetReason> {
        if payload.len() > self.settings.event_bytes {
            return Err(ResetReason::TooLarge);
        }
        std::str::from_utf8(payload).map_err(|_| ResetReason::NotUtf8)
    }

    /// Creates the frame of a logged event, if it can be delivered.
    pub(super) fn frame(&self, entry: &LogEntry, position: Position) -> Result<Frame, ResetReason> {
        let payload = entry.payload.as_ref().ok_or(ResetReason::BadEntry)?;
        // An event whose audience cannot be read reaches no client.
        let to = entry.to.as_ref().map(|to| Audience::parse(to).map(Arc::new)).transpose();
        self.logged(position, payload, to.map_err(|_| ResetReason::BadEntry)?, entry.trace)
    }

    /// Creates the frame of a logged event, for an audience or for all clients, if it can be
    /// delivered. The frame has the trace of the publisher, so it is the same on each node and in
    /// each replay.
    pub(super) fn logged(
        &self,
        position: Position,
        payload: &Bytes,
        to: Option<Arc<Audience>>,
        trace: Option<TraceParent>,
    ) -> Result<Frame, ResetReason> {
        let trace = trace.filter(|trace| self.settings.traces_in_streams && trace.is_sampled());
        Ok(Frame::traced(position, self.check(payload)?, trace).with_audience(to))
    }

    /// Counts and logs an event that cannot be delivered; the caller sends the reset.
    pub(super) fn note_dropped(&self, workspace: &WorkspaceId, reason: ResetReason, bytes: usize) {
        self.metrics.count_dropped(reason.as_str());
        if let Some(silenced) = self.drop_warnings.pass() {
            tracing::warn!(
                %workspace, reason = reason.as_str(), bytes, silenced,
                "dropped an event that cannot be delivered; subscribers get tidings.reset"
            );
        }
    }
}
