//! A workspace's recent frames.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use slab::Slab;

use super::budget::{RingBudget, RingShare};
use tidings_event::{Audience, EventWatch, Frame, Position};

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
    /// The time at which each frame was appended, for operators.
    received: VecDeque<Instant>,
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
    /// The bytes of all frames so far, those that are dropped included.
    pushed_bytes: u64,
    /// The memory of the frames, as a share of the budget of all rings.
    share: RingShare,
    events_max: usize,
    bytes_max: usize,
    /// The cursors of readers that read for many clients; a few at most.
    followers: Slab<u64>,
    /// The number of all readers that have a cursor, followers included.
    readers: usize,
    /// The number behind the newest watched frame; 0 without one.
    watched_until: u64,
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
            received: VecDeque::new(),
            base: 0,
            before: Some(before),
            begins_in_log: false,
            head: before,
            pushed_bytes: 0,
            share: RingShare::new(budget),
            events_max,
            bytes_max,
            followers: Slab::new(),
            readers: 0,
            watched_until: 0,
        }
    }

    /// Appends a frame and drops the oldest ones beyond the limits, that of all rings included; the
    /// new one is always kept. Frames that a follower has not read are kept longer: many clients
    /// that are not slow would miss them.
    pub(super) fn push(&mut self, frame: Frame) {
        self.share.grow(cost(&frame));
        self.head = *frame.position();
        self.pushed_bytes += frame.plain().len() as u64;
        if frame.watch().is_some() {
            self.watched_until = self.head() + 1;
        }
        self.frames.push_back(Arc::new(frame));
        self.received.push_back(Instant::now());
        self.trim();
    }

    fn trim(&mut self) {
        let unread = self.followers.iter().map(|(_, cursor)| *cursor).min().unwrap_or(u64::MAX);
        while self.exceeds(self.base >= unread) {
            let Some(oldest) = self.frames.pop_front() else { break };
            self.received.pop_front();
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

    /// The bytes of all frames so far, those that are dropped included.
    pub(super) fn pushed_bytes(&self) -> u64 {
        self.pushed_bytes
    }

    /// The memory of the frames, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.share.bytes()
    }

    /// The newest frames, at most `count`, in order.
    pub(super) fn newest(&self, count: usize) -> Vec<Arc<Frame>> {
        let skipped = self.frames.len().saturating_sub(count);
        self.frames.iter().skip(skipped).cloned().collect()
    }

    /// The frames with their cursors and the times at which they were appended, in order.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (u64, &Arc<Frame>, Instant)> {
        let cursors = self.base..;
        cursors.zip(&self.frames).zip(&self.received).map(|((cursor, frame), at)| (cursor, frame, *at))
    }

    /// Adds a follower, which reads for many clients from a cursor on. Returns its key.
    pub(super) fn follow(&mut self, cursor: u64) -> usize {
        self.enter(cursor);
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
        if let Some(cursor) = self.followers.try_remove(follower) {
            self.leave(cursor);
        }
        self.trim();
    }

    /// Counts a reader from a cursor on. It owes the watched frames from there on.
    pub(super) fn enter(&mut self, cursor: u64) {
        self.readers += 1;
        self.watched_from(cursor).for_each(|watch| watch.owe(1));
    }

    /// Counts a reader no more, which has not taken the frames from a cursor on.
    pub(super) fn leave(&mut self, cursor: u64) {
        self.readers -= 1;
        self.watched_from(cursor).for_each(|watch| watch.release(1));
    }

    /// The number of readers with a cursor.
    pub(super) fn readers(&self) -> usize {
        self.readers
    }

    /// The watches of the frames from a cursor on. Mostly there is none, and no frame is looked at.
    fn watched_from(&self, cursor: u64) -> impl Iterator<Item = &EventWatch> {
        let begin = cursor.max(self.base);
        let count = usize::try_from(self.watched_until.saturating_sub(begin)).unwrap_or(0);
        let skipped = usize::try_from(begin - self.base).unwrap_or(usize::MAX);
        self.frames.iter().skip(skipped).take(count).filter_map(|frame| frame.watch().map(|watch| &**watch))
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
mod tests;
