//! Reading a log as the hub does: a page, and whether it connects to what was known.

use super::entry::{Entry, ID_MAX};
use super::stream::Stream;
use crate::bus::{AUDIENCE_FIELD, LogEntry, LogPage, PAYLOAD_FIELD, Span};
use crate::event::EntryId;

/// A part of a log, at most `count` entries of it. A log that does not exist is one without entries.
pub(crate) fn page(stream: &Stream, span: Span, count: usize) -> LogPage {
    match span {
        Span::Head => LogPage { entries: Vec::new(), proven: true, more: false, head: head(stream) },
        Span::After { after, until } => {
            let begin = if after == EntryId::ZERO { is_whole(stream) } else { stream.holds(after) };
            match behind(after) {
                Some(from) if begin => proven(stream, from, until.unwrap_or(ID_MAX), count),
                // Nothing can come behind the highest id.
                None if begin => proven(stream, ID_MAX, EntryId::ZERO, count),
                _ => unproven(stream),
            }
        }
        Span::Since { milliseconds } => {
            let reaches_back = stream.tally().lost.is_none_or(|lost| lost.milliseconds < milliseconds);
            if reaches_back {
                proven(stream, EntryId { milliseconds, sequence: 0 }, ID_MAX, count)
            } else {
                unproven(stream)
            }
        }
        Span::Newest { count } => {
            let first = stream.len().saturating_sub(count);
            let entries = stream.entries().skip(first).map(log_entry).collect();
            LogPage { entries, proven: true, more: false, head: head(stream) }
        }
    }
}

/// Whether the log has all that was ever written to it.
fn is_whole(stream: &Stream) -> bool {
    stream.tally().lost.is_none()
}

fn head(stream: &Stream) -> EntryId {
    stream.newest().map_or(EntryId::ZERO, |entry| entry.id)
}

/// A page that connects; there is more of it if a further entry is in the range.
fn proven(stream: &Stream, from: EntryId, to: EntryId, count: usize) -> LogPage {
    let mut range = stream.range(from..=to);
    let entries: Vec<LogEntry> = range.by_ref().take(count).map(log_entry).collect();
    LogPage { entries, proven: true, more: range.next().is_some(), head: head(stream) }
}

fn unproven(stream: &Stream) -> LogPage {
    LogPage { entries: Vec::new(), proven: false, more: false, head: head(stream) }
}

fn log_entry(entry: &Entry) -> LogEntry {
    let field = |name| entry.fields.get(name);
    LogEntry { id: entry.id, payload: field(PAYLOAD_FIELD), to: field(AUDIENCE_FIELD) }
}

/// The lowest id beyond this one.
fn behind(id: EntryId) -> Option<EntryId> {
    match id.sequence.checked_add(1) {
        Some(sequence) => Some(EntryId { sequence, ..id }),
        None => Some(EntryId { milliseconds: id.milliseconds.checked_add(1)?, sequence: 0 }),
    }
}
