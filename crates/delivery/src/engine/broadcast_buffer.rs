//! The recent events of a workspace as they stand on the wire: one contiguous run of chunks, whose bytes are numbered from
//! the beginning of the log. A client is a number among them, its cursor; what it lacks is what lies behind it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::chunk;
use tidings_event::Frame;
use tidings_event::UserKey;

/// The part of its bounds by which a log may pass them before its oldest frames are cut, so that cutting is rare.
const SLACK: usize = 8;

/// How many times its bounds a log may hold while not every client had its turn.
const HARD: usize = 4;

/// A buffer that is larger than this is given back when nothing is in it.
const KEPT_BYTES: usize = 16 * 1024;

/// The bounds of a log. They are those of the ring, so that a client is too slow for both at the same point.
#[derive(Debug, Clone, Copy)]
pub struct LogBounds {
    /// Frames.
    pub frames: usize,
    /// Bytes.
    pub bytes: usize,
}

/// A run of bytes that a client may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct FrameRun<'a> {
    /// The number of the first.
    pub(super) begin: u64,
    pub(super) bytes: &'a [u8],
}

/// Frames in wire form.
#[derive(Debug)]
pub(super) struct BroadcastBuffer {
    /// Whether frames carry `event:`.
    named: bool,
    bounds: LogBounds,
    bytes: Vec<u8>,
    /// Where in `bytes` those begin that are kept.
    start: usize,
    /// The number of the first byte that is kept.
    base: u64,
    /// Where the frames that are kept end.
    marks: VecDeque<Mark>,
    /// Those of them that are not for everybody.
    private: VecDeque<Private>,
    /// What was ever added, and what of it is kept no more.
    passed: Passed,
    cut: Passed,
    /// Up to here, each client was offered what there is.
    offered: u64,
}

/// The end of a frame.
#[derive(Debug, Clone, Copy)]
struct Mark {
    end: u64,
    /// What was added up to here.
    passed: Passed,
}

/// How much was added to a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Passed {
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
    /// An empty log.
    pub(super) fn new(named: bool, bounds: LogBounds) -> Self {
        Self {
            named,
            bounds,
            bytes: Vec::new(),
            start: 0,
            base: 0,
            marks: VecDeque::new(),
            private: VecDeque::new(),
            passed: Passed::default(),
            cut: Passed::default(),
            offered: 0,
        }
    }

    /// The cursor of a client that has everything.
    pub(super) fn head(&self) -> u64 {
        self.base + (self.bytes.len() - self.start) as u64
    }

    /// Adds a frame at the end.
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
    }

    /// What lies between a cursor and the head; nothing where the cursor has fallen out.
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

    /// Whether a frame behind the cursor is not for everybody.
    pub(super) fn has_private_after(&self, cursor: u64) -> bool {
        self.private.back().is_some_and(|last| last.end > cursor)
    }

    /// Fills `runs` with what lies behind a cursor and is for the user, and answers how many runs that makes. What does not
    /// fit into `runs` is left for another time.
    pub(super) fn runs<'a>(&'a self, cursor: u64, user: Option<UserKey>, runs: &mut [FrameRun<'a>]) -> usize {
        let mut count = 0;
        let mut from = cursor;
        let first = self.private.partition_point(|private| private.end <= cursor);
        let hidden = self.private.iter().skip(first).filter(|private| !private.is_for(user));
        // A client is never in the middle of what it does not see.
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

    /// The place after `cursor` from where on something is for the user: behind what it does not see.
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

    /// What a client has been given between two cursors, in whole frames.
    pub(super) fn given(&self, from: u64, to: u64, user: Option<UserKey>) -> Passed {
        let (before, after) = (self.passed_at(from), self.passed_at(to));
        let mut given = Passed { events: after.events - before.events, bytes: after.bytes - before.bytes };
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

    fn passed_at(&self, cursor: u64) -> Passed {
        match self.marks.partition_point(|mark| mark.end <= cursor).checked_sub(1) {
            Some(passed) => self.marks[passed].passed,
            None => self.cut,
        }
    }

    /// What is left of the frame in whose middle the cursor stands; empty where it stands between two.
    pub(super) fn rest_of_frame(&self, cursor: u64) -> &[u8] {
        match self.frame_around(cursor) {
            Some((begin, end)) if begin < cursor => self.between(cursor, end),
            Some(_) | None => &[],
        }
    }

    /// The frame in which, or before which, the cursor stands.
    pub(super) fn whole_frame(&self, cursor: u64) -> &[u8] {
        self.frame_around(cursor).map_or(&[], |(begin, end)| self.between(begin, end))
    }

    fn frame_around(&self, cursor: u64) -> Option<(u64, u64)> {
        let passed = self.marks.partition_point(|mark| mark.end <= cursor);
        let begin = passed.checked_sub(1).map_or(self.base, |index| self.marks[index].end);
        self.marks.get(passed).map(|mark| (begin, mark.end))
    }

    /// Each client was offered what there was when the head was here.
    pub(super) fn note_offered(&mut self, head: u64) {
        self.offered = self.offered.max(head);
    }

    /// Whether the log takes no more frames before each client had its turn. One frame alone is never too much.
    pub(super) fn is_full(&self) -> bool {
        let (frames, bytes) = (self.marks.len(), self.bytes.len() - self.start);
        frames > 1 && (frames >= HARD * self.bounds.frames || bytes >= HARD * self.bounds.bytes)
    }

    /// Where the log has to begin for its bounds to be kept, if it has passed them by so much that it is worth while. That
    /// is never behind what each client was offered: nobody is too slow who had no turn. The newest frame stays.
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
        let offered = self.marks.partition_point(|mark| mark.end <= self.offered);
        let cut = by_frames.max(by_bytes).min(offered).min(frames.saturating_sub(1));
        cut.checked_sub(1).map(|last| self.marks[last].end)
    }

    /// Gives up what lies before `begin`, which is the end of a frame.
    pub(super) fn cut(&mut self, begin: u64) {
        while let Some(mark) = self.marks.pop_front_if(|mark| mark.end <= begin) {
            self.cut = mark.passed;
            self.start += usize::try_from(mark.end - self.base).unwrap_or(usize::MAX);
            self.base = mark.end;
        }
        while self.private.pop_front_if(|private| private.end <= begin).is_some() {}
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    /// Gives up everything: every client has it.
    pub(super) fn clear(&mut self) {
        self.base = self.head();
        self.cut = self.passed;
        self.start = 0;
        self.marks.clear();
        self.private.clear();
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
            self.marks = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use tidings_event::UserId;
    use tidings_event::{Audience, EntryId, Position};

    const BOUNDS: LogBounds = LogBounds { frames: 8, bytes: 4096 };

    fn frame(number: u64, payload: &str, users: &[&str]) -> Arc<Frame> {
        let position = Position::logged(EntryId { milliseconds: number, sequence: 0 });
        let audience = (!users.is_empty()).then(|| Arc::new(Audience::new(users).unwrap()));
        Arc::new(Frame::application(position, payload).to(audience))
    }

    fn user(name: &str) -> UserKey {
        UserId::parse(name).unwrap().key()
    }

    fn chunked(frame: &Frame) -> Vec<u8> {
        let mut bytes = Vec::new();
        chunk::put(&mut bytes, frame.plain());
        bytes
    }

    /// What a user gets from a cursor on, in one go.
    fn seen(log: &BroadcastBuffer, cursor: u64, user: Option<UserKey>) -> Vec<u8> {
        let mut runs = [FrameRun::default(); 64];
        let count = log.runs(cursor, user, &mut runs);
        runs[..count].iter().flat_map(|run| run.bytes.iter().copied()).collect()
    }

    #[test]
    fn what_a_client_lacks_is_one_run() {
        let mut log = BroadcastBuffer::new(false, BOUNDS);
        let frames: Vec<_> = (1..4).map(|number| frame(number, "x", &[])).collect();
        log.append(&frames[0]);
        let cursor = log.head();
        log.append(&frames[1]);
        log.append(&frames[2]);
        assert_eq!(log.after(cursor), [chunked(&frames[1]), chunked(&frames[2])].concat());
        assert_eq!(log.after(log.head()), b"");
        assert!(!log.has_private_after(0));
        assert_eq!(
            (
                log.passed_at(0).events,
                log.passed_at(cursor).events,
                log.passed_at(cursor + 1).events,
                log.passed_at(log.head()).events
            ),
            (0, 1, 1, 3)
        );
    }

    #[test]
    fn the_named_form_is_what_a_named_log_holds() {
        let mut log = BroadcastBuffer::new(true, BOUNDS);
        log.append(&frame(1, r#"{"type":"A"}"#, &[]));
        assert!(String::from_utf8_lossy(log.after(0)).contains("event: A\n"));
    }

    /// A buffer drops bytes only after a pass has offered them to every client.
    #[test]
    fn what_is_cut_is_what_everybody_was_offered_and_the_bounds_do_not_hold() {
        let mut log = BroadcastBuffer::new(false, BOUNDS);
        for number in 0..20 {
            log.append(&frame(number, "x", &[]));
        }
        assert_eq!(log.excess(), None, "nobody was offered anything");
        let fifth = log.marks[4].end;
        log.note_offered(fifth);
        assert_eq!(log.excess(), Some(fifth));
        log.cut(fifth);
        assert_eq!((log.base, log.marks.len(), log.passed_at(fifth).events), (fifth, 15, 5));
        log.note_offered(log.head());
        log.cut(log.excess().unwrap());
        assert_eq!(log.marks.len(), BOUNDS.frames);
        assert_eq!(log.excess(), None);
        assert_eq!(log.after(fifth), b"", "the cursor has fallen out");
    }

    #[test]
    fn the_newest_frame_stays_however_large_it_is() {
        let mut log = BroadcastBuffer::new(false, BOUNDS);
        log.append(&frame(1, &"x".repeat(10_000), &[]));
        log.note_offered(log.head());
        assert_eq!(log.excess(), None);
        log.append(&frame(2, "y", &[]));
        log.note_offered(log.head());
        log.cut(log.excess().unwrap());
        assert_eq!(log.marks.len(), 1);
    }

    #[test]
    fn a_log_takes_no_more_when_it_is_far_beyond_its_bounds() {
        let mut log = BroadcastBuffer::new(false, BOUNDS);
        while !log.is_full() {
            log.append(&frame(1, "x", &[]));
        }
        assert_eq!(log.marks.len(), HARD * BOUNDS.frames);
        log.note_offered(log.head());
        log.cut(log.excess().unwrap());
        assert!(!log.is_full());
    }

    #[test]
    fn an_empty_log_goes_on_where_it_was() {
        let mut log = BroadcastBuffer::new(false, BOUNDS);
        log.append(&frame(1, &"x".repeat(KEPT_BYTES), &[]));
        let head = log.head();
        log.clear();
        assert_eq!((log.head(), log.passed_at(head).events, log.bytes.capacity()), (head, 1, 0));
        log.append(&frame(2, "y", &[]));
        assert_eq!(log.after(head), chunked(&frame(2, "y", &[])));
    }

    #[test]
    fn what_is_left_of_a_frame_ends_where_it_does() {
        let mut log = BroadcastBuffer::new(false, BOUNDS);
        let (first, second) = (frame(1, "first", &[]), frame(2, "second", &[]));
        log.append(&first);
        let between = log.head();
        log.append(&second);
        assert_eq!(log.rest_of_frame(between), b"");
        assert_eq!(log.rest_of_frame(log.head()), b"");
        assert_eq!(log.rest_of_frame(5), &chunked(&first)[5..]);
        assert_eq!(log.rest_of_frame(between + 3), &chunked(&second)[3..]);
    }

    proptest! {
        /// However a socket takes bytes, and whatever is cut behind it, a user gets what is for it, in whole frames.
        #[test]
        fn each_user_gets_what_is_for_it_however_the_socket_takes_it(
            audiences in proptest::collection::vec(0_usize..4, 1..24),
            takes in proptest::collection::vec(1_usize..90, 1..200),
        ) {
            let sets: [&[&str]; 4] = [&[], &["ann"], &["ben"], &["ann", "ben"]];
            let mut log = BroadcastBuffer::new(false, LogBounds { frames: 1000, bytes: 1 << 20 });
            let frames: Vec<_> = audiences.iter().zip(1..).map(|(&set, number)| frame(number, "payload", sets[set])).collect();
            for name in [Some("ann"), Some("cid"), None] {
                let name = name.map(user);
                let expected: Vec<u8> = frames
                    .iter()
                    .filter(|frame| frame.audience().is_none_or(|to| name.is_some_and(|name| to.contains(name))))
                    .flat_map(|frame| chunked(frame))
                    .collect();
                let begin = log.head();
                frames.iter().for_each(|frame| log.append(frame));
                prop_assert_eq!(&seen(&log, begin, name), &expected);
                let (mut cursor, mut got) = (begin, Vec::new());
                for take in takes.iter().cycle() {
                    cursor = log.skip_hidden(cursor, name);
                    let mut runs = [FrameRun::default(); 2];
                    let count = log.runs(cursor, name, &mut runs);
                    if count == 0 {
                        break;
                    }
                    let mut left = *take;
                    for run in &runs[..count] {
                        let taken = left.min(run.bytes.len());
                        if taken > 0 {
                            got.extend_from_slice(&run.bytes[..taken]);
                            cursor = run.begin + taken as u64;
                        }
                        left -= taken;
                    }
                }
                prop_assert_eq!(&got, &expected);
                let given = log.given(begin, log.head(), name);
                let whole = frames.iter().filter(|frame| frame.audience().is_none_or(|to| name.is_some_and(|name| to.contains(name)))).count();
                prop_assert_eq!(given.events, whole as u64);
            }
        }
    }
}
