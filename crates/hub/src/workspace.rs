//! One workspace on this node: its subscription, its order of events and its waiting subscribers.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use slab::Slab;

use super::LiveEvents;
use super::look::{LOOK_PAUSE, Look, MarkFound};
use super::read_queue::{LogRead, ReadOrigin, ReaderId};
use super::replay::{ReplayFailure, ReplayPage, Replays};
use super::sequencer::{ReadRequest, Sequencer};
use super::shared::HubShared;
use tidings_event::log::{LiveMark, LogError, LogPage, Span};
use tidings_event::workspace::WorkspaceId;

/// The state of a workspace's subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subscription {
    /// Requested, not confirmed yet; or lost and not confirmed again.
    Pending,
    /// Confirmed: every published event arrives.
    Confirmed,
    /// The bus refuses it.
    Refused,
}

/// One workspace, shared by the hub and its subscribers.
#[derive(Debug)]
pub(super) struct WorkspaceCell {
    id: WorkspaceId,
    /// Distinguishes it from an earlier workspace of the same id that was released.
    generation: u64,
    shared: Arc<HubShared>,
    state: Mutex<WorkspaceState>,
}

/// The state behind the cell's lock.
#[derive(Debug)]
pub(super) struct WorkspaceState {
    pub(super) sequencer: Sequencer,
    pub(super) subscription: Subscription,
    pub(super) replays: Replays,
    pub(super) look: Look,
    /// The readers, each with its waker while it waits.
    waiting: Slab<Option<Waker>>,
    /// The number of subscribers, including those for which a ring reader reads.
    subscriber_count: usize,
    /// Emptied and reused at each wake-up, so that fan-out allocates nothing.
    waking: Vec<Waker>,
    empty_since: Option<Instant>,
    /// Whether the workspace is in the list of lingering ones.
    lingers: bool,
}

impl WorkspaceCell {
    pub(super) fn new(id: WorkspaceId, shared: Arc<HubShared>) -> Self {
        let state = WorkspaceState {
            sequencer: Sequencer::new(id.clone(), Arc::clone(&shared)),
            subscription: Subscription::Pending,
            replays: Replays::default(),
            look: Look::default(),
            waiting: Slab::new(),
            subscriber_count: 0,
            waking: Vec::new(),
            empty_since: None,
            lingers: false,
        };
        Self { id, generation: shared.next_id(), shared, state: Mutex::new(state) }
    }

    pub(super) fn id(&self) -> &WorkspaceId {
        &self.id
    }

    /// Whether this very workspace requested a read.
    pub(super) fn has_requested(&self, read: &LogRead) -> bool {
        read.generation == self.generation
    }

    pub(super) fn shared(&self) -> &HubShared {
        &self.shared
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, WorkspaceState> {
        self.state.lock()
    }

    /// Adds a subscriber. Returns its slot, and whether the bus has to try again because it refused
    /// before.
    pub(super) fn enter(&self) -> (usize, bool) {
        let mut state = self.state.lock();
        state.empty_since = None;
        let is_refused = state.subscription == Subscription::Refused;
        if is_refused {
            state.subscription = Subscription::Pending;
        }
        state.subscriber_count += 1;
        self.shared.metrics.subscribers.inc();
        (state.waiting.insert(None), is_refused)
    }

    /// Removes a subscriber.
    pub(super) fn leave(&self) {
        let mut state = self.state.lock();
        state.subscriber_count -= 1;
        if state.subscriber_count == 0 {
            state.empty_since = Some(Instant::now());
            if !std::mem::replace(&mut state.lingers, true) {
                self.shared.lingering.add(&self.id);
            }
        }
        self.shared.metrics.subscribers.dec();
    }

    /// Adds a reader that is no subscriber; it reads for several.
    pub(super) fn enter_reader(&self) -> usize {
        self.state.lock().waiting.insert(None)
    }

    /// Removes a reader, which the ring knows if it has a cursor.
    pub(super) fn leave_reader(&self, slot: usize, cursor: Option<u64>) {
        let mut state = self.state.lock();
        if let Some(cursor) = cursor {
            state.sequencer.ring_mut().leave(cursor);
        }
        state.waiting.remove(slot);
        if state.waiting.is_empty() {
            state.waiting = Slab::new();
            state.waking = Vec::new();
        }
    }

    /// The number of subscribers.
    pub(super) fn subscriber_count(&self) -> usize {
        self.state.lock().subscriber_count
    }

    /// Records that the workspace was taken from the list of lingering ones. Returns whether it has
    /// no subscriber.
    pub(super) fn take_from_lingering(&self) -> bool {
        let mut state = self.state.lock();
        state.lingers = false;
        state.subscriber_count == 0
    }

    /// Forgets results that have expired. Returns whether the workspace had no subscriber for the
    /// linger time.
    pub(super) fn sweep(&self, now: Instant, linger: Duration) -> bool {
        let mut state = self.state.lock();
        state.replays.sweep(now);
        state.empty_since.is_some_and(|since| now.saturating_duration_since(since) >= linger)
    }

    /// Sends the resets for dropped events that are due.
    pub(super) fn send_due_resets(&self) {
        let mut state = self.state.lock();
        if state.sequencer.send_due_resets() {
            self.wake_unlocked(state);
        }
    }

    /// Handles a confirmation. The result of the read that follows wakes the subscribers.
    pub(super) fn confirmed(&self) {
        let mut state = self.state.lock();
        state.subscription = Subscription::Confirmed;
        let request = state.sequencer.confirmed();
        if request.is_some() && self.shared.settings.live == LiveEvents::Auto {
            let number = state.look.begin();
            self.want_look(number);
        }
        self.request_read(request);
    }

    pub(super) fn refused(&self) {
        let mut state = self.state.lock();
        state.sequencer.interrupted();
        state.replays.forget_results();
        state.subscription = Subscription::Refused;
        self.wake_unlocked(state);
    }

    pub(super) fn interrupted(&self) {
        let mut state = self.state.lock();
        if state.subscription == Subscription::Confirmed {
            state.sequencer.interrupted();
            state.replays.forget_results();
            state.subscription = Subscription::Pending;
        }
    }

    /// A message of the workspace's channel.
    pub(super) fn message(&self, message: &Bytes) {
        let mut state = self.state.lock();
        let request = state.sequencer.message(message);
        self.request_read(request);
        self.wake_unlocked(state);
    }

    /// Handles the result of a read that the workspace itself requested.
    pub(super) fn caught_up(&self, read_id: u64, page: Result<LogPage, LogError>) {
        let mut state = self.state.lock();
        let request = state.sequencer.on_read(read_id, page);
        self.request_read(request);
        self.wake_unlocked(state);
    }

    /// Handles the result of a read that subscribers requested.
    pub(super) fn replayed(&self, span: Span, reader: Option<ReaderId>, page: Result<LogPage, LogError>) {
        let Some(page_request) = self.state.lock().replays.request(span) else { return };
        // Encoded outside the lock, because live events need it meanwhile.
        let page = match page {
            Ok(page) => Ok(Arc::new(ReplayPage::encode(&self.shared, span, &page, page_request))),
            Err(error) => Err(ReplayFailure::from(&error)),
        };
        let now = Instant::now();
        let mut state = self.state.lock();
        state.replays.store(span, page.as_ref().map_err(|failure| *failure), now);
        if let Ok(page) = page {
            self.shared.pages.hold(page, reader, now);
        }
        self.wake_unlocked(state);
    }

    /// Requests a read of the log for subscribers; `reader` is the first of them.
    pub(super) fn request_replay(&self, span: Span, reader: Option<ReaderId>) {
        self.push_read(span, Duration::ZERO, ReadOrigin::Replay { reader });
    }

    /// Handles the second look at the mark. If the bus was unreachable, it is repeated. A mark that
    /// cannot be read counts as one.
    pub(super) fn looked(&self, number: u64, page: Result<LogPage, LogError>) {
        let mut state = self.state.lock();
        if matches!(page, Err(LogError::Unavailable(_))) {
            if state.look.is_latest(number) {
                self.want_look(number);
            }
            return;
        }
        let mark = page.map_or(LiveMark::Unknown, |page| page.live);
        let found = MarkFound { mark, cursor: state.sequencer.ring().head() };
        if state.look.store(number, found) {
            state.sequencer.looked(mark);
            self.wake_unlocked(state);
        }
    }

    fn request_read(&self, request: Option<ReadRequest>) {
        if let Some(ReadRequest { span, read_id, pause }) = request {
            self.push_read(span, pause, ReadOrigin::Workspace(read_id));
        }
    }

    fn want_look(&self, number: u64) {
        self.push_read(Span::LiveMark, LOOK_PAUSE, ReadOrigin::Look { number });
    }

    fn push_read(&self, span: Span, pause: Duration, origin: ReadOrigin) {
        let (workspace, generation) = (self.id.clone(), self.generation);
        self.shared.read_queue.push(LogRead { workspace, span, pause, generation, origin });
    }

    /// Wakes every waiting subscriber.
    pub(super) fn wake(&self) {
        self.wake_unlocked(self.state.lock());
    }

    /// Wakes every waiting subscriber after it releases the lock, because they need it next.
    fn wake_unlocked(&self, mut state: MutexGuard<'_, WorkspaceState>) {
        let mut waking = std::mem::take(&mut state.waking);
        waking.extend(state.waiting.iter_mut().filter_map(|(_, waiting)| waiting.take()));
        if waking.is_empty() {
            state.waking = waking;
            return;
        }
        drop(state);
        waking.drain(..).for_each(Waker::wake);
        let mut state = self.state.lock();
        if !state.waiting.is_empty() && state.waking.capacity() < waking.capacity() {
            state.waking = waking;
        }
    }
}

impl WorkspaceState {
    /// The number of subscribers.
    pub(super) fn subscriber_count(&self) -> usize {
        self.subscriber_count
    }

    /// Whether a subscriber may join.
    pub(super) fn is_open(&self) -> bool {
        self.subscription == Subscription::Confirmed && self.sequencer.is_followed()
    }

    /// Registers a reader that has nothing to read and has to be woken.
    pub(super) fn wait(&mut self, slot: usize, context: &Context<'_>) {
        if let Some(waiting) = self.waiting.get_mut(slot) {
            match waiting {
                Some(waker) if waker.will_wake(context.waker()) => {}
                _ => *waiting = Some(context.waker().clone()),
            }
        }
    }
}
