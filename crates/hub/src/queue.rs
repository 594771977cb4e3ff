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
mod tests;
