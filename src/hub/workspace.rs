//! One workspace on this node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use slab::Slab;

use super::HubSettings;
use super::ring::Ring;
use crate::event::control::{self, ResetReason};
use crate::event::envelope::{self, Message};
use crate::event::{EntryId, Frame, LivePart, NodeId, Position};
use crate::metrics::{EventKind, Metrics};
use crate::telemetry::Throttle;
use crate::workspace::WorkspaceId;

/// What all workspaces of a hub share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) node: NodeId,
    pub(super) settings: HubSettings,
    pub(super) metrics: Arc<Metrics>,
    /// Numbers for places beside the log. One count for the whole node, so that a workspace that was given up and comes
    /// back never uses a number twice.
    live_numbers: AtomicU64,
    drop_log: Throttle,
}

impl Shared {
    pub(super) fn new(node: NodeId, settings: HubSettings, metrics: Arc<Metrics>) -> Self {
        Self { node, settings, metrics, live_numbers: AtomicU64::new(0), drop_log: Throttle::default() }
    }

    /// A place right after `entry` that no one has used.
    fn next_live(&self, entry: EntryId) -> Position {
        let number = self.live_numbers.fetch_add(1, Ordering::Relaxed) + 1;
        Position { entry, live: Some(LivePart { node: self.node, number }) }
    }
}

/// How a workspace's subscription stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Link {
    /// Asked for, not confirmed yet.
    Pending,
    /// Confirmed: everything that is published arrives.
    Live,
    /// It was confirmed and is lost; it will be confirmed or refused again.
    Interrupted,
    /// The bus will not have it.
    Refused(Arc<str>),
}

/// One workspace, shared by the hub and its subscribers.
#[derive(Debug)]
pub(super) struct WorkspaceCell {
    id: WorkspaceId,
    shared: Arc<Shared>,
    state: Mutex<State>,
}

/// What the cell's lock protects.
#[derive(Debug)]
pub(super) struct State {
    pub(super) ring: Ring,
    pub(super) link: Link,
    /// The last logged event that was seen; unknown until one was.
    last_entry: Option<EntryId>,
    /// The subscription was confirmed once and lost since: something may be missing before the next confirmation.
    unproven: bool,
    /// Subscribers, each with its waker while it waits.
    waiting: Slab<Option<Waker>>,
    /// Emptied and reused at each wake-up, so that fan-out allocates nothing.
    waking: Vec<Waker>,
    empty_since: Option<Instant>,
}

impl WorkspaceCell {
    pub(super) fn new(id: WorkspaceId, shared: Arc<Shared>) -> Self {
        let begin = shared.next_live(EntryId::ZERO);
        let ring = Ring::new(begin, shared.settings.ring_events, shared.settings.ring_bytes);
        let state = State {
            ring,
            link: Link::Pending,
            last_entry: None,
            unproven: false,
            waiting: Slab::new(),
            waking: Vec::new(),
            empty_since: None,
        };
        Self { id, shared, state: Mutex::new(state) }
    }

    pub(super) fn id(&self) -> &WorkspaceId {
        &self.id
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// A subscriber enters. Answers its slot, and whether the bus must be asked again because it refused before.
    pub(super) fn enter(&self) -> (usize, bool) {
        let mut state = self.state.lock();
        state.empty_since = None;
        let ask_again = matches!(state.link, Link::Refused(_));
        if ask_again {
            state.link = Link::Pending;
        }
        self.shared.metrics.subscribers.inc();
        (state.waiting.insert(None), ask_again)
    }

    /// A subscriber leaves.
    pub(super) fn leave(&self, slot: usize) {
        let mut state = self.state.lock();
        state.waiting.remove(slot);
        if state.waiting.is_empty() {
            state.waiting = Slab::new();
            state.waking = Vec::new();
            state.empty_since = Some(Instant::now());
        }
        self.shared.metrics.subscribers.dec();
    }

    /// Whether nobody has been here for the linger time.
    pub(super) fn has_lingered(&self, now: Instant, linger: Duration) -> bool {
        self.state.lock().empty_since.is_some_and(|since| now.saturating_duration_since(since) >= linger)
    }

    pub(super) fn confirmed(&self) {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.unproven) {
            self.push_reset(&mut state, ResetReason::Interrupted);
        }
        state.link = Link::Live;
        self.wake_unlocked(state);
    }

    pub(super) fn refused(&self, reason: &str) {
        let mut state = self.state.lock();
        state.unproven |= matches!(state.link, Link::Live | Link::Interrupted);
        state.link = Link::Refused(Arc::from(reason));
        self.wake_unlocked(state);
    }

    pub(super) fn interrupted(&self) {
        let mut state = self.state.lock();
        if state.link == Link::Live {
            state.unproven = true;
            state.link = Link::Interrupted;
        }
    }

    /// A message of the workspace's channel: take it apart, encode it, append it, wake whoever waits.
    pub(super) fn message(&self, message: &Bytes) {
        let mut state = self.state.lock();
        match envelope::parse(message) {
            Ok(Message::Live(payload)) => match self.check(&payload) {
                Ok(text) => {
                    let position = self.next_position(&state);
                    state.ring.push(Frame::application(position, text));
                    self.shared.metrics.count_event(EventKind::Live);
                }
                Err(reason) => self.drop_event(&mut state, reason, payload.len()),
            },
            Ok(Message::Logged { id, previous, payload }) => {
                self.logged(&mut state, id, previous, &payload);
            }
            Ok(Message::LookAtLog) => self.push_reset(&mut state, ResetReason::UnreadLog),
            Err(_) => self.drop_event(&mut state, ResetReason::BadEnvelope, message.len()),
        }
        self.wake_unlocked(state);
    }

    fn logged(&self, state: &mut State, id: EntryId, previous: EntryId, payload: &Bytes) {
        if let Some(last) = state.last_entry {
            if id == last {
                // Announced twice.
                return;
            }
            if previous != last {
                self.push_reset(state, ResetReason::Gap);
            }
        }
        state.last_entry = Some(id);
        match self.check(payload) {
            Ok(text) => {
                state.ring.push(Frame::application(Position::logged(id), text));
                self.shared.metrics.count_event(EventKind::Logged);
            }
            Err(reason) => self.drop_event(state, reason, payload.len()),
        }
    }

    fn check<'a>(&self, payload: &'a Bytes) -> Result<&'a str, ResetReason> {
        if payload.len() > self.shared.settings.event_bytes {
            return Err(ResetReason::TooLarge);
        }
        std::str::from_utf8(payload).map_err(|_| ResetReason::NotUtf8)
    }

    /// An event cannot be delivered: it is counted, logged, and its absence told.
    fn drop_event(&self, state: &mut State, reason: ResetReason, bytes: usize) {
        self.shared.metrics.count_dropped(reason);
        if let Some(silenced) = self.shared.drop_log.pass() {
            tracing::warn!(
                workspace = %self.id, reason = reason.as_str(), bytes, silenced,
                "dropped an event that cannot be delivered; subscribers were told by tidings.reset"
            );
        }
        self.push_reset(state, reason);
    }

    /// Tells everyone, in the stream and in its order, that something may be missing here.
    fn push_reset(&self, state: &mut State, reason: ResetReason) {
        let from = state.ring.head_position().to_string();
        let head = self.next_position(state);
        state.ring.push(Frame::broker(head, control::reset(reason, Some(&from), &head)));
        self.shared.metrics.count_reset(reason);
    }

    fn next_position(&self, state: &State) -> Position {
        self.shared.next_live(state.last_entry.unwrap_or(EntryId::ZERO))
    }

    /// Wakes every subscriber that waits.
    pub(super) fn wake(&self) {
        self.wake_unlocked(self.state.lock());
    }

    /// Wakes every subscriber that waits, after the lock is given back: who wakes up wants it.
    fn wake_unlocked(&self, mut state: MutexGuard<'_, State>) {
        let mut waking = std::mem::take(&mut state.waking);
        waking.extend(state.waiting.iter_mut().filter_map(|(_, waiting)| waiting.take()));
        drop(state);
        if waking.is_empty() {
            return;
        }
        waking.drain(..).for_each(Waker::wake);
        let mut state = self.state.lock();
        if !state.waiting.is_empty() && state.waking.capacity() < waking.capacity() {
            state.waking = waking;
        }
    }
}

impl State {
    /// A subscriber has nothing to read and wants to be woken.
    pub(super) fn wait(&mut self, slot: usize, context: &Context<'_>) {
        if let Some(waiting) = self.waiting.get_mut(slot) {
            match waiting {
                Some(waker) if waker.will_wake(context.waker()) => {}
                _ => *waiting = Some(context.waker().clone()),
            }
        }
    }
}
