//! A log for tests, as simple as can be.

use bytes::Bytes;

use crate::bus::{LogEntry, LogError, LogPage, Span};
use crate::event::EntryId;

#[derive(Debug, Default)]
pub(super) struct ModelLog {
    entries: Vec<LogEntry>,
    /// An entry was lost since the log began.
    torn: bool,
    /// What every read answers, if something is wrong.
    pub(super) failure: Option<LogError>,
}

impl ModelLog {
    /// Appends an entry and answers the id before it.
    pub(super) fn append(&mut self, id: EntryId, payload: &str) -> EntryId {
        self.append_to(id, payload, None)
    }

    /// The same with a field `to`.
    pub(super) fn append_to(&mut self, id: EntryId, payload: &str, to: Option<&str>) -> EntryId {
        let previous = self.head();
        assert!(id > previous, "ids rise");
        let bytes = |text: &str| Bytes::from(text.to_owned());
        self.entries.push(LogEntry { id, payload: Some(bytes(payload)), to: to.map(bytes) });
        previous
    }

    /// Puts an entry before all others.
    pub(super) fn append_before(&mut self, id: EntryId) {
        self.entries.insert(0, LogEntry { id, payload: Some(Bytes::from_static(b"first")), to: None });
    }

    /// Keeps the newest entries only.
    pub(super) fn trim(&mut self, keep: usize) {
        let surplus = self.entries.len().saturating_sub(keep);
        self.torn |= surplus > 0;
        self.entries.drain(..surplus);
    }

    /// Loses the newest entries, as a failover may.
    pub(super) fn roll_back(&mut self, count: usize) {
        self.entries.truncate(self.entries.len().saturating_sub(count));
    }

    pub(super) fn head(&self) -> EntryId {
        self.entries.last().map_or(EntryId::ZERO, |entry| entry.id)
    }

    pub(super) fn read(&self, span: Span, count: usize) -> Result<LogPage, LogError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let first = self.entries.first().map(|entry| entry.id);
        let (proven, wanted): (bool, Vec<_>) = match span {
            Span::Head => (true, Vec::new()),
            Span::After { after, until } => {
                let known = self.entries.iter().any(|entry| entry.id == after);
                let whole = after == EntryId::ZERO && !self.torn;
                let until = until.unwrap_or(EntryId { milliseconds: u64::MAX, sequence: u64::MAX });
                (
                    known || whole,
                    self.entries.iter().filter(|entry| entry.id > after && entry.id <= until).collect(),
                )
            }
            Span::Since { milliseconds } => {
                let reaches = !self.torn || first.is_none_or(|first| first.milliseconds < milliseconds);
                (reaches, self.entries.iter().filter(|entry| entry.id.milliseconds >= milliseconds).collect())
            }
            Span::Newest { count } => (true, self.entries.iter().rev().take(count).rev().collect()),
        };
        let page_size = if let Span::Newest { count } = span { count } else { count };
        let entries: Vec<_> =
            if proven { wanted } else { Vec::new() }.into_iter().take(page_size).cloned().collect();
        let more = !matches!(span, Span::Newest { .. }) && entries.len() == count;
        Ok(LogPage { proven, more, head: self.head(), entries })
    }
}
