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
use tidings_event::{EntryId, Epoch, Frame, Position};

/// A subscriber of a workspace: a cursor into its ring, or into the log until it has caught up with the ring, and a view of
/// the events. It leaves the workspace by being dropped.
#[derive(Debug)]
pub struct Subscriber {
    waiter_slot: WaiterSlot,
    subscription_guard: SubscriptionGuard,
    filter: SubscriptionFilter,
    stage: SubscriberStage,
    position: Option<Position>,
    /// Whose reads of the log take turns with those of others.
    reader: Option<ReaderId>,
}

#[derive(Debug)]
enum SubscriberStage {
    /// Waiting for the workspace to be open, then deciding where to begin.
    Held(Start),
    /// Reading the log.
    Replaying(Replaying),
    /// Reading the ring.
    Reading {
        cursor: u64,
        /// Logged events up to here were read from the log already, though this node was not told of them yet.
        read_until: Option<ReadAhead>,
        /// What the look at the mark of live events decides.
        doubt: Option<Box<Doubt>>,
    },
}

/// A client that came back before the mark of live events was looked at once more: some may have come to another node, which has not
/// marked them yet.
#[derive(Debug)]
struct Doubt {
    /// The entry at which the client came back.
    at: EntryId,
    /// Where the client said it has been, for a reset.
    from: Option<Box<str>>,
    /// The client's place, while it was given one beside the log instead: with that, it is looked after wherever it comes back.
    place: Option<Position>,
}

/// How far a subscriber has read the log ahead of its node, and in which life of the subscription. In a later one the log
/// may be another, that lacks these entries and gives their ids to others.
#[derive(Debug, Clone, Copy)]
struct ReadAhead {
    until: EntryId,
    /// Live events up to there may be missing, and the client was told.
    told: bool,
    epoch: Option<Epoch>,
    generation: u64,
}

#[derive(Debug)]
struct Replaying {
    /// Where the client said it has been, for a reset.
    from: Option<Box<str>>,
    /// The same as a position, if it is one.
    position: Option<Position>,
    /// The part of the log that is being read.
    span: Span,
    /// The entry after which the client wants everything; `None` where it claims nothing.
    began: Option<EntryId>,
    /// The client may have missed live events, and is told when it has what the log holds.
    misses_live: bool,
    /// A doubt from before.
    doubt: Option<Box<Doubt>>,
    /// That part, when it has come; it goes where others need its room.
    page: Option<Weak<ReplayPage>>,
    /// The next frame of it.
    next: usize,
    /// Where the log is read on if it goes: behind the last frame of it that was taken.
    taken: Option<Span>,
    /// Whether the client had its hello.
    joined: bool,
    /// Where the client was in the ring, if the log is only read to prove once more what it has read ahead.
    in_ring: Option<u64>,
}

/// How a subscriber begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joined {
    /// At the head; nothing before it was asked for.
    Fresh {
        /// The head.
        position: Position,
    },
    /// Right after the place it named; what it missed follows.
    Resumed {
        /// The place it named; `None` where it named a time.
        position: Option<Position>,
    },
    /// Before the newest events, without a claim that they are all.
    Newest,
    /// At the head, although it named a place: what lies between may be missing to it.
    Unproven {
        /// Why.
        reason: ResetReason,
        /// What it named.
        from: Option<Box<str>>,
        /// The head.
        head: Position,
    },
}

/// What a subscriber gets next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The workspace is confirmed: nothing is missed from here on. Comes first, and once.
    Joined(Joined),
    /// An application's event, its bytes shared with all other subscribers.
    Event(Bytes),
    /// A word of the broker's own.
    Notice(Bytes),
    /// What came next is no longer in the ring: the client was too slow. Nothing follows.
    Lagging,
    /// The bus refuses the workspace, or the log cannot be reached. Nothing follows.
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

    /// Reads the log for this client, in turns with others. Without one it takes turns together with all others without.
    #[must_use]
    pub fn reading_for(self, reader: ReaderId) -> Self {
        Self { reader: Some(reader), ..self }
    }

    fn cell(&self) -> &Arc<WorkspaceCell> {
        self.waiter_slot.cell()
    }

    /// The workspace.
    #[must_use]
    pub fn workspace(&self) -> &WorkspaceId {
        self.cell().id()
    }

    /// The place up to which the client has everything it wants; `None` until that is known.
    #[must_use]
    pub fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// Whether events reach the node at the moment.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.cell().lock().subscription == Subscription::Live
    }

    /// How many subscribers the workspace has on this node, this one included.
    #[must_use]
    pub fn subscriber_count(&self) -> usize {
        self.cell().subscriber_count()
    }

    /// The view.
    #[must_use]
    pub fn filter(&self) -> &SubscriptionFilter {
        &self.filter
    }

    /// The number in the ring of the frame that comes next, once nothing but the ring is read; `None` before that, and while
    /// events come through the ring that were read from the log already, or something else may have to be told.
    #[must_use]
    pub fn ring_cursor(&self) -> Option<u64> {
        match &self.stage {
            SubscriberStage::Reading { cursor, read_until: None, doubt: None } => Some(*cursor),
            SubscriberStage::Reading { .. } | SubscriberStage::Held(_) | SubscriberStage::Replaying(_) => {
                None
            }
        }
    }

    /// A reader of the ring that begins where this subscriber is; `None` where that is not the ring alone.
    #[must_use]
    pub fn ring_reader(&self) -> Option<RingReader> {
        let cursor = self.ring_cursor()?;
        Some(RingReader::new(WaiterSlot::enter(Arc::clone(self.cell())), cursor, self.position?))
    }

    /// Gives up reading: somebody else does it for the client, which stays a subscriber of the workspace until the
    /// presence is dropped.
    #[must_use]
    pub fn into_guard(self) -> SubscriptionGuard {
        self.subscription_guard
    }

    /// Waits until the workspace is open or refused: `true` if open. Cancellation safe; takes nothing away from
    /// [`poll_next`](Self::poll_next).
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

    /// What the client gets next. Wakes the task of the last call only.
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

    /// A reset for this client alone.
    fn tell(&self, reason: ResetReason, from: Option<&str>, head: &Position) -> SubscriberStep {
        self.cell().shared().metrics.count_reset(reason.as_str());
        SubscriberStep::Give(Next::Notice(control::reset(reason, from, head)))
    }

    /// Reads the ring.
    fn read(&mut self, state: &WorkspaceState) -> SubscriberStep {
        let SubscriberStage::Reading { cursor, read_until, doubt } = &mut self.stage else {
            return SubscriberStep::GoOn;
        };
        if let Some(found) = state.look.found()
            && let Some(doubt) = doubt.take()
        {
            self.position = doubt.place.or(self.position);
            let place = self.position.unwrap_or_else(|| state.sequencer.ring().head_position());
            if found.mark.is_after(doubt.at) {
                return self.tell(ResetReason::LiveEvents, doubt.from.as_deref(), &place);
            }
            if doubt.place.is_some() {
                return SubscriberStep::Give(Next::Notice(control::heartbeat(
                    Some(&place),
                    state.subscription == Subscription::Live,
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
                doubt: doubt.take(),
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
                if let Some(doubt) = doubt {
                    // The frame gives the client a place of its own.
                    doubt.place = None;
                }
                if let Some(ahead) = read_until {
                    let is_live = position.live.is_some();
                    let is_beyond =
                        position.entry > ahead.until || (position.entry == ahead.until && is_live);
                    // What stands at a place that the client has left behind tells its own place.
                    let place = self.position.unwrap_or(*position);
                    if is_beyond {
                        *read_until = None;
                    } else if let Some(reason) = frame.reset_reason() {
                        let reset = control::reset(reason, Some(&place.to_string()), &place);
                        return SubscriberStep::Give(Next::Notice(reset));
                    } else if is_live && !ahead.told {
                        // It would come behind logged events that came after it.
                        ahead.told = true;
                        return self.tell(ResetReason::LiveEvents, Some(&place.to_string()), &place);
                    } else {
                        return SubscriberStep::GoOn;
                    }
                }
                if read_until.is_none() {
                    self.position = Some(*position);
                }
                show(&self.filter, frame)
            }
            RingEntry::Head => match doubt {
                Some(doubt) if doubt.place.is_none() => {
                    let place = self.position.unwrap_or_else(|| state.sequencer.ring().head_position());
                    doubt.place = Some(place);
                    let beside = self.waiter_slot.cell().shared().next_live(Position { live: None, ..place });
                    self.position = Some(beside);
                    SubscriberStep::Give(Next::Notice(control::heartbeat(
                        Some(&beside),
                        state.subscription == Subscription::Live,
                    )))
                }
                _ => SubscriberStep::Wait,
            },
            RingEntry::FallenOut => SubscriberStep::Give(Next::Lagging),
        }
    }
}

/// What came of one look.
enum SubscriberStep {
    /// Something for the client.
    Give(Next),
    /// Nothing yet.
    Wait,
    /// Look again.
    GoOn,
}

/// A frame as a view has it.
fn show(filter: &SubscriptionFilter, frame: &Frame) -> SubscriberStep {
    match filter.bytes(frame) {
        Some(bytes) if frame.is_application() => SubscriberStep::Give(Next::Event(bytes.clone())),
        Some(bytes) => SubscriberStep::Give(Next::Notice(bytes.clone())),
        None => SubscriberStep::GoOn,
    }
}
