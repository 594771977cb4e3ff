//! Numbers and entry ids as clients write them.

use std::ops::RangeInclusive;

use super::{CommandError, other};
use crate::log::{ID_MAX, RequestedId};
use tidings_event::EntryId;

/// The longest text of an id, in bytes.
const ID_BYTES_MAX: usize = 127;

const INVALID: &str = "ERR Invalid stream ID specified as stream command argument";

/// A whole number as text, in its only form: no sign but `-`, no leading zeros.
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// A whole number, or the error of Redis.
pub(super) fn checked_integer(text: &[u8]) -> Result<i64, CommandError> {
    integer(text).ok_or_else(|| other("ERR value is not an integer or out of range"))
}

/// The id of `XADD`: `*`, `5-*`, `5-1`, or `5`, which is `5-0`.
pub(super) fn requested_id(text: &[u8]) -> Result<RequestedId, CommandError> {
    if text == b"*" {
        return Ok(RequestedId::Any);
    }
    if let Some(milliseconds) = text.strip_suffix(b"-*") {
        return number(milliseconds).map(RequestedId::Within).ok_or_else(|| other(INVALID));
    }
    id(text, 0).map(RequestedId::Exactly)
}

/// An end of a range: an id, or `-` or `+`.
fn bound(text: &[u8], sequence: u64) -> Result<EntryId, CommandError> {
    match text {
        b"-" => Ok(EntryId::ZERO),
        b"+" => Ok(ID_MAX),
        _ => id(text, sequence),
    }
}

/// A range: two bounds, of which either may be left out of it by a bracket before it.
pub(super) fn range(from: &[u8], to: &[u8]) -> Result<RangeInclusive<EntryId>, CommandError> {
    let start = match excluded(from) {
        Some(from) => next(id(from, 0)?).ok_or_else(|| other("ERR invalid start ID for the interval"))?,
        None => bound(from, 0)?,
    };
    let end = match excluded(to) {
        Some(to) => {
            previous(id(to, u64::MAX)?).ok_or_else(|| other("ERR invalid end ID for the interval"))?
        }
        None => bound(to, u64::MAX)?,
    };
    Ok(start..=end)
}

fn excluded(text: &[u8]) -> Option<&[u8]> {
    text.strip_prefix(b"(").filter(|id| !id.is_empty())
}

/// An id as an entry has it, or its milliseconds alone.
pub(super) fn id(text: &[u8], sequence: u64) -> Result<EntryId, CommandError> {
    if text.len() > ID_BYTES_MAX {
        return Err(other(INVALID));
    }
    let parsed = match text.iter().position(|&byte| byte == b'-') {
        None => number(text).map(|milliseconds| EntryId { milliseconds, sequence }),
        Some(at) => number(&text[..at])
            .zip(number(&text[at + 1..]))
            .map(|(milliseconds, sequence)| EntryId { milliseconds, sequence }),
    };
    parsed.ok_or_else(|| other(INVALID))
}

/// A number that may begin with zeros and a plus, as the C library reads it.
fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn next(id: EntryId) -> Option<EntryId> {
    match id.sequence.checked_add(1) {
        Some(sequence) => Some(EntryId { sequence, ..id }),
        None => Some(EntryId { milliseconds: id.milliseconds.checked_add(1)?, sequence: 0 }),
    }
}

fn previous(id: EntryId) -> Option<EntryId> {
    match id.sequence.checked_sub(1) {
        Some(sequence) => Some(EntryId { sequence, ..id }),
        None => Some(EntryId { milliseconds: id.milliseconds.checked_sub(1)?, sequence: u64::MAX }),
    }
}
