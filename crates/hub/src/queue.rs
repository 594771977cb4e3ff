//! Messages of a workspace's channel that wait until the log has been read.

use std::collections::VecDeque;

use tidings_event::EntryId;
use tidings_event::envelope::Message;

/// Messages in the order of the channel; their number and bytes are bounded.
#[derive(Debug, Default)]
pub(super) struct MessageQueue {
    messages: VecDeque<Message>,
    bytes: usize,
}

impl MessageQueue {
    /// Appends a message, or returns it if the queue is full.
    pub(super) fn push(
        &mut self,
        message: Message,
        messages_max: usize,
        bytes_max: usize,
    ) -> Result<(), Message> {
        let bytes = weight(&message);
        if self.messages.len() >= messages_max || self.bytes + bytes > bytes_max {
            return Err(message);
        }
        self.bytes += bytes;
        self.messages.push_back(message);
        Ok(())
    }

    /// Puts a message in front of all others.
    pub(super) fn put_back(&mut self, message: Message) {
        self.bytes += weight(&message);
        self.messages.push_front(message);
    }

    pub(super) fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front();
        match &message {
            Some(message) => self.bytes -= weight(message),
            None => self.messages = VecDeque::new(),
        }
        message
    }

    /// Takes the first message if it announces this entry.
    pub(super) fn pop_announcement(&mut self, entry: EntryId) -> Option<Message> {
        self.begins_with(entry).then(|| self.pop()).flatten()
    }

    /// Whether the first message announces this entry.
    pub(super) fn begins_with(&self, entry: EntryId) -> bool {
        matches!(self.messages.front(), Some(Message::Logged { id, .. }) if *id == entry)
    }

    /// Drops all messages. Returns whether one of them was live.
    pub(super) fn clear(&mut self) -> bool {
        let holds_live = self.messages.iter().any(|message| matches!(message, Message::Live(_)));
        *self = Self::default();
        holds_live
    }

    /// The lowest entry beyond `last` that a message announces. A read stops before it, so that
    /// live events between announcements keep their place.
    pub(super) fn announced_after(&self, last: EntryId) -> Option<EntryId> {
        let announced = self.messages.iter().filter_map(|message| match message {
            Message::Logged { id, .. } if *id > last => Some(*id),
            _ => None,
        });
        announced.min()
    }

    /// Drops the empty messages before the first announcement: the read that begins now finds their
    /// entries.
    pub(super) fn drop_looks(&mut self) {
        let end = self.messages.iter().position(|message| matches!(message, Message::Logged { .. }));
        let mut index = 0;
        let end = end.unwrap_or(self.messages.len());
        self.messages.retain(|message| {
            let keeps = index >= end || *message != Message::LookAtLog;
            index += 1;
            keeps
        });
    }

    /// Drops announcements of entries up to `last`, which a read has brought already. The channel
    /// has the order of the log. So all announcements up to that of `last`, or up to that of the
    /// next entry, are repetitions.
    ///
    /// If one of them announces a first entry, they may belong to another log with the same ids.
    /// Then none is dropped.
    pub(super) fn drop_repetitions(&mut self, last: EntryId) {
        let linked_at = self.messages.iter().rposition(
            |message| matches!(message, Message::Logged { id, previous, .. } if *id == last || *previous == last),
        );
        let Some(linked_at) = linked_at else { return };
        let begins = |message: &Message| matches!(message, Message::Logged { previous, .. } if *previous == EntryId::ZERO && last != EntryId::ZERO);
        if self.messages.iter().take(linked_at + 1).any(begins) {
            return;
        }
        let (mut index, mut freed) = (0, 0);
        self.messages.retain(|message| {
            let is_repetition =
                index <= linked_at && matches!(message, Message::Logged { id, .. } if *id <= last);
            index += 1;
            if is_repetition {
                freed += weight(message);
            }
            !is_repetition
        });
        self.bytes -= freed;
    }
}

/// The size of a message in the queue, in bytes.
fn weight(message: &Message) -> usize {
    match message {
        Message::LookAtLog => 0,
        Message::Live(payload) => payload.len(),
        Message::Logged { payload, to, .. } => payload.len() + to.as_ref().map_or(0, |to| to.memory()),
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(
            beyond.messages.len(),
            2,
            "an entry beyond the last is no repetition, whatever follows it"
        );
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
}
