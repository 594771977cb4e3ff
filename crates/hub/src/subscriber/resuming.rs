//! Where a client begins and how it reaches the ring: it reads the events that it missed from the
//! log, page by page.

use std::sync::{Arc, Weak};

use super::{
    Joined, LiveCheck, Next, ReadAhead, Replaying, Subscriber, SubscriberStage, SubscriberStep, show,
};
use crate::LiveEvents;
use crate::replay::{Page, ReplayFailure, ReplayPage};
use crate::resumption::{self, ResumePlace};
use crate::start::Start;
use crate::workspace::WorkspaceState;
use tidings_event::control::ResetReason;
use tidings_event::log::Span;
use tidings_event::{EntryId, Position};

impl Subscriber {
    /// Decides where to begin, once the workspace is open.
    pub(super) fn begin(&mut self, state: &mut WorkspaceState) -> SubscriberStep {
        let SubscriberStage::Held(start) = &self.stage else { return SubscriberStep::GoOn };
        if !state.is_open() {
            return SubscriberStep::Wait;
        }
        let mut position = None;
        let span = match start {
            Start::Head => {
                let position = self.read_from_head(state, None);
                return SubscriberStep::Give(Next::Joined(Joined::Fresh { position }));
            }
            Start::After(resume) => {
                position = resume.position();
                match ResumePlace::of(Some(state.sequencer.ring()), position) {
                    ResumePlace::Ring { cursor, position } => {
                        return self.resume_in_ring(state, cursor, position);
                    }
                    ResumePlace::Unknown => {
                        let from = Some(Box::from(resume.text()));
                        return self.begin_unproven(state, ResetReason::UnknownPosition, from, None);
                    }
                    ResumePlace::Log(span) => span,
                }
            }
            Start::Since { milliseconds } => Span::Since { milliseconds: *milliseconds },
            Start::Newest { count } => Span::Newest { count: *count },
        };
        let from = start.text();
        self.stage = SubscriberStage::Replaying(Replaying {
            from,
            position,
            span,
            began: began_at(span),
            misses_live: false,
            live_check: None,
            page: None,
            next: 0,
            taken: None,
            joined: false,
            in_ring: None,
        });
        SubscriberStep::GoOn
    }

    /// Continues in the ring. A client that connected before the look was done and resumes later
    /// may have missed live events the first time.
    fn resume_in_ring(&mut self, state: &WorkspaceState, cursor: u64, position: Position) -> SubscriberStep {
        let needs_check = self.cell().shared().settings.live == LiveEvents::Auto
            && state
                .look
                .found()
                .is_none_or(|found| cursor <= found.cursor && found.mark.is_after(position.entry));
        let from = || Some(position.to_string().into_boxed_str());
        let live_check =
            needs_check.then(|| Box::new(LiveCheck { at: position.entry, from: from(), place: None }));
        self.stage = SubscriberStage::Reading { cursor, read_until: None, live_check };
        self.position = Some(position);
        SubscriberStep::Give(Next::Joined(Joined::Resumed { position: Some(position) }))
    }

    /// Reads the log until it reaches the ring.
    pub(super) fn replay(&mut self, state: &mut WorkspaceState) -> SubscriberStep {
        let SubscriberStage::Replaying(replaying) = &mut self.stage else { return SubscriberStep::GoOn };
        let Some(page) = replaying.page.as_ref().and_then(Weak::upgrade) else {
            replaying.span = replaying.taken.take().unwrap_or(replaying.span);
            let (now, oldest) = (state.sequencer.page_request(), state.sequencer.ring().oldest());
            return match state.replays.get(replaying.span, self.reader, now, oldest) {
                Page::Unrequested => {
                    self.waiter_slot.cell().request_replay(replaying.span, self.reader);
                    SubscriberStep::Wait
                }
                Page::Waiting => SubscriberStep::Wait,
                Page::Ready(Err(ReplayFailure::Unavailable)) => SubscriberStep::Give(Next::Unavailable),
                Page::Ready(Err(ReplayFailure::Unreadable)) => {
                    self.fail_replay(state, ResetReason::LogUnreadable, None)
                }
                Page::Ready(Ok(page)) => {
                    replaying.page = Some(Arc::downgrade(&page));
                    replaying.next = 0;
                    SubscriberStep::GoOn
                }
            };
        };
        page.touch();
        let after = if let Span::After { after, .. } = replaying.span { Some(after) } else { None };
        if !page.proven {
            let reason = page.reason(after);
            return self.fail_replay(state, reason, Some(&page));
        }
        if let (Some(cursor), Some(until)) = (replaying.in_ring, after) {
            // This log holds the entries read ahead too. All later events come through the ring.
            let ahead = ReadAhead {
                until,
                has_reset: false,
                epoch: page.epoch(),
                generation: page.request.generation,
            };
            let live_check = replaying.live_check.take();
            self.stage = SubscriberStage::Reading { cursor, read_until: Some(ahead), live_check };
            return SubscriberStep::GoOn;
        }
        if !replaying.joined {
            if !state.is_open() {
                return SubscriberStep::Wait;
            }
            replaying.joined = true;
            if let Some(began) = replaying.began {
                let live = self.waiter_slot.cell().shared().settings.live;
                let is_beside = replaying.position.is_some_and(|position| position.live.is_some());
                let is_mixed = state.sequencer.is_mixed();
                replaying.misses_live = resumption::misses_live(live, page.live, began, is_beside, is_mixed);
            }
            self.position = replaying.position.or_else(|| after.map(|after| page.position(after)));
            return SubscriberStep::Give(Next::Joined(match replaying.span {
                Span::Newest { .. } => Joined::Newest,
                _ => Joined::Resumed { position: self.position },
            }));
        }
        let shared = self.waiter_slot.cell().shared();
        // A live event that arrives meanwhile may leave the ring before the client reaches it.
        replaying.misses_live |= shared.settings.live == LiveEvents::Auto
            && replaying.began.is_some_and(|began| state.sequencer.has_live_after(began));
        if let Some(frame) = page.frame(replaying.next, shared, replaying.misses_live) {
            replaying.next += 1;
            let position = *frame.position();
            replaying.taken = Some(Span::after(position.entry, page.epoch()));
            self.position = Some(position);
            return show(&self.filter, frame);
        }
        self.finish_page(state, &page)
    }

    /// Ends a delivered page: goes on in the ring if the page connects to it, else with the next
    /// page.
    fn finish_page(&mut self, state: &mut WorkspaceState, page: &ReplayPage) -> SubscriberStep {
        let SubscriberStage::Replaying(replaying) = &mut self.stage else { return SubscriberStep::GoOn };
        (replaying.page, replaying.taken) = (None, None);
        let (ring, generation) = (state.sequencer.ring(), state.sequencer.generation());
        if page.is_outrun(ring.oldest()) {
            // It was kept for too long: the log is read again.
            return SubscriberStep::GoOn;
        }
        let here = page.request.generation == generation;
        let stage = match page.last {
            // The log has no entry: events since the read was requested are in the ring.
            None => Some((page.request.at, None)),
            Some(last) => match ring.cursor_after(&page.position(last)) {
                Some(cursor) => Some((cursor, None)),
                // The announcement of the last entry has not reached this node yet.
                None if here && state.sequencer.is_behind(last) => {
                    let ahead = ReadAhead {
                        until: last,
                        has_reset: replaying.misses_live,
                        epoch: page.epoch(),
                        generation,
                    };
                    Some((ring.head(), Some(ahead)))
                }
                None if here && page.is_empty() => Some((page.request.at, None)),
                None => {
                    replaying.span = Span::after(last, page.epoch());
                    None
                }
            },
        };
        let Some((cursor, read_until)) = stage else { return SubscriberStep::GoOn };
        let (from, misses_live) = (replaying.from.take(), replaying.misses_live);
        let mut live_check = replaying.live_check.take();
        let here = self.position.unwrap_or_else(|| ring.head_position());
        if misses_live {
            let head = match page.last.filter(|last| *last != EntryId::ZERO) {
                Some(last) => page.position(last),
                None if cursor == ring.head() => ring.head_position(),
                None => Position { live: None, ..here },
            };
            self.stage = SubscriberStage::Reading { cursor, read_until, live_check: None };
            self.position = Some(head);
            return self.send_reset(ResetReason::LiveEvents, from.as_deref(), &head);
        }
        if let Some(at) = replaying.began
            && self.waiter_slot.cell().shared().settings.live == LiveEvents::Auto
        {
            live_check = Some(Box::new(LiveCheck { at, from, place: None }));
        }
        self.stage = SubscriberStage::Reading { cursor, read_until, live_check };
        self.position = Some(here);
        SubscriberStep::GoOn
    }

    /// Sends a reset because the log does not prove a complete replay; goes on from the head.
    fn fail_replay(
        &mut self,
        state: &mut WorkspaceState,
        reason: ResetReason,
        page: Option<&ReplayPage>,
    ) -> SubscriberStep {
        let SubscriberStage::Replaying(replaying) = &mut self.stage else { return SubscriberStep::GoOn };
        if !state.is_open() {
            return SubscriberStep::Wait;
        }
        let from =
            self.position.map(|position| position.to_string().into_boxed_str()).or(replaying.from.take());
        if !replaying.joined {
            return self.begin_unproven(state, reason, from, page);
        }
        let head = self.read_from_head(state, page);
        self.send_reset(reason, from.as_deref(), &head)
    }

    fn begin_unproven(
        &mut self,
        state: &WorkspaceState,
        reason: ResetReason,
        from: Option<Box<str>>,
        page: Option<&ReplayPage>,
    ) -> SubscriberStep {
        let head = self.read_from_head(state, page);
        self.cell().shared().metrics.count_reset(reason.as_str());
        SubscriberStep::Give(Next::Joined(Joined::Unproven { reason, from, head }))
    }

    /// Goes on from the end of the log, which in `page` may be beyond the last event of this node.
    /// So the client gets no event that its new state covers, and its position never moves back.
    fn read_from_head(&mut self, state: &WorkspaceState, page: Option<&ReplayPage>) -> Position {
        let (ring, generation) = (state.sequencer.ring(), state.sequencer.generation());
        let ahead =
            page.filter(|page| page.request.generation == generation && state.sequencer.is_behind(page.head));
        let read_until = ahead.map(|page| ReadAhead {
            until: page.head,
            has_reset: true,
            epoch: page.epoch(),
            generation,
        });
        self.stage = SubscriberStage::Reading { cursor: ring.head(), read_until, live_check: None };
        let position = ahead.map_or_else(|| ring.head_position(), |page| page.position(page.head));
        self.position = Some(position);
        position
    }
}

/// The entry after which a span brings everything; `None` if it makes no such claim.
fn began_at(span: Span) -> Option<EntryId> {
    match span {
        Span::After { after, .. } => Some(after),
        Span::Since { milliseconds } => Some(EntryId { milliseconds, sequence: 0 }),
        _ => None,
    }
}
