//! One client of a workspace.

mod resuming;

use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;

use super::filter::SubscriptionFilter;
use super::read_queue::ReaderId;
use super::replay::ReplayPage;
use super::ring::RingEntry;
use super::ring_reader::RingReader;
use super::start::Start;
use super::waiter_slot::{SubscriptionGuard, WaiterSlot};
use super::workspace::{Subscription, WorkspaceCell, WorkspaceState};
use tidings_event::control;
use tidings_event::control::ResetReason;
use tidings_event::log::Span;
use tidings_event::workspace::WorkspaceId;
use tidings_event::{EntryId, Epoch, EventWatch, Frame, Position};
use tidings_metrics::Metrics;

/// A subscriber of a workspace: a filter, and a cursor into the ring, or into the log until it has
/// caught up with the ring. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscriber {
    waiter_slot: WaiterSlot,
    subscription_guard: SubscriptionGuard,
    filter: SubscriptionFilter,
    stage: SubscriberStage,
    position: Option<Position>,
    /// The client with whose reads of the log this one takes turns; `None` for the shared turn.
    reader: Option<ReaderId>,
}

#[derive(Debug)]
enum SubscriberStage {
    /// Waits until the workspace is open, then decides where to begin.
    Held(Start),
    /// Reads the log.
    Replaying(Replaying),
    /// Reads the ring.
    Reading {
        cursor: u64,
        /// The subscriber has read logged events up to here from the log, before their
        /// announcements reached this node.
        read_until: Option<ReadAhead>,
        /// A check of live events that waits for the look at the mark.
        live_check: Option<Box<LiveCheck>>,
    },
}

/// A client that resumed before the node looked at the mark of live events again. Another node may
/// have received live events that it has not marked yet.
#[derive(Debug)]
struct LiveCheck {
    /// The entry at which the client resumed.
    at: EntryId,
    /// The position that the client sent, for a reset.
    from: Option<Box<str>>,
    /// The client's own position while its heartbeat carried a live position instead. With a live
    /// position, any node checks for missed live events when the client resumes.
    place: Option<Position>,
}

/// How far a subscriber has read the log ahead of its node, and in which generation. In a later
/// generation the log may lack these entries and give their ids to others.
#[derive(Debug, Clone, Copy)]
struct ReadAhead {
    until: EntryId,
    /// The client got a reset for live events up to `until` that may be missing.
    has_reset: bool,
    epoch: Option<Epoch>,
    generation: u64,
}

#[derive(Debug)]
struct Replaying {
    /// The position that the client sent, as text for a reset.
    from: Option<Box<str>>,
    /// The same as a position, if the text is one.
    position: Option<Position>,
    /// The part of the log that is being read.
    span: Span,
    /// The entry after which the client wants everything; `None` if it makes no such claim.
    began: Option<EntryId>,
    /// The client may have missed live events; it gets a reset at the end of the replay.
    misses_live: bool,
    /// A check that an earlier stage has left.
    live_check: Option<Box<LiveCheck>>,
    /// The page of that span once it is read; it is freed when other pages need the memory.
    page: Option<Weak<ReplayPage>>,
    /// The index of the next frame of the page.
    next: usize,
    /// The span behind the last frame delivered, to read if the page is freed.
    taken: Option<Span>,
    /// Whether the client got its `connected` event.
    joined: bool,
    /// The client's cursor in the ring, if the log is read only to prove again the entries that it
    /// has read ahead.
    in_ring: Option<u64>,
}

/// The way in which a subscriber begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joined {
    /// At the head; the client asked for nothing before it.
    Fresh {
        /// The head.
        position: Position,
    },
    /// Right after the position that it sent; the missed events follow.
    Resumed {
        /// That position; `None` if it sent a time.
        position: Option<Position>,
    },
    /// Before the newest events, without a claim that they are all.
    Newest,
    /// At the head, although it sent a position: events in between may be missing.
    Unproven {
        /// The reason of the reset.
        reason: ResetReason,
        /// The position that it sent.
        from: Option<Box<str>>,
        /// The head.
        head: Position,
    },
}

/// The next item of a subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The bus has confirmed the workspace: from here on no event is missed. Comes first, and once.
    Joined(Joined),
    /// An event of the application; all subscribers share its bytes.
    Event(Bytes),
    /// The same of a sampled event. The writer notes its delivery.
    Watched(Bytes, Arc<EventWatch>),
    /// An event of the broker.
    Notice(Bytes),
    /// The next frame is no longer in the ring: the client was too slow. Nothing follows.
    Lagging,
    /// The bus refuses the workspace, or cannot read the log. Nothing follows.
    Unavailable,
}

impl Subscriber {
    pub(super) fn new(
        cell: Arc<WorkspaceCell>,
        slot: usize,
        start: Start,
        filter: SubscriptionFilter,
    ) -> Self {
        let waiter_slot = WaiterSlot::new(Arc::clone(&cell), slot);
        Self {
            waiter_slot,
            subscription_guard: SubscriptionGuard::new(cell),
            filter,
            stage: SubscriberStage::Held(start),
            position: None,
            reader: None,
        }
    }

    /// Reads the log in the turn of `reader`. Subscribers without a reader share one turn.
    #[must_use]
    pub fn reading_for(self, reader: ReaderId) -> Self {
        Self { reader: Some(reader), ..self }
    }

    /// The metrics of the hub.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.cell().shared().metrics
    }

    fn cell(&self) -> &Arc<WorkspaceCell> {
        self.waiter_slot.cell()
    }

    /// The workspace.
    #[must_use]
    pub fn workspace(&self) -> &WorkspaceId {
        self.cell().id()
    }

    /// The position up to which the client has every event that it wants; `None` until it is known.
    #[must_use]
    pub fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// Whether events reach the node at the moment.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.cell().lock().subscription == Subscription::Confirmed
    }

    /// How many subscribers the workspace has on this node, this one included.
    #[must_use]
    pub fn subscriber_count(&self) -> usize {
        self.cell().subscriber_count()
    }

    /// The events that the client gets, and their form.
    #[must_use]
    pub fn filter(&self) -> &SubscriptionFilter {
        &self.filter
    }

    /// The number of the next frame in the ring, once the subscriber reads the ring alone. `None`
    /// before that, while the ring repeats events that it has read from the log, or while a check
    /// of live events is open.
    #[must_use]
    pub fn ring_cursor(&self) -> Option<u64> {
        match &self.stage {
            SubscriberStage::Reading { cursor, read_until: None, live_check: None } => Some(*cursor),
            SubscriberStage::Reading { .. } | SubscriberStage::Held(_) | SubscriberStage::Replaying(_) => {
                None
            }
        }
    }

    /// The number of frames in the ring that the subscriber has not taken yet; `None` while it
    /// reads the log.
    #[must_use]
    pub fn frames_behind(&self) -> Option<u64> {
        match &self.stage {
            SubscriberStage::Reading { cursor, .. } => {
                Some(self.cell().lock().sequencer.ring().head().saturating_sub(*cursor))
            }
            SubscriberStage::Held(_) | SubscriberStage::Replaying(_) => None,
        }
    }

    /// Creates a reader of the ring that begins at this subscriber's cursor; `None` if it does not
    /// read the ring alone.
    #[must_use]
    pub fn ring_reader(&self) -> Option<RingReader> {
        let cursor = self.ring_cursor()?;
        Some(RingReader::new(WaiterSlot::enter(Arc::clone(self.cell())), cursor, self.position?))
    }

    /// Stops reading, because a ring reader reads for the client. The client remains a subscriber
    /// of the workspace until the guard is dropped.
    #[must_use]
    pub fn into_guard(self) -> SubscriptionGuard {
        self.subscription_guard
    }

    /// Waits until the workspace is open or refused; returns `true` if it is open. Cancellation
    /// safe; it takes no item from [`poll_next`](Self::poll_next).
    pub async fn settled(&self) -> bool {
        std::future::poll_fn(|context| {
            let mut state = self.cell().lock();
            if state.subscription == Subscription::Refused {
                return Poll::Ready(false);
            }
            if state.is_open() {
                return Poll::Ready(true);
            }
            state.wait(self.waiter_slot.slot(), context);
            Poll::Pending
        })
        .await
    }

    /// Returns the next item. Wakes the task of the last call only.
    pub fn poll_next(&mut self, context: &Context<'_>) -> Poll<Next> {
        let cell = Arc::clone(self.cell());
        let mut state = cell.lock();
        if state.subscription == Subscription::Refused {
            return Poll::Ready(Next::Unavailable);
        }
        loop {
            let step = match &mut self.stage {
                SubscriberStage::Held(_) => self.begin(&mut state),
                SubscriberStage::Replaying(_) => self.replay(&mut state),
                SubscriberStage::Reading { .. } => self.read(&state),
            };
            let cursor = match &self.stage {
                SubscriberStage::Reading { cursor, .. } => Some(*cursor),
                SubscriberStage::Held(_) | SubscriberStage::Replaying(_) => None,
            };
            self.waiter_slot.note_cursor(&mut state, cursor);
            match step {
                SubscriberStep::Give(next) => return Poll::Ready(next),
                SubscriberStep::Wait => {
                    state.wait(self.waiter_slot.slot(), context);
                    return Poll::Pending;
                }
                SubscriberStep::GoOn => {}
            }
        }
    }

    /// Sends a reset to this client alone.
    fn send_reset(&self, reason: ResetReason, from: Option<&str>, head: &Position) -> SubscriberStep {
        self.cell().shared().metrics.count_reset(reason.as_str());
        SubscriberStep::Give(Next::Notice(control::reset(reason, from, head)))
    }

    /// Reads the ring.
    fn read(&mut self, state: &WorkspaceState) -> SubscriberStep {
        let SubscriberStage::Reading { cursor, read_until, live_check } = &mut self.stage else {
            return SubscriberStep::GoOn;
        };
        if let Some(found) = state.look.found()
            && let Some(live_check) = live_check.take()
        {
            self.position = live_check.place.or(self.position);
            let place = self.position.unwrap_or_else(|| state.sequencer.ring().head_position());
            if found.mark.is_after(live_check.at) {
                return self.send_reset(ResetReason::LiveEvents, live_check.from.as_deref(), &place);
            }
            if live_check.place.is_some() {
                return SubscriberStep::Give(Next::Notice(control::heartbeat(
                    Some(&place),
                    state.subscription == Subscription::Confirmed,
                )));
            }
            return SubscriberStep::GoOn;
        }
        if let Some(ahead) = *read_until
            && ahead.generation != state.sequencer.generation()
        {
            self.stage = SubscriberStage::Replaying(Replaying {
                from: None,
                position: None,
                span: Span::after(ahead.until, ahead.epoch),
                began: None,
                misses_live: false,
                live_check: live_check.take(),
                page: None,
                next: 0,
                taken: None,
                joined: true,
                in_ring: Some(*cursor),
            });
            return SubscriberStep::GoOn;
        }
        match state.sequencer.ring().at(*cursor) {
            RingEntry::Frame(frame) => {
                *cursor += 1;
                let position = frame.position();
                if let Some(live_check) = live_check {
                    // The frame moves the client to a position of its own.
                    live_check.place = None;
                }
                let watch = frame.watch();
                let release = || watch.into_iter().for_each(|watch| watch.release(1));
                if let Some(ahead) = read_until {
                    let is_live = position.live.is_some();
                    let is_beyond =
                        position.entry > ahead.until || (position.entry == ahead.until && is_live);
                    // A reset at a position that the client has passed is sent at the client's
                    // position.
                    let place = self.position.unwrap_or(*position);
                    if is_beyond {
                        *read_until = None;
                    } else if let Some(reason) = frame.reset_reason() {
                        let reset = control::reset(reason, Some(&place.to_string()), &place);
                        return SubscriberStep::Give(Next::Notice(reset));
                    } else if is_live && !ahead.has_reset {
                        // The live event would follow logged events that came after it.
                        ahead.has_reset = true;
                        release();
                        return self.send_reset(ResetReason::LiveEvents, Some(&place.to_string()), &place);
                    } else {
                        release();
                        return SubscriberStep::GoOn;
                    }
                }
                if read_until.is_none() {
                    self.position = Some(*position);
                }
                match (show(&self.filter, frame), watch) {
                    (SubscriberStep::Give(Next::Event(bytes)), Some(watch)) => {
                        SubscriberStep::Give(Next::Watched(bytes, Arc::clone(watch)))
                    }
                    (step, Some(watch)) => {
                        watch.release(1);
                        step
                    }
                    (step, None) => step,
                }
            }
            RingEntry::Head => match live_check {
                Some(live_check) if live_check.place.is_none() => {
                    let place = self.position.unwrap_or_else(|| state.sequencer.ring().head_position());
                    live_check.place = Some(place);
                    let beside = self.waiter_slot.cell().shared().next_live(Position { live: None, ..place });
                    self.position = Some(beside);
                    SubscriberStep::Give(Next::Notice(control::heartbeat(
                        Some(&beside),
                        state.subscription == Subscription::Confirmed,
                    )))
                }
                _ => SubscriberStep::Wait,
            },
            RingEntry::FallenOut => SubscriberStep::Give(Next::Lagging),
        }
    }
}

/// The result of one step.
enum SubscriberStep {
    /// An item for the client.
    Give(Next),
    /// No item yet.
    Wait,
    /// Take another step.
    GoOn,
}

/// Applies a filter to a frame.
fn show(filter: &SubscriptionFilter, frame: &Frame) -> SubscriberStep {
    match filter.bytes(frame) {
        Some(bytes) if frame.is_application() => SubscriberStep::Give(Next::Event(bytes.clone())),
        Some(bytes) => SubscriberStep::Give(Next::Notice(bytes.clone())),
        None => SubscriberStep::GoOn,
    }
}
