use proptest::prelude::*;

use super::*;
use tidings_event::UserId;
use tidings_event::{Audience, EntryId, Position};

const BOUNDS: BroadcastBounds = BroadcastBounds { frames: 8, bytes: 4096 };

fn frame(number: u64, payload: &str, users: &[&str]) -> Arc<Frame> {
    let position = Position::logged(EntryId { milliseconds: number, sequence: 0 });
    let audience = (!users.is_empty()).then(|| Arc::new(Audience::new(users).unwrap()));
    Arc::new(Frame::application(position, payload).with_audience(audience))
}

fn user(name: &str) -> UserKey {
    UserId::parse(name).unwrap().key()
}

fn chunked(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    chunk::put(&mut bytes, frame.plain());
    bytes
}

/// The bytes that a user gets from a cursor on, at once.
fn seen(buffer: &BroadcastBuffer, cursor: u64, user: Option<UserKey>) -> Vec<u8> {
    let mut runs = [FrameRun::default(); 64];
    let count = buffer.runs(cursor, user, &mut runs);
    runs[..count].iter().flat_map(|run| run.bytes.iter().copied()).collect()
}

#[test]
fn missing_bytes_of_a_client_are_one_run() {
    let mut buffer = BroadcastBuffer::new(false, BOUNDS, UnsentBytes::default());
    let frames: Vec<_> = (1..4).map(|number| frame(number, "x", &[])).collect();
    buffer.append(&frames[0]);
    let cursor = buffer.head();
    buffer.append(&frames[1]);
    buffer.append(&frames[2]);
    assert_eq!(buffer.after(cursor), [chunked(&frames[1]), chunked(&frames[2])].concat());
    assert_eq!(buffer.after(buffer.head()), b"");
    assert!(!buffer.has_private_after(0));
    assert_eq!(
        (
            buffer.passed_at(0).events,
            buffer.passed_at(cursor).events,
            buffer.passed_at(cursor + 1).events,
            buffer.passed_at(buffer.head()).events
        ),
        (0, 1, 1, 3)
    );
}

#[test]
fn event_is_found_in_the_buffer_by_its_position() {
    for named in [false, true] {
        let mut buffer = BroadcastBuffer::new(named, BOUNDS, UnsentBytes::default());
        let mut ends = Vec::new();
        for number in 1..5 {
            buffer.append(&frame(number, r#"{"type":"A","id":"\nid: 3-0"}"#, &[]));
            ends.push(buffer.head());
        }
        let end_of = |buffer: &BroadcastBuffer, text: &str| buffer.end_of_event(&text.parse().unwrap());
        assert_eq!(end_of(&buffer, "1-0"), Some(ends[0]));
        assert_eq!(end_of(&buffer, "3-0"), Some(ends[2]));
        assert_eq!(end_of(&buffer, "3-0~abcdefgh.1"), None);
        buffer.drop_before(ends[1]);
        assert_eq!((end_of(&buffer, "2-0"), end_of(&buffer, "4-0")), (None, Some(ends[3])));
        buffer.clear();
        assert_eq!(end_of(&buffer, "4-0"), None);
    }
}

#[test]
fn named_buffer_holds_the_named_form() {
    let mut buffer = BroadcastBuffer::new(true, BOUNDS, UnsentBytes::default());
    buffer.append(&frame(1, r#"{"type":"A"}"#, &[]));
    assert!(String::from_utf8_lossy(buffer.after(0)).contains("event: A\n"));
}

/// A buffer drops bytes only after a pass has offered them to every client.
#[test]
fn only_frames_offered_to_each_client_are_dropped() {
    let mut buffer = BroadcastBuffer::new(false, BOUNDS, UnsentBytes::default());
    for number in 0..20 {
        buffer.append(&frame(number, "x", &[]));
    }
    assert_eq!(buffer.excess(), None, "no frame was offered yet");
    let fifth = buffer.marks[4].end;
    buffer.note_offered(fifth);
    assert_eq!(buffer.excess(), Some(fifth));
    buffer.drop_before(fifth);
    assert_eq!((buffer.base, buffer.marks.len(), buffer.passed_at(fifth).events), (fifth, 15, 5));
    buffer.note_offered(buffer.head());
    buffer.drop_before(buffer.excess().unwrap());
    assert_eq!(buffer.marks.len(), BOUNDS.frames);
    assert_eq!(buffer.excess(), None);
    assert_eq!(buffer.after(fifth), b"", "the cursor has fallen out");
}

#[test]
fn the_newest_frame_stays_however_large_it_is() {
    let mut buffer = BroadcastBuffer::new(false, BOUNDS, UnsentBytes::default());
    buffer.append(&frame(1, &"x".repeat(10_000), &[]));
    buffer.note_offered(buffer.head());
    assert_eq!(buffer.excess(), None);
    buffer.append(&frame(2, "y", &[]));
    buffer.note_offered(buffer.head());
    buffer.drop_before(buffer.excess().unwrap());
    assert_eq!(buffer.marks.len(), 1);
}

#[test]
fn buffer_far_beyond_its_bounds_is_full() {
    let mut buffer = BroadcastBuffer::new(false, BOUNDS, UnsentBytes::default());
    while !buffer.is_full() {
        buffer.append(&frame(1, "x", &[]));
    }
    assert_eq!(buffer.marks.len(), HARD * BOUNDS.frames);
    buffer.note_offered(buffer.head());
    buffer.drop_before(buffer.excess().unwrap());
    assert!(!buffer.is_full());
}

#[test]
fn cleared_buffer_continues_at_its_head() {
    let mut buffer = BroadcastBuffer::new(false, BOUNDS, UnsentBytes::default());
    buffer.append(&frame(1, &"x".repeat(KEPT_BYTES), &[]));
    let head = buffer.head();
    buffer.clear();
    assert_eq!((buffer.head(), buffer.passed_at(head).events, buffer.bytes.capacity()), (head, 1, 0));
    buffer.append(&frame(2, "y", &[]));
    assert_eq!(buffer.after(head), chunked(&frame(2, "y", &[])));
}

#[test]
fn memory_of_all_buffers_is_counted() {
    let unsent = UnsentBytes::default();
    let mut buffers = [(); 2].map(|()| BroadcastBuffer::new(false, BOUNDS, unsent.clone()));
    for buffer in &mut buffers {
        (0..9).for_each(|number| buffer.append(&frame(number, &"x".repeat(10_000), &[])));
        buffer.note_offered(buffer.head());
    }
    assert!(unsent.get() >= 180_000, "{}", unsent.get());
    assert_eq!(unsent.get(), buffers[0].held_bytes() + buffers[1].held_bytes());
    let [mut first, second] = buffers;
    drop(second);
    for left in [4, 2, 1, 0] {
        first.drop_before(first.older_half().unwrap());
        first.shrink();
        assert_eq!(first.marks.len(), left);
        assert_eq!(unsent.get(), first.held_bytes());
        assert!(unsent.get() < left * 11_000 + 1, "{left}: {}", unsent.get());
    }
    assert_eq!(first.older_half(), None);
}

#[test]
fn rest_of_a_frame_ends_with_the_frame() {
    let mut buffer = BroadcastBuffer::new(false, BOUNDS, UnsentBytes::default());
    let (first, second) = (frame(1, "first", &[]), frame(2, "second", &[]));
    buffer.append(&first);
    let between = buffer.head();
    buffer.append(&second);
    assert_eq!(buffer.rest_of_frame(between), b"");
    assert_eq!(buffer.rest_of_frame(buffer.head()), b"");
    assert_eq!(buffer.rest_of_frame(5), &chunked(&first)[5..]);
    assert_eq!(buffer.rest_of_frame(between + 3), &chunked(&second)[3..]);
}

proptest! {
    /// However a socket takes bytes, and whatever is dropped behind it, a user gets its frames
    /// whole.
    #[test]
    fn each_user_gets_its_frames_whole_from_any_socket(
        audiences in proptest::collection::vec(0_usize..4, 1..24),
        takes in proptest::collection::vec(1_usize..90, 1..200),
    ) {
        let sets: [&[&str]; 4] = [&[], &["ann"], &["ben"], &["ann", "ben"]];
        let bounds = BroadcastBounds { frames: 1000, bytes: 1 << 20 };
        let mut buffer = BroadcastBuffer::new(false, bounds, UnsentBytes::default());
        let frames: Vec<_> = audiences.iter().zip(1..).map(|(&set, number)| frame(number, "payload", sets[set])).collect();
        for name in [Some("ann"), Some("cid"), None] {
            let name = name.map(user);
            let expected: Vec<u8> = frames
                .iter()
                .filter(|frame| frame.audience().is_none_or(|to| name.is_some_and(|name| to.contains(name))))
                .flat_map(|frame| chunked(frame))
                .collect();
            let begin = buffer.head();
            frames.iter().for_each(|frame| buffer.append(frame));
            prop_assert_eq!(&seen(&buffer, begin, name), &expected);
            let (mut cursor, mut got) = (begin, Vec::new());
            for take in takes.iter().cycle() {
                cursor = buffer.skip_hidden(cursor, name);
                let mut runs = [FrameRun::default(); 2];
                let count = buffer.runs(cursor, name, &mut runs);
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
            let given = buffer.given(begin, buffer.head(), name);
            let whole = frames.iter().filter(|frame| frame.audience().is_none_or(|to| name.is_some_and(|name| to.contains(name)))).count();
            prop_assert_eq!(given.events, whole as u64);
        }
    }
}
