//! Reading logs, with XRANGE and its kin.

use std::collections::HashMap;

use bytes::Bytes;
use redis::{ErrorKind, FromRedisValue, RedisError, Value};

use super::commands::Commands;
use super::connect::{describe, is_passing};
use crate::bus::{AUDIENCE_FIELD, LogEntry, LogError, LogPage, PAYLOAD_FIELD, Span};
use crate::event::EntryId;

/// Reads a part of a log.
pub(super) async fn read(
    commands: &Commands,
    log: &str,
    span: Span,
    count: usize,
) -> Result<LogPage, LogError> {
    match span {
        Span::Head => {
            let head = head(commands, log).await?;
            Ok(LogPage { entries: Vec::new(), proven: true, more: false, head })
        }
        Span::After { after: EntryId::ZERO, until } => {
            let page = range(commands, log, "-", &bound(until), count).await?;
            // Whoever knows only the beginning has missed nothing if the log still has its first entry.
            if page.is_empty() || is_whole(commands, log).await? {
                Ok(proven(page, count))
            } else {
                unproven(commands, log).await
            }
        }
        Span::After { after, until } => {
            // The known entry is read along: only if the log still holds it is nothing missing after it.
            let mut page = range(commands, log, &after.to_string(), &bound(until), count + 1).await?;
            if page.first().is_none_or(|first| first.id != after) {
                return unproven(commands, log).await;
            }
            let full = page.len() > count;
            page.remove(0);
            Ok(LogPage { more: full, ..proven(page, count) })
        }
        Span::Since { milliseconds } => {
            let page = range(commands, log, &milliseconds.to_string(), "+", count).await?;
            if reaches_back_before(commands, log, milliseconds).await? {
                Ok(proven(page, count))
            } else {
                unproven(commands, log).await
            }
        }
        Span::Newest { count } => {
            let mut read = redis::cmd("XREVRANGE");
            read.arg(log).arg("+").arg("-").arg("COUNT").arg(count);
            let mut page = entries(ask(commands, &read).await?)?;
            page.reverse();
            Ok(LogPage { more: false, ..proven(page, count) })
        }
    }
}

/// A page that connects; a full one may have more behind it.
fn proven(entries: Vec<LogEntry>, count: usize) -> LogPage {
    let head = entries.last().map_or(EntryId::ZERO, |entry| entry.id);
    LogPage { proven: true, more: entries.len() >= count, head, entries }
}

async fn unproven(commands: &Commands, log: &str) -> Result<LogPage, LogError> {
    let head = head(commands, log).await?;
    Ok(LogPage { entries: Vec::new(), proven: false, more: false, head })
}

fn bound(until: Option<EntryId>) -> String {
    until.map_or_else(|| "+".to_owned(), |until| until.to_string())
}

async fn range(
    commands: &Commands,
    log: &str,
    from: &str,
    to: &str,
    count: usize,
) -> Result<Vec<LogEntry>, LogError> {
    let mut read = redis::cmd("XRANGE");
    read.arg(log).arg(from).arg(to).arg("COUNT").arg(count);
    entries(ask(commands, &read).await?)
}

async fn head(commands: &Commands, log: &str) -> Result<EntryId, LogError> {
    let mut read = redis::cmd("XREVRANGE");
    read.arg(log).arg("+").arg("-").arg("COUNT").arg(1);
    Ok(entries(ask(commands, &read).await?)?.first().map_or(EntryId::ZERO, |entry| entry.id))
}

/// Whether a log has never lost an entry. Servers before Redis 7 do not say; then nothing is proven.
async fn is_whole(commands: &Commands, log: &str) -> Result<bool, LogError> {
    let mut inspect = redis::cmd("XINFO");
    inspect.arg("STREAM").arg(log);
    let fields: HashMap<String, Value> = match commands.ask(&inspect).await {
        Ok(fields) => fields,
        // Not allowed to look, or gone since it was read.
        Err(error) if matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension) => {
            return Ok(false);
        }
        Err(error) => return Err(log_error(&error)),
    };
    let number = |name: &str| fields.get(name).and_then(|value| u64::from_redis_value_ref(value).ok());
    Ok(matches!((number("length"), number("entries-added")), (Some(length), Some(added)) if length == added))
}

/// Whether a log holds everything since a time: it has an older entry, or has never lost one.
async fn reaches_back_before(commands: &Commands, log: &str, milliseconds: u64) -> Result<bool, LogError> {
    let oldest = range(commands, log, "-", "+", 1).await?;
    match oldest.first() {
        None => Ok(true),
        Some(oldest) if oldest.id.milliseconds < milliseconds => Ok(true),
        Some(_) => is_whole(commands, log).await,
    }
}

async fn ask(commands: &Commands, command: &redis::Cmd) -> Result<Vec<Value>, LogError> {
    commands.ask(command).await.map_err(|error| log_error(&error))
}

fn log_error(error: &RedisError) -> LogError {
    match error.kind() {
        // Such as WRONGTYPE and NOPERM.
        ErrorKind::Server(_) | ErrorKind::Extension if !is_passing(error) => {
            LogError::Unreadable(describe(error))
        }
        _ => LogError::Unavailable(describe(error)),
    }
}

/// Entries as `[[id, [field, value, …]], …]`.
fn entries(values: Vec<Value>) -> Result<Vec<LogEntry>, LogError> {
    let strange =
        || LogError::Unreadable("the server answered something that is no list of entries".to_owned());
    values
        .into_iter()
        .map(|value| {
            let Value::Array(parts) = value else { return Err(strange()) };
            let mut parts = parts.into_iter();
            let (Some(Value::BulkString(id)), Some(Value::Array(fields))) = (parts.next(), parts.next())
            else {
                return Err(strange());
            };
            let id = std::str::from_utf8(&id).ok().and_then(|id| id.parse().ok()).ok_or_else(strange)?;
            let field = |name| field(&fields, name);
            Ok(LogEntry { id, payload: field(PAYLOAD_FIELD), to: field(AUDIENCE_FIELD) })
        })
        .collect()
}

/// The value of the first field of this name.
fn field(fields: &[Value], wanted: &[u8]) -> Option<Bytes> {
    let (pairs, _) = fields.as_chunks();
    pairs.iter().find_map(|pair| match pair {
        [Value::BulkString(name), Value::BulkString(value)] if name == wanted => {
            Some(Bytes::copy_from_slice(value))
        }
        _ => None,
    })
}
