//! A workspace's recent frames.

use std::collections::VecDeque;
use std::sync::Arc;

use slab::Slab;

use super::budget::{RingBudget, RingShare};
use tidings_event::{Audience, Frame, Position};

/// The memory of a frame beside its bytes, roughly: the frame itself, its entry in the ring, its
/// type.
pub(super) const FRAME_OVERHEAD_BYTES: usize = 192;

/// A ring may hold this multiple of its byte limit while a follower has not read the oldest frames.
const HARD_BYTES: usize = 4;

/// The same for events; it is larger because a burst of small events needs little memory.
const HARD_EVENTS: usize = 16;

/// Numbered frames in order; the oldest are dropped beyond the limits.
#[derive(Debug)]
pub(super) struct Ring {
    frames: VecDeque<Arc<Frame>>,
    /// The number of the oldest frame, or of the next one if the ring is empty.
    base: u64,
    /// The position right before the oldest frame. `None` after a dropped reset: a client at its
    /// position may not have received it.
    before: Option<Position>,
    /// Whether that position is the entry of the log at which the ring began, rather than an event
    /// that this node received.
    begins_in_log: bool,
    /// The position after the newest frame.
    head: Position,
    /// The memory of the frames, as a share of the budget of all rings.
    share: RingShare,
    events_max: usize,
    bytes_max: usize,
    /// The cursors of readers that read for many clients; a few at most.
    followers: Slab<u64>,
}

/// The entry of the ring at a cursor.
#[derive(Debug)]
pub(super) enum RingEntry<'a> {
    /// A frame.
    Frame(&'a Arc<Frame>),
    /// The end of the ring: no frame yet.
    Head,
    /// The frame was dropped: the reader was too slow.
    FallenOut,
}

impl Ring {
    /// An empty ring that begins after `before`.
    pub(super) fn new(
        before: Position,
        events_max: usize,
        bytes_max: usize,
        budget: Arc<RingBudget>,
    ) -> Self {
        Self {
            frames: VecDeque::new(),
            base: 0,
            before: Some(before),
            begins_in_log: false,
            head: before,
            share: RingShare::new(budget),
            events_max,
            bytes_max,
            followers: Slab::new(),
        }
    }

    /// Appends a frame and drops the oldest ones beyond the limits, that of all rings included; the
    /// new one is always kept. Frames that a follower has not read are kept longer: many clients
    /// that are not slow would miss them.
    pub(super) fn push(&mut self, frame: Frame) {
        self.share.grow(cost(&frame));
        self.head = *frame.position();
        self.frames.push_back(Arc::new(frame));
        self.trim();
    }

    fn trim(&mut self) {
        let unread = self.followers.iter().map(|(_, cursor)| *cursor).min().unwrap_or(u64::MAX);
        while self.exceeds(self.base >= unread) {
            let Some(oldest) = self.frames.pop_front() else { break };
            self.share.shrink(cost(&oldest));
            self.before = oldest.is_application().then(|| *oldest.position());
            self.begins_in_log = false;
            self.base += 1;
        }
    }

    /// Whether the oldest frame has to be dropped. `is_awaited`: a follower has not read it.
    fn exceeds(&self, is_awaited: bool) -> bool {
        let (events, bytes) = if is_awaited { (HARD_EVENTS, HARD_BYTES) } else { (1, 1) };
        let is_too_large =
            self.share.bytes() > self.bytes_max.saturating_mul(bytes) || self.share.is_exceeded();
        self.frames.len() > self.events_max.saturating_mul(events) || (is_too_large && self.frames.len() > 1)
    }

    /// Adds a follower, which reads for many clients from a cursor on. Returns its key.
    pub(super) fn follow(&mut self, cursor: u64) -> usize {
        self.followers.insert(cursor)
    }

    /// Records the cursor up to which a follower has read.
    pub(super) fn follower_moved(&mut self, follower: usize, cursor: u64) {
        if let Some(known) = self.followers.get_mut(follower) {
            *known = cursor;
            self.trim();
        }
    }

    /// Removes a follower.
    pub(super) fn unfollow(&mut self, follower: usize) {
        self.followers.try_remove(follower);
        self.trim();
    }

    /// The cursor of the oldest frame.
    pub(super) fn oldest(&self) -> u64 {
        self.base
    }

    /// The cursor of a reader that has seen everything.
    pub(super) fn head(&self) -> u64 {
        self.base + self.frames.len() as u64
    }

    /// The position after the newest frame.
    pub(super) fn head_position(&self) -> Position {
        self.head
    }

    /// Returns the entry at a cursor.
    pub(super) fn at(&self, cursor: u64) -> RingEntry<'_> {
        let Some(offset) = cursor.checked_sub(self.base) else { return RingEntry::FallenOut };
        match usize::try_from(offset).ok().and_then(|offset| self.frames.get(offset)) {
            Some(frame) => RingEntry::Frame(frame),
            None => RingEntry::Head,
        }
    }

    /// Sets the position at which an empty ring begins.
    pub(super) fn begin_at(&mut self, before: Position) {
        if self.frames.is_empty() {
            (self.before, self.head) = (Some(before), before);
            self.begins_in_log = before.live.is_none();
        }
    }

    /// The cursor of a client that resumes at a position, if the ring proves that it misses
    /// nothing. The entry of the log at which the ring began proves nothing. The client got that
    /// entry from another node, and live events after it may not have reached this one.
    pub(super) fn resumes_after(&self, position: &Position) -> Option<u64> {
        let is_unproven = self.begins_in_log && self.before.as_ref() == Some(position);
        if is_unproven { None } else { self.cursor_after(position) }
    }

    /// The cursor of a reader that has every event up to a position, if the ring still proves it.
    ///
    /// A reset has the position of the event before it, or of the entry to which the log went back.
    /// A client at that position may not have received the reset. So it gets the reset again, and
    /// no frame before it counts as received.
    pub(super) fn cursor_after(&self, position: &Position) -> Option<u64> {
        if self.before.as_ref() == Some(position) {
            return Some(self.base);
        }
        let offset = self.frames.iter().position(|frame| frame.position() == position)?;
        let behind = u64::from(self.frames[offset].is_application());
        Some(self.base + offset as u64 + behind)
    }
}

/// The memory of a frame in bytes, roughly.
pub(super) fn cost(frame: &Frame) -> usize {
    let audience = frame.audience().map_or(0, Audience::memory);
    frame.plain().len() + audience + FRAME_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::gauge::Gauge;
    use proptest::prelude::*;
    use tidings_event::EntryId;
    use tidings_event::control::ResetReason;

    fn position(number: u64) -> Position {
        Position::logged(EntryId { milliseconds: number, sequence: 0 })
    }

    fn ring(events_max: usize, bytes_max: usize, count: u64) -> Ring {
        filled(Ring::new(position(0), events_max, bytes_max, budget(usize::MAX)), count)
    }

    fn budget(most: usize) -> Arc<RingBudget> {
        Arc::new(RingBudget::new(Gauge::default(), most))
    }

    fn filled(mut ring: Ring, count: u64) -> Ring {
        for number in 1..=count {
            ring.push(Frame::application(position(number), "x"));
        }
        ring
    }

    #[test]
    fn an_empty_ring_knows_where_it_begins() {
        let ring = ring(3, 10_000, 0);
        assert_eq!(ring.head(), 0);
        assert_eq!(ring.head_position(), position(0));
        assert_eq!(ring.cursor_after(&position(0)), Some(0));
        assert_eq!(ring.cursor_after(&position(1)), None);
        assert!(matches!(ring.at(0), RingEntry::Head));
    }

    #[test]
    fn the_oldest_fall_out() {
        let ring = ring(3, 10_000, 5);
        assert_eq!(ring.head(), 5);
        assert!(matches!(ring.at(1), RingEntry::FallenOut));
        assert!(matches!(ring.at(2), RingEntry::Frame(frame) if *frame.position() == position(3)));
        assert_eq!(ring.cursor_after(&position(1)), None);
        assert_eq!(ring.cursor_after(&position(2)), Some(2));
        assert_eq!(ring.cursor_after(&position(5)), Some(5));
    }

    #[test]
    fn bytes_bound_the_ring_but_never_empty_it() {
        assert_eq!(ring(100, 3 * (FRAME_OVERHEAD_BYTES + 20), 10).frames.len(), 3);
        assert_eq!(ring(100, 1, 10).frames.len(), 1);
    }

    /// All rings share one limit, and the ring that grows drops its own frames.
    #[test]
    fn only_a_growing_ring_drops_frames_at_the_shared_limit() {
        let cost = cost(&Frame::application(position(1), "x"));
        let budget = budget(5 * cost);
        let ring = |count| filled(Ring::new(position(0), 100, 10_000, Arc::clone(&budget)), count);
        let (quiet, busy) = (ring(3), ring(9));
        assert_eq!((quiet.frames.len(), busy.frames.len()), (3, 2));
        assert_eq!(busy.head(), 9);
        let late = ring(4);
        assert_eq!(late.frames.len(), 1, "the newest always stays");
        assert!(budget.is_exceeded());
        drop(quiet);
        drop(late);
        assert!(!budget.lacks(3 * cost) && budget.lacks(3 * cost + 1), "what is dropped is given back");
        assert_eq!(filled(busy, 3).frames.len(), 5);
    }

    /// The log went back to a position: a client at that position may not have received the reset
    /// there.
    #[test]
    fn a_reset_proves_nothing_about_its_place() {
        let reset = |number| Frame::reset(ResetReason::Trimmed, None, position(number));
        let mut ring = ring(3, 10_000, 5);
        ring.push(reset(1));
        let cursor = ring.cursor_after(&position(1)).unwrap();
        assert!(
            matches!(ring.at(cursor), RingEntry::Frame(frame) if !frame.is_application()),
            "the reset is given again"
        );
        assert_eq!(ring.head_position(), position(1));

        ring.push(reset(5));
        assert_eq!(ring.cursor_after(&position(5)), Some(5), "the event at that place comes first");
        ring.push(Frame::application(position(6), "x"));
        ring.push(Frame::application(position(7), "x"));
        // The reset at 1 was dropped, so a client at 1 cannot resume.
        assert_eq!(ring.cursor_after(&position(1)), None);
    }

    proptest! {
        /// A follower reads some frames from time to time while frames arrive.
        #[test]
        fn unread_frames_of_followers_are_kept_up_to_hard_limits(
            steps in proptest::collection::vec((0u64..30, 0u64..30), 1..40),
        ) {
            const EVENTS: u64 = 4;
            let mut ring = ring(EVENTS as usize, usize::MAX, 0);
            let (mut pushed, mut cursor) = (0, 0);
            let follower = ring.follow(cursor);
            for (push, read) in steps {
                (pushed + 1..=pushed + push)
                    .for_each(|number| ring.push(Frame::application(position(number), "x")));
                pushed += push;
                let unread = pushed - cursor;
                let bound = if unread > EVENTS { unread.min(EVENTS * HARD_EVENTS as u64) } else { EVENTS };
                prop_assert_eq!(ring.frames.len() as u64, pushed.min(bound));
                if matches!(ring.at(cursor), RingEntry::FallenOut) {
                    prop_assert!(unread > EVENTS * HARD_EVENTS as u64);
                    break;
                }
                cursor = (cursor + read).min(pushed);
                ring.follower_moved(follower, cursor);
            }
            ring.unfollow(follower);
            prop_assert!(ring.frames.len() as u64 <= EVENTS);
        }

        /// A reader of the ring gets every frame in order, or is overtaken.
        #[test]
        fn a_reader_gets_everything_in_order_or_falls_out(
            events_max in 1usize..6, count in 0u64..20, start in 0u64..20,
        ) {
            let ring = ring(events_max, usize::MAX, count);
            prop_assert!(ring.frames.len() <= events_max);
            prop_assert_eq!(ring.share.bytes(), ring.frames.iter().map(|frame| cost(frame)).sum::<usize>());
            if let Some(mut cursor) = ring.cursor_after(&position(start)) {
                let mut expected = start + 1;
                while let RingEntry::Frame(frame) = ring.at(cursor) {
                    prop_assert_eq!(frame.position(), &position(expected));
                    expected += 1;
                    cursor += 1;
                }
                prop_assert_eq!(expected, count + 1);
            } else {
                prop_assert!(start > count || start + (events_max as u64) < count);
            }
        }
    }
}
