//! A log for tests, as simple as can be.

use bytes::Bytes;

use crate::bus::{LogEntry, LogError, LogPage, Span};
use crate::event::EntryId;

#[derive(Debug, Default)]
pub(super) struct ModelLog {
    entries: Vec<(EntryId, Bytes)>,
    /// An entry was lost since the log began.
    torn: bool,
    /// What every read answers, if something is wrong.
    pub(super) failure: Option<LogError>,
}

impl ModelLog {
    /// Appends an entry and answers the id before it.
    pub(super) fn append(&mut self, id: EntryId, payload: &str) -> EntryId {
        let previous = self.head();
        assert!(id > previous, "ids rise");
        self.entries.push((id, Bytes::from(payload.to_owned())));
        previous
    }

    /// Puts an entry before all others.
    pub(super) fn append_before(&mut self, id: EntryId) {
        self.entries.insert(0, (id, Bytes::from_static(b"first")));
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
        self.entries.last().map_or(EntryId::ZERO, |(id, _)| *id)
    }

    pub(super) fn read(&self, span: Span, count: usize) -> Result<LogPage, LogError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let first = self.entries.first().map(|(id, _)| *id);
        let (proven, wanted): (bool, Vec<_>) = match span {
            Span::Head => (true, Vec::new()),
            Span::After { after, until } => {
                let known = self.entries.iter().any(|(id, _)| *id == after);
                let whole = after == EntryId::ZERO && !self.torn;
                let until = until.unwrap_or(EntryId { milliseconds: u64::MAX, sequence: u64::MAX });
                (known || whole, self.entries.iter().filter(|(id, _)| *id > after && *id <= until).collect())
            }
            Span::Since { milliseconds } => {
                let reaches = !self.torn || first.is_none_or(|first| first.milliseconds < milliseconds);
                (reaches, self.entries.iter().filter(|(id, _)| id.milliseconds >= milliseconds).collect())
            }
            Span::Newest { count } => (true, self.entries.iter().rev().take(count).rev().collect()),
        };
        let page_size = if let Span::Newest { count } = span { count } else { count };
        let entries: Vec<_> = if proven { wanted } else { Vec::new() }
            .into_iter()
            .take(page_size)
            .map(|(id, payload)| LogEntry { id: *id, payload: Some(payload.clone()), to: None })
            .collect();
        let more = !matches!(span, Span::Newest { .. }) && entries.len() == count;
        Ok(LogPage { proven, more, head: self.head(), entries })
    }
}
