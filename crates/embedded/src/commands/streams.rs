//! Logs as streams: `XADD`, `XRANGE` and similar commands.

use bytes::{Bytes, BytesMut};

use super::ids::{checked_integer, integer, range, requested_id};
use super::keys::log_key;
use super::trimming::{Trim, TrimOptions};
use super::{CommandError, CommandStep, ReplyLimit, other};
use crate::commands::session::Session;
use crate::log::log_writer::Committed;
use crate::log::{Excess, Fields, ID_MAX, LogStream, RequestedId, StreamEntry};
use crate::protocol::reply::{Reply, decimal_digits};
use tidings_event::EntryId;

/// The entries that Redis keeps in a node of a stream by default. There are no nodes here; `XINFO`
/// returns about as many as there would be.
const NODE_ENTRIES: usize = 100;

/// A read of so many entries is a short one.
const SHORT_COUNT_MAX: i64 = 100;

/// `XADD key [NOMKSTREAM] [MAXLEN|MINID [=|~] threshold [LIMIT count]] *|id field value
/// [field value ...]`: adds an entry without an announcement. A log without a bound keeps as many
/// entries as the configuration says.
pub(super) fn add(_session: &mut Session, arguments: &[Bytes]) -> Result<CommandStep, CommandError> {
    let [key, options @ ..] = arguments else { return Err(arity("xadd")) };
    let (options, rest) = TrimOptions::parse(options, true)?;
    let [id, fields @ ..] = rest else { return Err(arity("xadd")) };
    let requested_id = requested_id(id)?;
    let (trim, must_exist) = (options.trim()?, options.must_exist);
    if fields.is_empty() || !fields.len().is_multiple_of(2) {
        return Err(arity("xadd"));
    }
    if requested_id == RequestedId::Exactly(EntryId::ZERO) {
        return Err(other("ERR The ID specified in XADD must be greater than 0-0"));
    }
    let (key, fields) = (log_key(key)?, Fields::new(fields));
    Ok(Box::new(move |logs, _| {
        if must_exist && logs.get(&key).is_none() {
            return Committed::without_announcements(Reply::Null);
        }
        if logs.get(&key).is_some_and(|stream| stream.tally().last == ID_MAX) {
            let text = "ERR The stream has exhausted the last possible ID, unable to add more items";
            return Committed::without_announcements(Reply::Error(text.to_owned()));
        }
        let Ok(id) = logs.append(&key, requested_id, fields) else {
            let text = "ERR The ID specified in XADD is equal or smaller than the target stream top item";
            return Committed::without_announcements(Reply::Error(text.to_owned()));
        };
        let (events, bytes) = (logs.settings().events, logs.settings().bytes);
        let trim = trim.unwrap_or(Trim { excess: Excess::Entries(events), limit: usize::MAX });
        logs.trim(&key, trim.excess, trim.limit);
        logs.trim(&key, Excess::Bytes(bytes), usize::MAX);
        Committed::without_announcements(id_reply(id))
    }))
}

/// `XTRIM key MAXLEN|MINID [=|~] threshold [LIMIT count]`: returns the number of removed entries.
/// `~` is exact here.
pub(super) fn trim(_session: &mut Session, arguments: &[Bytes]) -> Result<CommandStep, CommandError> {
    let [key, options @ ..] = arguments else { return Err(arity("xtrim")) };
    let (options, _) = TrimOptions::parse(options, false)?;
    let trim = options.trim()?;
    let key = log_key(key)?;
    Ok(Box::new(move |logs, _| {
        let removed = trim.map_or(0, |trim| logs.trim(&key, trim.excess, trim.limit));
        Committed::without_announcements(Reply::count(removed))
    }))
}

/// `XRANGE key start end [COUNT count]`
pub(super) fn range_forwards(
    _session: &mut Session,
    arguments: &[Bytes],
) -> Result<CommandStep, CommandError> {
    let [key, from, to, options @ ..] = arguments else { return Err(arity("xrange")) };
    read(key, [from, to], options, false)
}

/// `XREVRANGE key end start [COUNT count]`
pub(super) fn range_backwards(
    _session: &mut Session,
    arguments: &[Bytes],
) -> Result<CommandStep, CommandError> {
    let [key, to, from, options @ ..] = arguments else { return Err(arity("xrevrange")) };
    read(key, [from, to], options, true)
}

/// `XLEN key`
pub(super) fn length(_session: &mut Session, arguments: &[Bytes]) -> Result<CommandStep, CommandError> {
    let [key] = arguments else { return Err(arity("xlen")) };
    let key = log_key(key)?;
    Ok(Box::new(move |logs, _| {
        Committed::without_announcements(Reply::count(logs.get(&key).map_or(0, LogStream::len)))
    }))
}

/// `XINFO STREAM key`
pub(super) fn info(_session: &mut Session, arguments: &[Bytes]) -> Result<CommandStep, CommandError> {
    let [key, options @ ..] = arguments else { return Err(arity("xinfo|stream")) };
    let (key, is_plain) = (log_key(key)?, options.is_empty());
    Ok(Box::new(move |logs, limit| {
        Committed::without_announcements(match logs.get(&key) {
            Some(stream) if is_plain => limit.take(info_reply(stream)),
            Some(_) => Reply::Error(
                "ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP."
                    .to_owned(),
            ),
            None => Reply::Error("ERR no such key".to_owned()),
        })
    }))
}

fn info_reply(stream: &LogStream) -> Reply {
    let tally = stream.tally();
    let added = Reply::Integer(i64::try_from(tally.added).unwrap_or(i64::MAX));
    let first_id = stream.first().map_or(EntryId::ZERO, |entry| entry.id);
    let nodes = stream.len().div_ceil(NODE_ENTRIES);
    let entry = |entry: Option<&StreamEntry>| entry.map_or(Reply::Null, entry_reply);
    Reply::Map(vec![
        (Reply::name("length"), Reply::count(stream.len())),
        (Reply::name("radix-tree-keys"), Reply::count(nodes)),
        (Reply::name("radix-tree-nodes"), Reply::count(nodes + 1)),
        (Reply::name("last-generated-id"), id_reply(tally.last)),
        // Of entries that were removed by XDEL, which is not done here.
        (Reply::name("max-deleted-entry-id"), id_reply(EntryId::ZERO)),
        (Reply::name("entries-added"), added),
        (Reply::name("recorded-first-entry-id"), id_reply(first_id)),
        (Reply::name("groups"), Reply::Integer(0)),
        (Reply::name("first-entry"), entry(stream.first())),
        (Reply::name("last-entry"), entry(stream.newest())),
    ])
}

/// The entries between two bounds.
fn read(
    key: &Bytes,
    [from, to]: [&Bytes; 2],
    options: &[Bytes],
    backwards: bool,
) -> Result<CommandStep, CommandError> {
    let ids = range(from, to)?;
    let mut count = usize::MAX;
    let mut options = options;
    while let [option, rest @ ..] = options {
        let ([number, rest @ ..], true) = (rest, option.eq_ignore_ascii_case(b"count")) else {
            return Err(other("ERR syntax error"));
        };
        count = usize::try_from(checked_integer(number)?).unwrap_or(0);
        options = rest;
    }
    let key = log_key(key)?;
    Ok(Box::new(move |logs, limit| {
        let Some(stream) = logs.get(&key) else {
            return Committed::without_announcements(Reply::Array(Vec::new()));
        };
        if count == 0 {
            return Committed::without_announcements(Reply::NullArray);
        }
        let entries = stream.range(ids);
        Committed::without_announcements(if backwards {
            entries_reply(entries.rev().take(count), limit)
        } else {
            entries_reply(entries.take(count), limit)
        })
    }))
}

/// The entries, encoded at once: as replies of their own they would take many times as much
/// memory. Stops at the limit.
fn entries_reply<'a>(entries: impl Iterator<Item = &'a StreamEntry>, limit: &mut ReplyLimit) -> Reply {
    let mut fitting = Vec::new();
    let mut bytes = 0;
    for entry in entries {
        bytes += entry_bytes(entry);
        if bytes > limit.left() {
            return limit.refuse();
        }
        fitting.push(entry);
    }
    let mut encoded = BytesMut::with_capacity(Reply::array_head_bytes(fitting.len()) + bytes);
    Reply::write_array_head(fitting.len(), &mut encoded);
    for entry in fitting {
        write_entry(entry, &mut encoded);
    }
    limit.fill(encoded.freeze())
}

/// The number of bytes that [`write_entry`] writes.
fn entry_bytes(entry: &StreamEntry) -> usize {
    let (mut parts, mut bytes) = (0, 0);
    for part in entry.fields.parts() {
        parts += 1;
        bytes += Reply::bulk_bytes(part.len());
    }
    let EntryId { milliseconds, sequence } = entry.id;
    let id = decimal_digits(milliseconds) + 1 + decimal_digits(sequence);
    Reply::array_head_bytes(2) + Reply::bulk_bytes(id) + Reply::array_head_bytes(parts) + bytes
}

/// Writes what [`entry_reply`] says: an array of the id and of names and values.
fn write_entry(entry: &StreamEntry, out: &mut BytesMut) {
    Reply::write_array_head(2, out);
    Reply::write_bulk(entry.id.to_string().as_bytes(), out);
    Reply::write_array_head(entry.fields.parts().count(), out);
    for part in entry.fields.parts() {
        Reply::write_bulk(&part, out);
    }
}

/// Whether a read has a short reply, as far as its arguments show: no range, or a small count.
pub(crate) fn is_short(arguments: &[Bytes]) -> bool {
    match arguments {
        [_key, _from, _to] => false,
        [_key, _from, _to, .., count] => integer(count).is_some_and(|count| count <= SHORT_COUNT_MAX),
        _ => true,
    }
}

fn entry_reply(entry: &StreamEntry) -> Reply {
    Reply::Array(vec![id_reply(entry.id), Reply::Array(entry.fields.parts().map(Reply::Bulk).collect())])
}

pub(super) fn id_reply(id: EntryId) -> Reply {
    Reply::Bulk(id.to_string().into())
}

fn arity(command: &'static str) -> CommandError {
    CommandError::Arguments(command.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::reply::Protocol;

    #[test]
    fn entries_are_written_as_replies_are_and_measured_before() {
        for (parts, id) in [
            (vec!["data", ""], EntryId::ZERO),
            (vec!["data", "nine chars", "to", &"x".repeat(100)], ID_MAX),
            (vec!["a", &"x".repeat(9)], EntryId { milliseconds: 10, sequence: 9 }),
            (vec!["x"; 20], EntryId { milliseconds: 99, sequence: 100 }),
        ] {
            let entry = StreamEntry { id, fields: Fields::new(&parts) };
            let mut limit = ReplyLimit::new(1 << 20);
            let reply = entries_reply(std::iter::repeat_n(&entry, 12), &mut limit);
            let expected = Reply::Array((0..12).map(|_| entry_reply(&entry)).collect());
            let Reply::Encoded(encoded) = &reply else { panic!("{reply:?}") };
            assert_eq!(*encoded, expected.encode(Protocol::Resp3));
            assert_eq!(encoded.len(), Reply::array_head_bytes(12) + 12 * entry_bytes(&entry));
        }
    }
}
