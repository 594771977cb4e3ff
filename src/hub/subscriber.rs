//! One client of a workspace.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::replay::{Failure, Page, ReplayPage};
use super::ring::At;
use super::seat::{Presence, Seat};
use super::start::Start;
use super::tap::Tap;
use super::view::View;
use super::workspace::{Link, State, WorkspaceCell};
use crate::bus::Span;
use crate::event::control::{self, ResetReason};
use crate::event::{EntryId, Frame, Position};
use crate::workspace::WorkspaceId;

/// A subscriber of a workspace: a cursor into its ring, or into the log until it has caught up with the ring, and a view of
/// the events. It leaves the workspace by being dropped.
#[derive(Debug)]
pub struct Subscriber {
    seat: Seat,
    presence: Presence,
    view: View,
    stage: Stage,
    position: Option<Position>,
}

#[derive(Debug)]
enum Stage {
    /// Waiting for the workspace to be open, then deciding where to begin.
    Held(Start),
    /// Reading the log.
    Replaying(Replaying),
    /// Reading the ring.
    Reading {
        cursor: u64,
        /// Logged events up to here were read from the log already, though this node was not told of them yet.
        read_until: Option<ReadAhead>,
    },
}

/// How far a subscriber has read the log ahead of its node, and in which life of the subscription. In a later one the log
/// may be another, that lacks these entries and gives their ids to others.
#[derive(Debug, Clone, Copy)]
struct ReadAhead {
    until: EntryId,
    life: u64,
}

#[derive(Debug)]
struct Replaying {
    /// Where the client said it has been, for a reset.
    from: Option<Box<str>>,
    /// The part of the log that is being read.
    span: Span,
    /// That part, when it has come.
    page: Option<Arc<ReplayPage>>,
    /// The next frame of it.
    next: usize,
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
    pub(super) fn new(cell: Arc<WorkspaceCell>, slot: usize, start: Start, view: View) -> Self {
        let seat = Seat::new(Arc::clone(&cell), slot);
        Self { seat, presence: Presence::new(cell), view, stage: Stage::Held(start), position: None }
    }

    fn cell(&self) -> &Arc<WorkspaceCell> {
        self.seat.cell()
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
        self.cell().lock().link == Link::Live
    }

    /// How many subscribers the workspace has on this node, this one included.
    #[must_use]
    pub fn companions(&self) -> usize {
        self.cell().present()
    }

    /// The view.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The number in the ring of the frame that comes next, once nothing but the ring is read; `None` before that, and while
    /// events come through the ring that were read from the log already.
    #[must_use]
    pub fn ring_cursor(&self) -> Option<u64> {
        match &self.stage {
            Stage::Reading { cursor, read_until: None } => Some(*cursor),
            Stage::Reading { .. } | Stage::Held(_) | Stage::Replaying(_) => None,
        }
    }

    /// A reader of the ring that begins where this subscriber is; `None` where that is not the ring alone.
    #[must_use]
    pub fn tap(&self) -> Option<Tap> {
        let cursor = self.ring_cursor()?;
        Some(Tap::new(Seat::enter(Arc::clone(self.cell())), cursor, self.position?))
    }

    /// Gives up reading: somebody else does it for the client, which stays a subscriber of the workspace until the
    /// presence is dropped.
    #[must_use]
    pub fn into_presence(self) -> Presence {
        self.presence
    }

    /// Waits until the workspace is open or refused: `true` if open. Cancellation safe; takes nothing away from
    /// [`poll_next`](Self::poll_next).
    pub async fn settled(&self) -> bool {
        std::future::poll_fn(|context| {
            let mut state = self.cell().lock();
            if state.link == Link::Refused {
                return Poll::Ready(false);
            }
            if state.is_open() {
                return Poll::Ready(true);
            }
            state.wait(self.seat.slot(), context);
            Poll::Pending
        })
        .await
    }

    /// What the client gets next. Wakes the task of the last call only.
    pub fn poll_next(&mut self, context: &Context<'_>) -> Poll<Next> {
        let cell = Arc::clone(self.cell());
        let mut state = cell.lock();
        if state.link == Link::Refused {
            return Poll::Ready(Next::Unavailable);
        }
        loop {
            let step = match &mut self.stage {
                Stage::Held(_) => self.begin(&mut state),
                Stage::Replaying(_) => self.replay(&mut state),
                Stage::Reading { .. } => self.read(&state),
            };
            match step {
                Step::Give(next) => return Poll::Ready(next),
                Step::Wait => {
                    state.wait(self.seat.slot(), context);
                    return Poll::Pending;
                }
                Step::GoOn => {}
            }
        }
    }

    /// Decides where to begin, once the workspace is open.
    fn begin(&mut self, state: &mut State) -> Step {
        let Stage::Held(start) = &self.stage else { return Step::GoOn };
        if !state.is_open() {
            return Step::Wait;
        }
        let span = match start {
            Start::Head => {
                let position = self.read_from_head(state);
                return Step::Give(Next::Joined(Joined::Fresh { position }));
            }
            Start::After(resume) => {
                let Some(position) = resume.position() else {
                    return self.begin_unproven(
                        state,
                        ResetReason::UnknownPosition,
                        Some(Box::from(resume.text())),
                    );
                };
                if let Some(cursor) = state.timeline.ring().cursor_after(&position) {
                    self.stage = Stage::Reading { cursor, read_until: None };
                    self.position = Some(position);
                    return Step::Give(Next::Joined(Joined::Resumed { position: Some(position) }));
                }
                if position.live.is_some() {
                    // Only the node that gave it can tell what came after it, and only while its ring holds the place.
                    return self.begin_unproven(
                        state,
                        ResetReason::UnknownPosition,
                        Some(Box::from(resume.text())),
                    );
                }
                Span::After { after: position.entry, until: None }
            }
            Start::Since { milliseconds } => Span::Since { milliseconds: *milliseconds },
            Start::Newest { count } => Span::Newest { count: *count },
        };
        let from = start.text();
        self.stage =
            Stage::Replaying(Replaying { from, span, page: None, next: 0, joined: false, in_ring: None });
        Step::GoOn
    }

    /// Reads the log until it meets the ring.
    fn replay(&mut self, state: &mut State) -> Step {
        let Stage::Replaying(replaying) = &mut self.stage else { return Step::GoOn };
        let Some(page) = &replaying.page else {
            let oldest = state.timeline.ring().oldest();
            return match state.replays.get(replaying.span, state.timeline.asked_now(), oldest) {
                Page::Unasked => {
                    self.seat.cell().ask_replay(replaying.span);
                    Step::Wait
                }
                Page::Waiting => Step::Wait,
                Page::Landed(Err(Failure::Unavailable)) => Step::Give(Next::Unavailable),
                Page::Landed(Err(Failure::Unreadable)) => self.fail_replay(state, ResetReason::LogUnreadable),
                Page::Landed(Ok(page)) => {
                    replaying.page = Some(page);
                    replaying.next = 0;
                    Step::GoOn
                }
            };
        };
        let after = match replaying.span {
            Span::After { after, .. } => Some(after),
            Span::Head | Span::Since { .. } | Span::Newest { .. } => None,
        };
        if !page.proven {
            let reason = page.reason(after);
            return self.fail_replay(state, reason);
        }
        if let (Some(cursor), Some(until)) = (replaying.in_ring, after) {
            // What was read ahead stands in this log too. All that follows comes through the ring.
            let ahead = ReadAhead { until, life: page.asked.life };
            self.stage = Stage::Reading { cursor, read_until: Some(ahead) };
            return Step::GoOn;
        }
        if !replaying.joined {
            if !state.is_open() {
                return Step::Wait;
            }
            replaying.joined = true;
            self.position = after.map(Position::logged);
            return Step::Give(Next::Joined(match replaying.span {
                Span::Newest { .. } => Joined::Newest,
                _ => Joined::Resumed { position: self.position },
            }));
        }
        if let Some(frame) = page.frames.get(replaying.next) {
            replaying.next += 1;
            self.position = Some(*frame.position());
            return show(&self.view, frame);
        }
        self.finish_page(state)
    }

    /// The page is delivered: goes over to the ring if it connects, else to the next page.
    fn finish_page(&mut self, state: &mut State) -> Step {
        let Stage::Replaying(replaying) = &mut self.stage else { return Step::GoOn };
        let Some(page) = replaying.page.take() else { return Step::GoOn };
        let (ring, life) = (state.timeline.ring(), state.timeline.life());
        if page.is_outrun(ring.oldest()) {
            // It was kept for too long: read once more.
            return Step::GoOn;
        }
        let here = page.asked.life == life;
        let stage = match page.last {
            // Nothing in the log: what came since it was asked stands in the ring.
            None => Some((page.asked.at, None)),
            Some(last) => match ring.cursor_after(&Position::logged(last)) {
                Some(cursor) => Some((cursor, None)),
                // The announcement of what was just read is still on its way here.
                None if here && state.timeline.is_behind(last) => {
                    Some((ring.head(), Some(ReadAhead { until: last, life })))
                }
                None if here && page.frames.is_empty() => Some((page.asked.at, None)),
                None => {
                    replaying.span = Span::After { after: last, until: None };
                    None
                }
            },
        };
        let Some((cursor, read_until)) = stage else { return Step::GoOn };
        let from = replaying.from.take();
        let claims_all = !matches!(replaying.span, Span::Newest { .. });
        self.stage = Stage::Reading { cursor, read_until };
        let head = self.position.unwrap_or_else(|| ring.head_position());
        self.position = Some(head);
        if claims_all && state.timeline.has_seen_live() {
            return self.tell(ResetReason::LiveEvents, from.as_deref(), &head);
        }
        Step::GoOn
    }

    /// The log does not prove what the client has missed: tells it, and goes on from the head.
    fn fail_replay(&mut self, state: &mut State, reason: ResetReason) -> Step {
        let Stage::Replaying(replaying) = &mut self.stage else { return Step::GoOn };
        if !state.is_open() {
            return Step::Wait;
        }
        let from =
            self.position.map(|position| position.to_string().into_boxed_str()).or(replaying.from.take());
        if !replaying.joined {
            return self.begin_unproven(state, reason, from);
        }
        let head = self.read_from_head(state);
        self.tell(reason, from.as_deref(), &head)
    }

    fn begin_unproven(&mut self, state: &State, reason: ResetReason, from: Option<Box<str>>) -> Step {
        let head = self.read_from_head(state);
        self.cell().shared().metrics.count_reset(reason);
        Step::Give(Next::Joined(Joined::Unproven { reason, from, head }))
    }

    fn read_from_head(&mut self, state: &State) -> Position {
        let ring = state.timeline.ring();
        self.stage = Stage::Reading { cursor: ring.head(), read_until: None };
        let position = ring.head_position();
        self.position = Some(position);
        position
    }

    /// A reset for this client alone.
    fn tell(&self, reason: ResetReason, from: Option<&str>, head: &Position) -> Step {
        self.cell().shared().metrics.count_reset(reason);
        Step::Give(Next::Notice(control::reset(reason, from, head)))
    }

    /// Reads the ring.
    fn read(&mut self, state: &State) -> Step {
        let Stage::Reading { cursor, read_until } = &mut self.stage else { return Step::GoOn };
        if let Some(ahead) = *read_until
            && ahead.life != state.timeline.life()
        {
            let (span, in_ring) = (Span::After { after: ahead.until, until: None }, Some(*cursor));
            self.stage =
                Stage::Replaying(Replaying { from: None, span, page: None, next: 0, joined: true, in_ring });
            return Step::GoOn;
        }
        match state.timeline.ring().at(*cursor) {
            At::Frame(frame) => {
                *cursor += 1;
                let position = frame.position();
                if let Some(ahead) = *read_until {
                    if position.entry > ahead.until {
                        *read_until = None;
                    } else if position.live.is_none() && frame.is_application() {
                        return Step::GoOn;
                    }
                }
                if read_until.is_none() {
                    self.position = Some(*position);
                }
                show(&self.view, frame)
            }
            At::Head => Step::Wait,
            At::FallenOut => Step::Give(Next::Lagging),
        }
    }
}

/// What came of one look.
enum Step {
    /// Something for the client.
    Give(Next),
    /// Nothing yet.
    Wait,
    /// Look again.
    GoOn,
}

/// A frame as a view has it.
fn show(view: &View, frame: &Frame) -> Step {
    match view.bytes(frame) {
        Some(bytes) if frame.is_application() => Step::Give(Next::Event(bytes.clone())),
        Some(bytes) => Step::Give(Next::Notice(bytes.clone())),
        None => Step::GoOn,
    }
}
