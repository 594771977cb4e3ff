//! The recent events of a workspace in wire form: one contiguous run of chunks. Each byte has a
//! number from the beginning of the broadcast. A client's cursor is such a number, and the bytes
//! behind it are those that the client lacks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::chunk;
use tidings_event::frame;
use tidings_event::{Frame, Position, UserKey};

/// The buffer drops its oldest frames when it exceeds its bounds by this part, so that it does so
/// rarely.
const SLACK: usize = 8;

/// The buffer may hold this multiple of its bounds while not every client had its turn.
const HARD: usize = 4;

/// An empty buffer that is larger than this is freed.
const KEPT_BYTES: usize = 16 * 1024;

/// The bounds of a buffer. They are those of the ring, so that a client is too slow for both at the
/// same point.
#[derive(Debug, Clone, Copy)]
pub struct BroadcastBounds {
    /// The most frames that are kept while a client lacks them.
    pub frames: usize,
    /// The most bytes that are kept while a client lacks them.
    pub bytes: usize,
}

/// The memory of all buffers of a shard, in bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct UnsentBytes(Arc<AtomicUsize>);

impl UnsentBytes {
    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts a buffer that had `before` bytes with `after` bytes.
    fn change(&self, before: usize, after: usize) {
        // It wraps around to the right sum.
        self.0.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
    }
}

/// A run of bytes for one client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct FrameRun<'a> {
    /// The number of the first byte.
    pub(super) begin: u64,
    pub(super) bytes: &'a [u8],
}

/// Frames in wire form.
#[derive(Debug)]
pub(super) struct BroadcastBuffer {
    /// Whether frames carry `event:`.
    named: bool,
    bounds: BroadcastBounds,
    bytes: Vec<u8>,
    /// The index in `bytes` of the first byte that is kept.
    start: usize,
    /// The number of the first byte that is kept.
    base: u64,
    /// The ends of the kept frames.
    marks: VecDeque<Mark>,
    /// The private ones among the kept frames.
    private: VecDeque<Private>,
    /// The totals of all frames added so far, and of the frames dropped.
    passed: FrameTotals,
    dropped: FrameTotals,
    /// Every client was offered the bytes before this one.
    offered: u64,
    /// The memory of all buffers of the shard, and the part of this one.
    unsent: UnsentBytes,
    counted: usize,
}

/// The end of a frame.
#[derive(Debug, Clone, Copy)]
struct Mark {
    end: u64,
    /// The totals up to here.
    passed: FrameTotals,
}

/// Totals of frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct FrameTotals {
    /// Application events.
    pub(super) events: u64,
    /// Bytes of frames, without the framing of chunks.
    pub(super) bytes: u64,
}

#[derive(Debug)]
struct Private {
    begin: u64,
    end: u64,
    frame: Arc<Frame>,
}

impl Private {
    fn is_for(&self, user: Option<UserKey>) -> bool {
        self.frame.audience().is_none_or(|audience| user.is_some_and(|user| audience.contains(user)))
    }
}

impl BroadcastBuffer {
    /// Creates an empty buffer, whose memory is counted.
    pub(super) fn new(named: bool, bounds: BroadcastBounds, unsent: UnsentBytes) -> Self {
        Self {
            named,
            bounds,
            bytes: Vec::new(),
            start: 0,
            base: 0,
            marks: VecDeque::new(),
            private: VecDeque::new(),
            passed: FrameTotals::default(),
            dropped: FrameTotals::default(),
            offered: 0,
            unsent,
            counted: 0,
        }
    }

    /// The memory of the buffer, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.capacity() + self.marks.capacity() * size_of::<Mark>()
    }

    fn count(&mut self) {
        let held = self.held_bytes();
        if held != self.counted {
            self.unsent.change(self.counted, held);
            self.counted = held;
        }
    }

    /// The cursor of a client that has every byte.
    pub(super) fn head(&self) -> u64 {
        self.base + (self.bytes.len() - self.start) as u64
    }

    /// Appends a frame.
    pub(super) fn append(&mut self, frame: &Arc<Frame>) {
        let begin = self.head();
        let bytes = if self.named { frame.named() } else { frame.plain() };
        chunk::put(&mut self.bytes, bytes);
        self.passed.events += u64::from(frame.is_application());
        self.passed.bytes += bytes.len() as u64;
        let end = self.head();
        self.marks.push_back(Mark { end, passed: self.passed });
        if frame.audience().is_some() {
            self.private.push_back(Private { begin, end, frame: Arc::clone(frame) });
        }
        self.count();
    }

    /// The bytes between a cursor and the head; none if the cursor is before the kept bytes.
    pub(super) fn after(&self, cursor: u64) -> &[u8] {
        self.between(cursor, self.head())
    }

    fn between(&self, from: u64, to: u64) -> &[u8] {
        let index = |at: u64| at.checked_sub(self.base).and_then(|at| usize::try_from(at).ok());
        match (index(from), index(to)) {
            (Some(from), Some(to)) => self.bytes.get(self.start + from..self.start + to).unwrap_or_default(),
            _ => &[],
        }
    }

    /// Whether a frame behind the cursor is private.
    pub(super) fn has_private_after(&self, cursor: u64) -> bool {
        self.private.back().is_some_and(|last| last.end > cursor)
    }

    /// Fills `runs` with the bytes behind a cursor that are for the user; returns the number of
    /// runs. Further runs are left for the next call.
    pub(super) fn runs<'a>(&'a self, cursor: u64, user: Option<UserKey>, runs: &mut [FrameRun<'a>]) -> usize {
        let mut count = 0;
        let mut from = cursor;
        let first = self.private.partition_point(|private| private.end <= cursor);
        let hidden = self.private.iter().skip(first).filter(|private| !private.is_for(user));
        // A client is never in the middle of a frame that is hidden from it.
        let ends = hidden.map(|private| (private.begin, private.end));
        for (to, next) in ends.chain([(self.head(), self.head())]) {
            if count == runs.len() {
                break;
            }
            if from < to {
                runs[count] = FrameRun { begin: from, bytes: self.between(from, to) };
                count += 1;
            }
            from = next.max(from);
        }
        count
    }

    /// Moves a cursor past the frames that are hidden from the user.
    pub(super) fn skip_hidden(&self, cursor: u64, user: Option<UserKey>) -> u64 {
        let first = self.private.partition_point(|private| private.end <= cursor);
        let mut at = cursor;
        for private in self.private.iter().skip(first) {
            if private.begin > at || private.is_for(user) {
                break;
            }
            at = private.end;
        }
        at
    }

    /// The totals that a client got between two cursors, in whole frames.
    pub(super) fn given(&self, from: u64, to: u64, user: Option<UserKey>) -> FrameTotals {
        let (before, after) = (self.passed_at(from), self.passed_at(to));
        let mut given =
            FrameTotals { events: after.events - before.events, bytes: after.bytes - before.bytes };
        if self.has_private_after(from) {
            let first = self.private.partition_point(|private| private.end <= from);
            let passed = self.private.iter().skip(first).take_while(|private| private.end <= to);
            for private in passed.filter(|private| !private.is_for(user)) {
                let bytes = if self.named { private.frame.named() } else { private.frame.plain() };
                given.events -= 1;
                given.bytes -= bytes.len() as u64;
            }
        }
        given
    }

    fn passed_at(&self, cursor: u64) -> FrameTotals {
        match self.marks.partition_point(|mark| mark.end <= cursor).checked_sub(1) {
            Some(passed) => self.marks[passed].passed,
            None => self.dropped,
        }
    }

    /// The end of a kept frame: 1 is the newest, 2 the one before. `None` if it is dropped.
    pub(super) fn end_of_newest(&self, number: u64) -> Option<u64> {
        let index = usize::try_from(number).ok().and_then(|number| self.marks.len().checked_sub(number));
        index.and_then(|index| self.marks.get(index)).map(|mark| mark.end)
    }

    /// The end of the kept frame of a publisher's event. Looks at the first bytes of each frame.
    pub(super) fn end_of_event(&self, event: &Position) -> Option<u64> {
        let mut begin = self.base;
        let mut frames = self.marks.iter().map(|mark| (std::mem::replace(&mut begin, mark.end), mark.end));
        let is_event = |frame| {
            frame::position_of(chunk::content(frame)).is_some_and(|position| position.is_same_event(event))
        };
        frames.find(|&(begin, end)| is_event(self.between(begin, end))).map(|(_, end)| end)
    }

    /// The rest of the frame in whose middle the cursor is; empty between two frames.
    pub(super) fn rest_of_frame(&self, cursor: u64) -> &[u8] {
        match self.frame_around(cursor) {
            Some((begin, end)) if begin < cursor => self.between(cursor, end),
            Some(_) | None => &[],
        }
    }

    /// The frame in which, or before which, the cursor is.
    pub(super) fn whole_frame(&self, cursor: u64) -> &[u8] {
        self.frame_around(cursor).map_or(&[], |(begin, end)| self.between(begin, end))
    }

    fn frame_around(&self, cursor: u64) -> Option<(u64, u64)> {
        let passed = self.marks.partition_point(|mark| mark.end <= cursor);
        let begin = passed.checked_sub(1).map_or(self.base, |index| self.marks[index].end);
        self.marks.get(passed).map(|mark| (begin, mark.end))
    }

    /// Notes that every client was offered the bytes up to `head`.
    pub(super) fn note_offered(&mut self, head: u64) {
        self.offered = self.offered.max(head);
    }

    /// Whether the buffer takes no more frames before every client had its turn. A single frame
    /// always fits.
    pub(super) fn is_full(&self) -> bool {
        let (frames, bytes) = (self.marks.len(), self.bytes.len() - self.start);
        frames > 1 && (frames >= HARD * self.bounds.frames || bytes >= HARD * self.bounds.bytes)
    }

    /// The byte at which the buffer has to begin to keep its bounds, if it exceeds them far enough.
    /// It is never behind the bytes that every client was offered: a client without a turn is not
    /// too slow. The newest frame is kept.
    pub(super) fn excess(&self) -> Option<u64> {
        let (frames, bytes) = (self.marks.len(), self.bytes.len() - self.start);
        let passes = |is: usize, bound: usize| is > bound + bound / SLACK;
        if !passes(frames, self.bounds.frames) && !passes(bytes, self.bounds.bytes) {
            return None;
        }
        let by_frames = frames.saturating_sub(self.bounds.frames);
        let surplus = self.base + bytes.saturating_sub(self.bounds.bytes) as u64;
        let by_bytes =
            self.marks.partition_point(|mark| mark.end < surplus) + usize::from(surplus > self.base);
        let count = by_frames.max(by_bytes).min(self.offered_frames()).min(frames.saturating_sub(1));
        count.checked_sub(1).map(|last| self.marks[last].end)
    }

    /// The number of frames that every client was offered.
    fn offered_frames(&self) -> usize {
        self.marks.partition_point(|mark| mark.end <= self.offered)
    }

    /// The end of the older half of the frames that every client was offered; `None` without such
    /// frames.
    pub(super) fn older_half(&self) -> Option<u64> {
        let count = self.offered_frames().div_ceil(2);
        count.checked_sub(1).map(|last| self.marks[last].end)
    }

    /// Frees the memory that no frame needs.
    pub(super) fn shrink(&mut self) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.shrink_to_fit();
        self.marks.shrink_to_fit();
        self.count();
    }

    /// Drops the frames before `begin`, which is the end of a frame.
    pub(super) fn drop_before(&mut self, begin: u64) {
        while let Some(mark) = self.marks.pop_front_if(|mark| mark.end <= begin) {
            self.dropped = mark.passed;
            self.start += usize::try_from(mark.end - self.base).unwrap_or(usize::MAX);
            self.base = mark.end;
        }
        while self.private.pop_front_if(|private| private.end <= begin).is_some() {}
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    /// Drops every frame, because each client has them.
    pub(super) fn clear(&mut self) {
        self.base = self.head();
        self.dropped = self.passed;
        self.start = 0;
        self.marks.clear();
        self.private.clear();
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
            self.marks = VecDeque::new();
        }
        self.count();
    }
}

impl Drop for BroadcastBuffer {
    fn drop(&mut self) {
        self.unsent.change(self.counted, 0);
    }
}

#[cfg(test)]
mod tests;
