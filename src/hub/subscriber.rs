//! One client of a workspace.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::LiveEvents;
use super::replay::{Failure, Page, ReplayPage};
use super::ring::At;
use super::seat::{Presence, Seat};
use super::start::Start;
use super::tap::Tap;
use super::view::View;
use super::workspace::{Link, State, WorkspaceCell};
use crate::bus::{LiveMark, Span};
use crate::event::control::{self, ResetReason};
use crate::event::{EntryId, Epoch, Frame, Position};
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
    life: u64,
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
    /// events come through the ring that were read from the log already, or something else may have to be told.
    #[must_use]
    pub fn ring_cursor(&self) -> Option<u64> {
        match &self.stage {
            Stage::Reading { cursor, read_until: None, doubt: None } => Some(*cursor),
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
        let mut position = None;
        let span = match start {
            Start::Head => {
                let position = self.read_from_head(state, None);
                return Step::Give(Next::Joined(Joined::Fresh { position }));
            }
            Start::After(resume) => {
                position = resume.position();
                // Before the first entry of a log whose epoch is not known, only the node that gave the position knows the place.
                let Some(named) = position.filter(|named| !is_of_one_node(named)) else {
                    let ring = state.timeline.ring();
                    if let Some(named) = position
                        && let Some(cursor) = ring.resumes_after(&named)
                    {
                        return self.resume_in_ring(state, cursor, named);
                    }
                    let from = Some(Box::from(resume.text()));
                    return self.begin_unproven(state, ResetReason::UnknownPosition, from, None);
                };
                if let Some(cursor) = state.timeline.ring().resumes_after(&named) {
                    return self.resume_in_ring(state, cursor, named);
                }
                Span::after(named.entry, named.epoch)
            }
            Start::Since { milliseconds } => Span::Since { milliseconds: *milliseconds },
            Start::Newest { count } => Span::Newest { count: *count },
        };
        let from = start.text();
        self.stage = Stage::Replaying(Replaying {
            from,
            position,
            span,
            began: began_at(span),
            misses_live: false,
            doubt: None,
            page: None,
            next: 0,
            joined: false,
            in_ring: None,
        });
        Step::GoOn
    }

    /// Goes on in the ring. A client that first came while the look was not done, and has come again, may have missed live events
    /// the first time.
    fn resume_in_ring(&mut self, state: &State, cursor: u64, position: Position) -> Step {
        let is_doubted = self.cell().shared().settings.live == LiveEvents::Auto
            && state
                .look
                .found()
                .is_none_or(|found| cursor <= found.cursor && found.mark.is_after(position.entry));
        let from = || Some(position.to_string().into_boxed_str());
        let doubt = is_doubted.then(|| Box::new(Doubt { at: position.entry, from: from(), place: None }));
        self.stage = Stage::Reading { cursor, read_until: None, doubt };
        self.position = Some(position);
        Step::Give(Next::Joined(Joined::Resumed { position: Some(position) }))
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
                Page::Landed(Err(Failure::Unreadable)) => {
                    self.fail_replay(state, ResetReason::LogUnreadable, None)
                }
                Page::Landed(Ok(page)) => {
                    replaying.page = Some(page);
                    replaying.next = 0;
                    Step::GoOn
                }
            };
        };
        let after = if let Span::After { after, .. } = replaying.span { Some(after) } else { None };
        if !page.proven {
            let (reason, page) = (page.reason(after), Arc::clone(page));
            return self.fail_replay(state, reason, Some(&page));
        }
        if let (Some(cursor), Some(until)) = (replaying.in_ring, after) {
            // What was read ahead stands in this log too. All that follows comes through the ring.
            let ahead = ReadAhead { until, told: false, epoch: page.epoch(), life: page.asked.life };
            let doubt = replaying.doubt.take();
            self.stage = Stage::Reading { cursor, read_until: Some(ahead), doubt };
            return Step::GoOn;
        }
        if !replaying.joined {
            if !state.is_open() {
                return Step::Wait;
            }
            replaying.joined = true;
            if let Some(began) = replaying.began {
                // What came after a place beside the log, only the node that gave it could tell, while its ring held the place.
                let is_beside = replaying.position.is_some_and(|position| position.live.is_some());
                replaying.misses_live = match self.seat.cell().shared().settings.live {
                    LiveEvents::Auto if is_beside => {
                        page.live != LiveMark::Absent || state.timeline.is_mixed()
                    }
                    LiveEvents::Auto => page.live.is_after(began),
                    LiveEvents::Never => false,
                    LiveEvents::Always => true,
                };
            }
            self.position = replaying.position.or_else(|| after.map(|after| page.position(after)));
            return Step::Give(Next::Joined(match replaying.span {
                Span::Newest { .. } => Joined::Newest,
                _ => Joined::Resumed { position: self.position },
            }));
        }
        let shared = self.seat.cell().shared();
        // A live event that comes meanwhile may have left the ring before the client gets there.
        replaying.misses_live |= shared.settings.live == LiveEvents::Auto
            && replaying.began.is_some_and(|began| state.timeline.has_heard_live_after(began));
        if let Some(frame) = page.frame(replaying.next, shared, replaying.misses_live) {
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
            Some(last) => match ring.cursor_after(&page.position(last)) {
                Some(cursor) => Some((cursor, None)),
                // The announcement of what was just read is still on its way here.
                None if here && state.timeline.is_behind(last) => {
                    let ahead =
                        ReadAhead { until: last, told: replaying.misses_live, epoch: page.epoch(), life };
                    Some((ring.head(), Some(ahead)))
                }
                None if here && page.is_empty() => Some((page.asked.at, None)),
                None => {
                    replaying.span = Span::after(last, page.epoch());
                    None
                }
            },
        };
        let Some((cursor, read_until)) = stage else { return Step::GoOn };
        let (from, misses_live) = (replaying.from.take(), replaying.misses_live);
        let mut doubt = replaying.doubt.take();
        let here = self.position.unwrap_or_else(|| ring.head_position());
        if misses_live {
            let head = match page.last.filter(|last| *last != EntryId::ZERO) {
                Some(last) => page.position(last),
                None if cursor == ring.head() => ring.head_position(),
                None => Position { live: None, ..here },
            };
            self.stage = Stage::Reading { cursor, read_until, doubt: None };
            self.position = Some(head);
            return self.tell(ResetReason::LiveEvents, from.as_deref(), &head);
        }
        if let Some(at) = replaying.began
            && self.seat.cell().shared().settings.live == LiveEvents::Auto
        {
            doubt = Some(Box::new(Doubt { at, from, place: None }));
        }
        self.stage = Stage::Reading { cursor, read_until, doubt };
        self.position = Some(here);
        Step::GoOn
    }

    /// The log does not prove what the client has missed: tells it, and goes on from the head.
    fn fail_replay(&mut self, state: &mut State, reason: ResetReason, page: Option<&ReplayPage>) -> Step {
        let Stage::Replaying(replaying) = &mut self.stage else { return Step::GoOn };
        if !state.is_open() {
            return Step::Wait;
        }
        let from =
            self.position.map(|position| position.to_string().into_boxed_str()).or(replaying.from.take());
        if !replaying.joined {
            return self.begin_unproven(state, reason, from, page);
        }
        let head = self.read_from_head(state, page);
        self.tell(reason, from.as_deref(), &head)
    }

    fn begin_unproven(
        &mut self,
        state: &State,
        reason: ResetReason,
        from: Option<Box<str>>,
        page: Option<&ReplayPage>,
    ) -> Step {
        let head = self.read_from_head(state, page);
        self.cell().shared().metrics.count_reset(reason);
        Step::Give(Next::Joined(Joined::Unproven { reason, from, head }))
    }

    /// Goes on from the end of the log, which a page may have shown to lie beyond what this node was told: what the client is told to
    /// fetch does not come a second time, and it is not sent back.
    fn read_from_head(&mut self, state: &State, page: Option<&ReplayPage>) -> Position {
        let (ring, life) = (state.timeline.ring(), state.timeline.life());
        let ahead = page.filter(|page| page.asked.life == life && state.timeline.is_behind(page.head));
        let read_until =
            ahead.map(|page| ReadAhead { until: page.head, told: true, epoch: page.epoch(), life });
        self.stage = Stage::Reading { cursor: ring.head(), read_until, doubt: None };
        let position = ahead.map_or_else(|| ring.head_position(), |page| page.position(page.head));
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
        let Stage::Reading { cursor, read_until, doubt } = &mut self.stage else { return Step::GoOn };
        if let Some(found) = state.look.found()
            && let Some(doubt) = doubt.take()
        {
            self.position = doubt.place.or(self.position);
            let place = self.position.unwrap_or_else(|| state.timeline.ring().head_position());
            if found.mark.is_after(doubt.at) {
                return self.tell(ResetReason::LiveEvents, doubt.from.as_deref(), &place);
            }
            if doubt.place.is_some() {
                return Step::Give(Next::Notice(control::heartbeat(Some(&place), state.link == Link::Live)));
            }
            return Step::GoOn;
        }
        if let Some(ahead) = *read_until
            && ahead.life != state.timeline.life()
        {
            self.stage = Stage::Replaying(Replaying {
                from: None,
                position: None,
                span: Span::after(ahead.until, ahead.epoch),
                began: None,
                misses_live: false,
                doubt: doubt.take(),
                page: None,
                next: 0,
                joined: true,
                in_ring: Some(*cursor),
            });
            return Step::GoOn;
        }
        match state.timeline.ring().at(*cursor) {
            At::Frame(frame) => {
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
                        return Step::Give(Next::Notice(reset));
                    } else if is_live && !ahead.told {
                        // It would come behind logged events that came after it.
                        ahead.told = true;
                        return self.tell(ResetReason::LiveEvents, Some(&place.to_string()), &place);
                    } else {
                        return Step::GoOn;
                    }
                }
                if read_until.is_none() {
                    self.position = Some(*position);
                }
                show(&self.view, frame)
            }
            At::Head => match doubt {
                Some(doubt) if doubt.place.is_none() => {
                    let place = self.position.unwrap_or_else(|| state.timeline.ring().head_position());
                    doubt.place = Some(place);
                    let beside = self.seat.cell().shared().next_live(Position { live: None, ..place });
                    self.position = Some(beside);
                    Step::Give(Next::Notice(control::heartbeat(Some(&beside), state.link == Link::Live)))
                }
                _ => Step::Wait,
            },
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

/// Whether a position is good on the node that gave it alone: it lies before the first entry of a log of which the node knew no
/// epoch.
fn is_of_one_node(position: &Position) -> bool {
    position.live.is_some() && position.entry == EntryId::ZERO && position.epoch.is_none()
}

/// The entry after which a span claims to bring everything; `None` where it claims nothing.
fn began_at(span: Span) -> Option<EntryId> {
    match span {
        Span::After { after, .. } => Some(after),
        Span::Since { milliseconds } => Some(EntryId { milliseconds, sequence: 0 }),
        _ => None,
    }
}

/// A frame as a view has it.
fn show(view: &View, frame: &Frame) -> Step {
    match view.bytes(frame) {
        Some(bytes) if frame.is_application() => Step::Give(Next::Event(bytes.clone())),
        Some(bytes) => Step::Give(Next::Notice(bytes.clone())),
        None => Step::GoOn,
    }
}
