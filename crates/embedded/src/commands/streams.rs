//! Logs as streams: `XADD`, `XRANGE` and similar commands.

use bytes::{Bytes, BytesMut};

use super::{CommandStep, log_key, number, step, syntax_error};
use crate::commands::session::Session;
use crate::listener::output_buffer::too_large;
use crate::log::{Excess, Fields, ID_MAX, LogStream, RequestedId, StreamEntry};
use crate::protocol::reply::{Protocol, Reply};
use tidings_event::EntryId;

/// A read of so many entries is a short one.
const SHORT_COUNT_MAX: usize = 100;

/// `XADD key [MAXLEN [=|~] count] *|id field value [field value ...]`: adds an entry without an
/// announcement. `~` is exact here. A log without a bound keeps as many entries as the
/// configuration says.
pub(super) fn add(_session: &mut Session, arguments: &[Bytes]) -> Result<CommandStep, Reply> {
    let is_bound = |option: &Bytes| option.eq_ignore_ascii_case(b"maxlen");
    let (most, rest) = match arguments.get(1..).unwrap_or_default() {
        [option, how, most, rest @ ..] if is_bound(option) && (how == "~" || how == "=") => {
            (Some(most), rest)
        }
        [option, most, rest @ ..] if is_bound(option) => (Some(most), rest),
        rest => (None, rest),
    };
    let most = most.map(|most| number(most)).transpose()?;
    let ([key, ..], [id, fields @ ..]) = (arguments, rest) else { return Err(syntax_error()) };
    let id = if id == "*" { RequestedId::Any } else { RequestedId::Exactly(entry_id(id, 0)?) };
    if fields.is_empty() || !fields.len().is_multiple_of(2) {
        return Err(syntax_error());
    }
    let (key, fields) = (log_key(key)?, Fields::new(fields));
    Ok(step(move |logs| {
        let Ok(id) = logs.append(&key, id, fields) else {
            let text = "ERR The ID specified in XADD is equal or smaller than the target stream top item";
            return Reply::error(text);
        };
        let settings = *logs.settings();
        logs.trim(&key, Excess::Entries(most.unwrap_or(settings.events)));
        logs.trim(&key, Excess::Bytes(settings.bytes));
        id_reply(id)
    }))
}

/// `XLEN key`
pub(super) fn length(_session: &mut Session, arguments: &[Bytes]) -> Result<CommandStep, Reply> {
    let [key] = arguments else { return Err(syntax_error()) };
    let key = log_key(key)?;
    Ok(step(move |logs| Reply::count(logs.get(&key).map_or(0, LogStream::len))))
}

/// `XRANGE key start end [COUNT count]`, and `XREVRANGE key end start [COUNT count]`
pub(super) fn range(
    session: &mut Session,
    arguments: &[Bytes],
    backwards: bool,
) -> Result<CommandStep, Reply> {
    let [key, from, to, options @ ..] = arguments else { return Err(syntax_error()) };
    let count = match options {
        [] => usize::MAX,
        [option, count] if option.eq_ignore_ascii_case(b"count") => number(count)?,
        _ => return Err(syntax_error()),
    };
    let [from, to] = if backwards { [to, from] } else { [from, to] };
    let (key, ids) = (log_key(key)?, bound(from, 0)?..=bound(to, u64::MAX)?);
    let most = session.output_buffer().reply_bytes_max();
    Ok(step(move |logs| {
        let none = LogStream::default();
        let entries = logs.get(&key).unwrap_or(&none).range(ids);
        if backwards {
            entries_reply(entries.rev().take(count), most)
        } else {
            entries_reply(entries.take(count), most)
        }
    }))
}

/// `DEL key ...`: returns the number of deleted keys.
pub(super) fn delete(_session: &mut Session, arguments: &[Bytes]) -> Result<CommandStep, Reply> {
    let keys: Vec<Bytes> = arguments.iter().map(log_key).collect::<Result<_, _>>()?;
    Ok(step(move |logs| Reply::count(keys.iter().filter(|key| logs.remove(key)).count())))
}

/// `EXPIRE key seconds`: returns 1 if there is such a log. A time in the past removes it.
pub(super) fn expire(_session: &mut Session, arguments: &[Bytes]) -> Result<CommandStep, Reply> {
    let [key, seconds] = arguments else { return Err(syntax_error()) };
    let (key, seconds) = (log_key(key)?, number::<i64>(seconds)?);
    Ok(step(move |logs| {
        let exists = logs.get(&key).is_some();
        logs.expire(&key, logs.now().saturating_add_signed(seconds.saturating_mul(1000)));
        Reply::Integer(exists.into())
    }))
}

/// Whether a read has a short reply, as far as its arguments show: a small count.
pub(super) fn is_short(arguments: &[Bytes]) -> bool {
    matches!(arguments, [_, _, _, _, count] if number(count).is_ok_and(|count: usize| count <= SHORT_COUNT_MAX))
}

/// The entries, encoded at once: as replies of their own they would take many times as much
/// memory. Entries that are certainly beyond the limit are not encoded.
fn entries_reply<'a>(entries: impl ExactSizeIterator<Item = &'a StreamEntry> + Clone, most: usize) -> Reply {
    let within = |bytes: usize, entry: &StreamEntry| {
        Some(bytes + entry.fields.as_stored().len()).filter(|&bytes| bytes <= most)
    };
    if entries.clone().try_fold(0, within).is_none() {
        return too_large(most);
    }
    let mut encoded = BytesMut::new();
    Reply::write_array_head(entries.len(), &mut encoded);
    for entry in entries {
        let fields = Reply::Array(entry.fields.parts().map(Reply::Bulk).collect());
        Reply::Array(vec![id_reply(entry.id), fields]).write(Protocol::Resp2, &mut encoded);
        if encoded.len() > most {
            return too_large(most);
        }
    }
    // A copy: the buffer has grown by doubling, and would take up to twice the memory that counts.
    Reply::Encoded(Bytes::copy_from_slice(&encoded))
}

pub(super) fn id_reply(id: EntryId) -> Reply {
    Reply::Bulk(id.to_string().into())
}

/// An id, or its milliseconds alone.
fn entry_id(text: &[u8], sequence: u64) -> Result<EntryId, Reply> {
    let text = std::str::from_utf8(text).unwrap_or_default();
    match (text.parse(), text.parse()) {
        (Ok(id), _) => Ok(id),
        (_, Ok(milliseconds)) => Ok(EntryId { milliseconds, sequence }),
        _ => Err(Reply::error("ERR Invalid stream ID specified as stream command argument")),
    }
}

/// An end of a range: an id, or `-` or `+`.
fn bound(text: &[u8], sequence: u64) -> Result<EntryId, Reply> {
    match text {
        b"-" => Ok(EntryId::ZERO),
        b"+" => Ok(ID_MAX),
        id => entry_id(id, sequence),
    }
}
