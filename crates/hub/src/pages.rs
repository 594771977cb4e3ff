//! The memory of the pages that resuming clients read.
//!
//! Only this list holds pages; readers have weak references. If memory is short, idle pages are
//! freed. Their readers request another page, from their position on, when they read again. So a
//! reader that takes nothing holds nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;

use super::budget::RingBudget;
use super::read_queue::ReaderId;
use super::replay::ReplayPage;

/// A page that was read from within this time is kept if memory is short.
const IDLE: Duration = Duration::from_secs(1);

/// The limit of that, for readers that take a little again and again.
const AGE_MAX: Duration = Duration::from_secs(5);

/// The time for which a page is kept after its last read, for other clients that resume at the same
/// position. Many clients that reconnect arrive within seconds, and a small machine needs some time
/// to accept them.
const KEPT: Duration = Duration::from_secs(10);

/// The pages of all workspaces.
#[derive(Debug)]
pub(super) struct Pages {
    pub(super) budget: Arc<RingBudget>,
    bytes_max: usize,
    /// The most memory of one page: each frame may be needed in two forms.
    page_bytes: usize,
    state: Mutex<PagesState>,
}

#[derive(Debug, Default)]
struct PagesState {
    /// In the order of arrival.
    held: VecDeque<Held>,
    /// The number of pages that are being read; each may need the memory of a whole page.
    under_way: usize,
}

#[derive(Debug)]
struct Held {
    page: Arc<ReplayPage>,
    /// The client for which it was read.
    reader: Option<ReaderId>,
    since: Instant,
}

impl Pages {
    /// Creates the list with `bytes_max` bytes for pages of workspaces whose rings may have
    /// `ring_bytes`.
    pub(super) fn new(used: Gauge, bytes_max: usize, ring_bytes: usize) -> Self {
        let budget = Arc::new(RingBudget::new(used, bytes_max));
        Self { budget, bytes_max, page_bytes: ring_bytes.saturating_mul(2), state: Mutex::default() }
    }

    /// Whether one more page fits. If so, it counts as being read until [`Self::end`].
    pub(super) fn begin(&self, reader: Option<ReaderId>, now: Instant) -> bool {
        let mut state = self.state.lock();
        let wanted = self.page_bytes.saturating_mul(state.under_way + 1);
        if self.budget.lacks(wanted) {
            self.free_pages(&mut state, wanted, reader, now);
        }
        // A single page is always read.
        let is_alone = state.under_way == 0 && state.held.is_empty();
        if self.budget.lacks(wanted) && !is_alone {
            return false;
        }
        state.under_way += 1;
        true
    }

    /// Notes that a page was read or failed.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.under_way = state.under_way.saturating_sub(1);
    }

    /// Stores a page.
    pub(super) fn hold(&self, page: Arc<ReplayPage>, reader: Option<ReaderId>, now: Instant) {
        self.state.lock().held.push_back(Held { page, reader, since: now });
    }

    /// Frees pages that have been idle for long enough.
    pub(super) fn sweep(&self, now: Instant) {
        let mut state = self.state.lock();
        state.held.retain(|held| held.page.idle(now) < KEPT);
        if state.held.is_empty() {
            state.held = VecDeque::new();
        }
    }

    /// Frees pages, the oldest first. They are idle, old or finished, or belong to another client
    /// that has more than a quarter of all memory.
    fn free_pages(&self, state: &mut PagesState, wanted: usize, reader: Option<ReaderId>, now: Instant) {
        state.held.retain(|held| {
            let is_old = now.saturating_duration_since(held.since) >= AGE_MAX;
            // Its workspace has a reference to it, and each of its readers.
            let is_done = held.page.was_read() && Arc::weak_count(&held.page) <= 1;
            !(self.budget.lacks(wanted) && (is_old || is_done || held.page.idle(now) >= IDLE))
        });
        if !self.budget.lacks(wanted) {
            return;
        }
        let mut shares: HashMap<Option<ReaderId>, usize> = HashMap::new();
        for held in &state.held {
            *shares.entry(held.reader).or_default() += held.page.bytes();
        }
        state.held.retain(|held| {
            let Some(share) = shares.get_mut(&held.reader) else { return true };
            let goes = held.reader != reader && *share > self.bytes_max / 4 && self.budget.lacks(wanted);
            if goes {
                *share = share.saturating_sub(held.page.bytes());
            }
            !goes
        });
    }
}
