//! Reading a log as the hub does: a page, and whether it connects to the known part.

use bytes::Bytes;

use super::entry::{ID_MAX, StreamEntry};
use super::logs::Logs;
use super::stream::LogStream;
use tidings_event::log::{
    AUDIENCE_FIELD, LogEntry, LogPage, PAYLOAD_FIELD, Span, TRACE_FIELD, proves, proves_since,
};
use tidings_event::{EntryId, EpochRecord, TraceParent};

impl Logs {
    /// A part of a log, at most `count` entries. A log that does not exist has no entries. A read
    /// of its end names its next epoch. The name is dropped if an entry begins the log without the
    /// publish script.
    pub(crate) fn page(&mut self, log: &Bytes, span: Span, count: usize) -> LogPage {
        let none = LogStream::default();
        let mut page = page(self.get(log).unwrap_or(&none), self.epoch(log).as_ref(), span, count);
        let asks_for_end = span == Span::Head || !page.proven;
        if asks_for_end && page.head == EntryId::ZERO {
            self.name_epoch(log);
        } else if asks_for_end && self.epoch(log).is_some_and(|record| !record.has_begun()) {
            self.forget_epoch(log);
        }
        (page.record, page.live) = (self.epoch(log), self.live(log));
        page
    }
}

/// A part of a log whose epoch this is.
pub(super) fn page(stream: &LogStream, record: Option<&EpochRecord>, span: Span, count: usize) -> LogPage {
    match span {
        Span::Head | Span::LiveMark => found(stream, Vec::new()),
        Span::After { after, epoch, until } => {
            let first = if after == EntryId::ZERO {
                stream.first().map(|first| first.id)
            } else {
                stream.holds(after).then_some(after)
            };
            let is_proven = proves(record, after, epoch, first);
            match behind(after) {
                Some(from) if is_proven => range(stream, from, until.unwrap_or(ID_MAX), count),
                // No id follows the highest one.
                None if is_proven => found(stream, Vec::new()),
                _ => LogPage { proven: false, ..found(stream, Vec::new()) },
            }
        }
        Span::Since { milliseconds } => {
            let older = stream.tally().lost.or_else(|| stream.first().map(|first| first.id));
            if proves_since(record, milliseconds, older) {
                range(stream, EntryId { milliseconds, sequence: 0 }, ID_MAX, count)
            } else {
                LogPage { proven: false, ..found(stream, Vec::new()) }
            }
        }
        Span::Oldest => {
            let proven = stream.tally().lost.is_none();
            LogPage { proven, ..range(stream, EntryId::ZERO, ID_MAX, count) }
        }
        Span::Newest { count } => {
            let first = stream.len().saturating_sub(count);
            found(stream, stream.entries().skip(first).map(log_entry).collect())
        }
        Span::Held { entries } => {
            let held = entries.iter().filter_map(|&id| stream.range(id..=id).next());
            found(stream, held.map(log_entry).collect())
        }
    }
}

/// Entries of a log, with nothing more behind them.
fn found(stream: &LogStream, entries: Vec<LogEntry>) -> LogPage {
    let head = stream.newest().map_or(EntryId::ZERO, |entry| entry.id);
    LogPage { entries, proven: true, head, ..LogPage::default() }
}

/// A page that connects; there is more of it if a further entry is in the range.
fn range(stream: &LogStream, from: EntryId, to: EntryId, count: usize) -> LogPage {
    let mut range = stream.range(from..=to);
    let entries: Vec<LogEntry> = range.by_ref().take(count).map(log_entry).collect();
    let more = range.next().is_some();
    LogPage { more, ..found(stream, entries) }
}

fn log_entry(entry: &StreamEntry) -> LogEntry {
    let field = |name| entry.fields.get(name);
    let trace = field(TRACE_FIELD).and_then(|trace| TraceParent::from_bytes(&trace));
    LogEntry { id: entry.id, payload: field(PAYLOAD_FIELD), to: field(AUDIENCE_FIELD), trace }
}

/// The lowest id beyond this one.
fn behind(id: EntryId) -> Option<EntryId> {
    match id.sequence.checked_add(1) {
        Some(sequence) => Some(EntryId { sequence, ..id }),
        None => Some(EntryId { milliseconds: id.milliseconds.checked_add(1)?, sequence: 0 }),
    }
}
