//! The memory that pages of logs take which clients that come back read.
//!
//! Pages are held here alone; readers know them weakly. Where room is short, a page goes that nobody has read from for a while, and its
//! readers go on with another page, from where they are, when they read again. So a reader that takes nothing holds nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;

use super::budget::RingBudget;
use super::read_queue::ReaderId;
use super::replay::ReplayPage;

/// Where room is short, a page stays that was read from within this time.
const IDLE: Duration = Duration::from_secs(1);

/// But no longer than this, for readers that take a little again and again.
const AGE_MAX: Duration = Duration::from_secs(5);

/// How long a page is kept otherwise after it was read from, for others who come back to the same place: a crowd that reconnects
/// arrives within seconds, and on a small machine it takes a while to be let in.
const KEPT: Duration = Duration::from_secs(10);

/// The pages of all workspaces.
#[derive(Debug)]
pub(super) struct Pages {
    pub(super) budget: Arc<RingBudget>,
    bytes_max: usize,
    /// What one page may take: each frame may be wanted in two forms.
    page_bytes: usize,
    state: Mutex<PagesState>,
}

#[derive(Debug, Default)]
struct PagesState {
    /// In the order in which they came.
    held: VecDeque<Held>,
    /// How many are being read, each of which may take as much as a page may.
    under_way: usize,
}

#[derive(Debug)]
struct Held {
    page: Arc<ReplayPage>,
    /// The client that had it read.
    reader: Option<ReaderId>,
    since: Instant,
}

impl Pages {
    /// Room for `bytes_max` bytes of pages of workspaces whose rings may have `ring_bytes`.
    pub(super) fn new(used: Gauge, bytes_max: usize, ring_bytes: usize) -> Self {
        let budget = Arc::new(RingBudget::new(used, bytes_max));
        Self { budget, bytes_max, page_bytes: ring_bytes.saturating_mul(2), state: Mutex::default() }
    }

    /// Whether there is room for one more page. It counts as under way then, until [`Self::end`].
    pub(super) fn begin(&self, reader: Option<ReaderId>, now: Instant) -> bool {
        let mut state = self.state.lock();
        let wanted = self.page_bytes.saturating_mul(state.under_way + 1);
        if self.budget.lacks(wanted) {
            self.make_room(&mut state, wanted, reader, now);
        }
        // One page at a time is read in any case.
        let is_alone = state.under_way == 0 && state.held.is_empty();
        if self.budget.lacks(wanted) && !is_alone {
            return false;
        }
        state.under_way += 1;
        true
    }

    /// A page that was under way has come or will not.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.under_way = state.under_way.saturating_sub(1);
    }

    /// A page has come.
    pub(super) fn hold(&self, page: Arc<ReplayPage>, reader: Option<ReaderId>, now: Instant) {
        self.state.lock().held.push_back(Held { page, reader, since: now });
    }

    /// Forgets pages that nobody has read from for long enough.
    pub(super) fn sweep(&self, now: Instant) {
        let mut state = self.state.lock();
        state.held.retain(|held| held.page.idle(now) < KEPT);
        if state.held.is_empty() {
            state.held = VecDeque::new();
        }
    }

    /// Gives up pages, the oldest first: those that are not read from, and for another client those of one that has more than a quarter
    /// of all.
    fn make_room(&self, state: &mut PagesState, wanted: usize, reader: Option<ReaderId>, now: Instant) {
        state.held.retain(|held| {
            let is_old = now.saturating_duration_since(held.since) >= AGE_MAX;
            // Its workspace knows it, and each of its readers.
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
