//! A simple log for tests, with the record and the mark beside it as the publish script and the
//! nodes keep them.

use bytes::Bytes;

use tidings_event::log::{LiveMark, LogEntry, LogError, LogPage, Span, proves, proves_since};
use tidings_event::{EntryId, Epoch, EpochRecord};

#[derive(Debug, Default)]
pub(super) struct ModelLog {
    pub(super) entries: Vec<LogEntry>,
    /// The log has lost an entry since it began.
    torn: bool,
    pub(super) record: Option<EpochRecord>,
    pub(super) live: LiveMark,
    /// The error of every read, if one is set.
    pub(super) failure: Option<LogError>,
}

impl ModelLog {
    /// Appends an entry as the publish script does; returns the id before it.
    pub(super) fn append(&mut self, id: EntryId, payload: &str) -> EntryId {
        self.append_to(id, payload, None)
    }

    /// The same with a field `to`.
    pub(super) fn append_to(&mut self, id: EntryId, payload: &str, to: Option<&str>) -> EntryId {
        let previous = self.append_plainly(id, payload, to);
        let was_empty = previous == EntryId::ZERO;
        let known = self
            .record
            .filter(|record| record.has_begun() != was_empty && (was_empty || record.last <= previous));
        let mut record = known.unwrap_or_else(|| {
            let earlier = self.record.map_or(EntryId::ZERO, |record| record.last.max(record.earlier));
            EpochRecord::not_begun(Epoch::random(), earlier)
        });
        if was_empty {
            record.first = id;
        }
        record.last = id;
        self.record = Some(record);
        previous
    }

    /// Appends an entry by a plain command; returns the id before it.
    pub(super) fn append_plainly(&mut self, id: EntryId, payload: &str, to: Option<&str>) -> EntryId {
        let previous = self.head();
        assert!(id > previous, "ids rise");
        let bytes = |text: &str| Bytes::from(text.to_owned());
        self.entries.push(LogEntry { id, payload: Some(bytes(payload)), to: to.map(bytes), trace: None });
        previous
    }

    /// Inserts an entry before all others.
    pub(super) fn append_before(&mut self, id: EntryId) {
        self.entries
            .insert(0, LogEntry { id, payload: Some(Bytes::from_static(b"first")), to: None, trace: None });
    }

    /// Keeps the newest entries only.
    pub(super) fn trim(&mut self, keep: usize) {
        let surplus = self.entries.len().saturating_sub(keep);
        self.torn |= surplus > 0;
        self.entries.drain(..surplus);
    }

    /// Loses the newest entries, as a failover may, and their part of the record.
    pub(super) fn roll_back(&mut self, count: usize) {
        self.entries.truncate(self.entries.len().saturating_sub(count));
        let head = self.head();
        match &mut self.record {
            Some(record) if head < record.first => {
                *record = EpochRecord::not_begun(record.epoch, record.earlier)
            }
            Some(record) => record.last = record.last.min(head),
            None => {}
        }
    }

    /// Removes an entry.
    pub(super) fn remove(&mut self, id: EntryId) {
        self.torn = true;
        self.entries.retain(|entry| entry.id != id);
    }

    /// Ends the log, as expiry or deletion does; the record and the mark remain.
    ///
    /// If another program began the log and no node has read it, no later read could show that it
    /// existed. Here a node has read it.
    /// later that it was there. Here a node has.
    pub(super) fn end(&mut self) {
        if !self.entries.is_empty() {
            self.record = self.record.filter(EpochRecord::has_begun);
        }
        self.entries.clear();
        self.torn = false;
    }

    /// Empties the server.
    pub(super) fn flush(&mut self) {
        *self = Self::default();
    }

    pub(super) fn head(&self) -> EntryId {
        self.entries.last().map_or(EntryId::ZERO, |entry| entry.id)
    }

    pub(super) fn read(&mut self, span: Span, count: usize) -> Result<LogPage, LogError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let page = self.page(span, count);
        let asks_for_end = span == Span::Head || !page.proven;
        if asks_for_end && self.entries.is_empty() && self.record.is_none_or(|record| record.has_begun()) {
            let earlier = self.record.map_or(EntryId::ZERO, |record| record.last.max(record.earlier));
            self.record = Some(EpochRecord::not_begun(Epoch::random(), earlier));
        } else if asks_for_end
            && !self.entries.is_empty()
            && self.record.is_some_and(|record| !record.has_begun())
        {
            // Another program began the log, so a later log must not begin the epoch of this
            // record.
            self.record = None;
        }
        Ok(LogPage { record: self.record, live: self.live, ..page })
    }

    fn page(&self, span: Span, count: usize) -> LogPage {
        let record = self.record.as_ref();
        let first = self.entries.first().map(|entry| entry.id);
        let (proven, wanted): (bool, Vec<_>) = match span {
            Span::Head | Span::LiveMark => (true, Vec::new()),
            Span::After { after, epoch, until } => {
                let is_known = self.entries.iter().any(|entry| entry.id == after);
                let found = if after == EntryId::ZERO { first } else { is_known.then_some(after) };
                let until = until.unwrap_or(EntryId { milliseconds: u64::MAX, sequence: u64::MAX });
                (
                    proves(record, after, epoch, found),
                    self.entries.iter().filter(|entry| entry.id > after && entry.id <= until).collect(),
                )
            }
            Span::Since { milliseconds } => (
                proves_since(record, milliseconds, first),
                self.entries.iter().filter(|entry| entry.id.milliseconds >= milliseconds).collect(),
            ),
            Span::Oldest => (!self.torn, self.entries.iter().collect()),
            Span::Newest { count } => {
                let surplus = self.entries.len().saturating_sub(count);
                (true, self.entries[surplus..].iter().collect())
            }
            Span::Held { entries } => (
                true,
                entries.iter().filter_map(|id| self.entries.iter().find(|entry| entry.id == *id)).collect(),
            ),
        };
        let is_paged = matches!(span, Span::After { .. } | Span::Since { .. } | Span::Oldest);
        let most = if is_paged { count } else { usize::MAX };
        let entries: Vec<_> =
            if proven { wanted } else { Vec::new() }.into_iter().take(most).cloned().collect();
        let more = is_paged && entries.len() == count;
        LogPage { proven, more, head: self.head(), entries, ..LogPage::default() }
    }
}
