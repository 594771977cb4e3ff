use bytes::Bytes;

use super::*;

fn entry(milliseconds: u64) -> EntryId {
    EntryId { milliseconds, sequence: 0 }
}

fn logged(id: u64, previous: u64) -> Message {
    Message::Logged {
        id: entry(id),
        previous: entry(previous),
        payload: Bytes::from_static(b"1234"),
        to: None,
        trace: None,
    }
}

fn queue(messages: impl IntoIterator<Item = Message>) -> MessageQueue {
    let mut queue = MessageQueue::default();
    messages.into_iter().for_each(|message| queue.push(message, 100, 1000).unwrap());
    queue
}

fn live() -> Message {
    Message::Live(Bytes::from_static(b"live"))
}

#[test]
fn only_announcements_up_to_the_linked_one_are_repetitions() {
    let mut found = queue([logged(3, 2), live(), logged(4, 3), logged(5, 4)]);
    found.drop_repetitions(entry(4));
    assert_eq!(found.messages, [live(), logged(5, 4)]);
    assert_eq!(found.bytes, 8);
    let mut from_another_log = queue([logged(1, 0), logged(2, 1), logged(3, 2)]);
    from_another_log.drop_repetitions(entry(2));
    assert_eq!(from_another_log.messages.len(), 3);
    let mut unlinked = queue([logged(2, 1), logged(3, 2)]);
    unlinked.drop_repetitions(entry(7));
    assert_eq!(unlinked.messages.len(), 2);
    let mut beyond = queue([logged(6, 5), logged(9, 5)]);
    beyond.drop_repetitions(entry(5));
    assert_eq!(beyond.messages.len(), 2, "an entry beyond the last is no repetition, whatever follows it");
}

#[test]
fn looks_behind_an_announcement_stay() {
    let mut found = queue([live(), Message::LookAtLog, logged(4, 3), Message::LookAtLog]);
    found.drop_looks();
    assert_eq!(found.messages, [live(), logged(4, 3), Message::LookAtLog]);
    assert_eq!(found.announced_after(entry(3)), Some(entry(4)));
    assert_eq!(found.announced_after(entry(4)), None);
}

#[test]
fn number_and_bytes_are_bounded() {
    let mut full = queue([live(), live()]);
    assert!(full.push(live(), 2, 1000).is_err());
    assert!(full.push(live(), 3, 11).is_err());
    assert!(full.push(live(), 3, 12).is_ok());
    assert!(full.clear());
    assert_eq!(full.bytes, 0);
}
