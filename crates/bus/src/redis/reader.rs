//! Reading logs with XRANGE and similar commands, and their metadata: the record of the epoch and
//! the mark of live events.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, Value};

use super::bounded::ServerFault;
use super::channel::LogKeys;
use super::connect::{describe, is_temporary};
use super::runner::CommandRunner;
use crate::settings::RetentionConfig;
use tidings_event::log::{
    AUDIENCE_FIELD, LiveMark, LogEntry, LogError, LogFigures, LogPage, PAYLOAD_FIELD, Span, TRACE_FIELD,
    proves, proves_since,
};
use tidings_event::{EntryId, Epoch, EpochRecord, TraceParent};

/// Names the next epoch of an empty log, unless it has a name; removes the name if another program
/// has begun the log.
///
/// KEYS: the log and its record. ARGV: a lifetime in seconds and a name. Returns the newest entry's
/// id, `0-0` if there is none, and the record.
const NAME_EPOCH: &str = include_str!("name_epoch.lua");

/// Writes the mark of live events and returns it.
///
/// KEYS: the log and its mark. ARGV: how far the mark reaches and its lifetime, in milliseconds.
const MARK_LIVE: &str = include_str!("mark_live.lua");

/// Limits the lifetime of the epoch's name of an empty log, in seconds. Clients may open any number
/// of workspaces that never get an event.
const EMPTY_EPOCH_SECONDS_MAX: u64 = 3600;

/// Reads logs and marks workspaces.
#[derive(Debug)]
pub(super) struct LogReader {
    retention: Duration,
    /// This node may not write marks. Other nodes do not learn of the live events that it
    /// receives, so all workspaces count as mixed.
    cannot_mark: AtomicBool,
}

/// The metadata of a log.
#[derive(Debug, Clone, Copy, Default)]
struct LogMetadata {
    record: Option<EpochRecord>,
    live: LiveMark,
}

impl LogReader {
    pub(super) fn new(retention: &RetentionConfig) -> Self {
        Self { retention: retention.seconds.duration(), cannot_mark: AtomicBool::new(false) }
    }

    /// Reads a part of a log.
    pub(super) async fn read(
        &self,
        commands: &impl CommandRunner,
        keys: &LogKeys,
        span: Span,
        count: usize,
    ) -> Result<LogPage, LogError> {
        let mut page = self.read_page(commands, keys, span, count).await?;
        if self.cannot_mark.load(Ordering::Relaxed) {
            page.live = LiveMark::Unknown;
        }
        Ok(page)
    }

    async fn read_page(
        &self,
        commands: &impl CommandRunner,
        keys: &LogKeys,
        span: Span,
        count: usize,
    ) -> Result<LogPage, LogError> {
        let log = &keys.log;
        match span {
            Span::Head => self.head(commands, keys).await,
            Span::After { after: EntryId::ZERO, epoch, until } => {
                let read = || ask(commands, keys, [range(log, "-", &bound(until), count)]);
                let ([mut page], mut metadata) = read().await?;
                if page.is_empty() && metadata.record.is_some_and(|record| record.has_begun()) {
                    // The first entry may have been added between the two replies.
                    ([page], metadata) = read().await?;
                }
                let page = entries(page)?;
                if proves(metadata.record.as_ref(), EntryId::ZERO, epoch, page.first().map(|first| first.id))
                {
                    Ok(proven(page, count, metadata))
                } else {
                    self.unproven(commands, keys).await
                }
            }
            Span::After { after, epoch, until } => {
                // The page includes the known entry, because its presence proves that none after it
                // is missing.
                let read = range(log, &after.to_string(), &bound(until), count + 1);
                let ([page], metadata) = ask(commands, keys, [read]).await?;
                let mut page = entries(page)?;
                if !proves(metadata.record.as_ref(), after, epoch, page.first().map(|first| first.id)) {
                    return self.unproven(commands, keys).await;
                }
                let is_full = page.len() > count;
                page.remove(0);
                Ok(LogPage { more: is_full, ..proven(page, count, metadata) })
            }
            Span::Since { milliseconds } => {
                let read = [range(log, &milliseconds.to_string(), "+", count), range(log, "-", "+", 1)];
                let ([page, oldest], metadata) = ask(commands, keys, read).await?;
                let oldest = entries(oldest)?.first().map(|oldest| oldest.id);
                if proves_since(metadata.record.as_ref(), milliseconds, oldest) {
                    Ok(proven(entries(page)?, count, metadata))
                } else {
                    self.unproven(commands, keys).await
                }
            }
            Span::Oldest => {
                let mut inspect = redis::cmd("XINFO");
                inspect.arg("STREAM").arg(log);
                let read = [LogCommand::Needed(range(log, "-", "+", count)), LogCommand::Optional(inspect)];
                let ([page, inspected], metadata) = ask_each(commands, keys, read).await?;
                let page = entries(page)?;
                let is_whole = has_lost_none(&inspected)
                    || page
                        .first()
                        .is_some_and(|first| metadata.record.is_some_and(|record| record.first == first.id));
                Ok(LogPage { proven: is_whole, ..proven(page, count, metadata) })
            }
            Span::Newest { count } => {
                let ([page], metadata) = ask(commands, keys, [newest(log, count)]).await?;
                let mut page = entries(page)?;
                page.reverse();
                Ok(LogPage { more: false, ..proven(page, count, metadata) })
            }
            Span::Held { entries: [first, second] } => {
                let one = |entry: EntryId| range(log, &entry.to_string(), &entry.to_string(), 1);
                let ([first, second], metadata) = ask(commands, keys, [one(first), one(second)]).await?;
                let held = [entries(first)?, entries(second)?].concat();
                Ok(LogPage { more: false, ..proven(held, count, metadata) })
            }
            Span::LiveMark => {
                let ([], metadata) = ask(commands, keys, []).await?;
                Ok(LogPage { more: false, ..proven(Vec::new(), count, metadata) })
            }
        }
    }

    /// Reads the head of a log. For an empty log, names the next epoch; removes the name if another
    /// program has begun the log.
    async fn head(&self, commands: &impl CommandRunner, keys: &LogKeys) -> Result<LogPage, LogError> {
        let ([page], mut metadata) = ask(commands, keys, [newest(&keys.log, 1)]).await?;
        let mut head = entries(page)?.first().map_or(EntryId::ZERO, |entry| entry.id);
        let is_empty = head == EntryId::ZERO;
        if metadata.record.map_or(is_empty, |record| record.has_begun() == is_empty) {
            let seconds = self.retention.as_secs().clamp(1, EMPTY_EPOCH_SECONDS_MAX);
            match commands.ask::<(String, String)>(&name_command(keys, seconds)).await {
                Ok((newest, record)) => {
                    head = newest.parse().unwrap_or(EntryId::ZERO);
                    metadata.record = record.parse().ok();
                }
                // Without the right to, positions before the first entry are valid on this node
                // only.
                Err(error) if is_server_error(&error) => metadata.record = None,
                Err(error) => return Err(log_error(&error)),
            }
        }
        Ok(LogPage { head, more: false, ..proven(Vec::new(), 1, metadata) })
    }

    async fn unproven(&self, commands: &impl CommandRunner, keys: &LogKeys) -> Result<LogPage, LogError> {
        Ok(LogPage { proven: false, ..self.head(commands, keys).await? })
    }

    /// Reads the size of a log.
    pub(super) async fn figures(
        &self,
        commands: &impl CommandRunner,
        keys: &LogKeys,
    ) -> Result<LogFigures, LogError> {
        let mut inspect = redis::cmd("XINFO");
        inspect.arg("STREAM").arg(&keys.log);
        let read = [
            LogCommand::Needed(range(&keys.log, "-", "+", 1)),
            LogCommand::Needed(newest(&keys.log, 1)),
            LogCommand::Optional(inspect),
        ];
        let ([oldest, newest, inspected], _) = ask_each(commands, keys, read).await?;
        let id = |page| Ok(entries(page)?.first().map(|entry| entry.id));
        let (oldest, newest) = (id(oldest)?, id(newest)?);
        // XINFO of a key that does not exist is an error.
        let length = number(&inspected, "length").or_else(|| oldest.is_none().then_some(0));
        Ok(LogFigures { length, oldest, newest })
    }

    /// Writes the mark of live events.
    pub(super) async fn mark_live(
        &self,
        commands: &impl CommandRunner,
        keys: &LogKeys,
        slack: Duration,
    ) -> Result<u64, LogError> {
        let mark = commands.ask(&mark_command(keys, slack, self.retention)).await;
        match &mark {
            Ok(_) => self.cannot_mark.store(false, Ordering::Relaxed),
            // Temporary errors count too, such as a lack of memory: until a mark succeeds, other
            // nodes do not learn of live events.
            Err(error) if is_server_error(error) => self.cannot_mark.store(true, Ordering::Relaxed),
            Err(_) => {}
        }
        mark.map_err(|error| log_error(&error))
    }
}

/// Returns the command that writes the mark of live events of a log with this retention.
pub(super) fn mark_command(keys: &LogKeys, slack: Duration, retention: Duration) -> Cmd {
    let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut mark = redis::cmd("EVAL");
    mark.arg(MARK_LIVE).arg(2).arg(&keys.log).arg(&keys.live);
    mark.arg(milliseconds(slack)).arg(milliseconds(retention.saturating_mul(2)).max(1));
    mark
}

/// Returns the command that names the next epoch of an empty log for a number of seconds.
pub(super) fn name_command(keys: &LogKeys, seconds: u64) -> Cmd {
    let mut name = redis::cmd("EVAL");
    name.arg(NAME_EPOCH).arg(2).arg(&keys.log).arg(&keys.epoch).arg(seconds).arg(Epoch::random().to_string());
    name
}

/// Creates a proven page; a full one may have more entries behind it.
fn proven(entries: Vec<LogEntry>, count: usize, metadata: LogMetadata) -> LogPage {
    let head = entries.last().map_or(EntryId::ZERO, |entry| entry.id);
    let LogMetadata { record, live } = metadata;
    LogPage { proven: true, more: entries.len() >= count, head, record, live, entries }
}

fn bound(until: Option<EntryId>) -> String {
    until.map_or_else(|| "+".to_owned(), |until| until.to_string())
}

fn range(log: &str, from: &str, to: &str, count: usize) -> Cmd {
    let mut read = redis::cmd("XRANGE");
    read.arg(log).arg(from).arg(to).arg("COUNT").arg(count);
    read
}

fn newest(log: &str, count: usize) -> Cmd {
    let mut read = redis::cmd("XREVRANGE");
    read.arg(log).arg("+").arg("-").arg("COUNT").arg(count);
    read
}

/// Returns whether a log has lost no entry since its first. Servers before Redis 7 do not report
/// it; then nothing is proven.
fn has_lost_none(inspected: &[Value]) -> bool {
    let number = |name| number(inspected, name);
    matches!((number("length"), number("entries-added")), (Some(length), Some(added)) if length == added)
}

/// Returns a number in the reply to `XINFO STREAM`.
fn number(inspected: &[Value], wanted: &str) -> Option<u64> {
    let mut pairs = inspected.as_chunks::<2>().0.iter();
    pairs.find_map(|[name, value]| {
        let is_wanted = String::from_redis_value_ref(name).is_ok_and(|name| name == wanted);
        is_wanted.then(|| u64::from_redis_value_ref(value).ok()).flatten()
    })
}

/// One of several commands.
enum LogCommand {
    /// Its error is the error of all.
    Needed(Cmd),
    /// Its error counts as an empty reply.
    Optional(Cmd),
}

/// Sends commands whose replies are lists, and reads the metadata of the log in the same round
/// trip.
async fn ask<const N: usize>(
    commands: &impl CommandRunner,
    keys: &LogKeys,
    reads: [Cmd; N],
) -> Result<([Vec<Value>; N], LogMetadata), LogError> {
    ask_each(commands, keys, reads.map(LogCommand::Needed)).await
}

async fn ask_each<const N: usize>(
    commands: &impl CommandRunner,
    keys: &LogKeys,
    reads: [LogCommand; N],
) -> Result<([Vec<Value>; N], LogMetadata), LogError> {
    let mut pipeline = redis::Pipeline::with_capacity(N + 1);
    for read in &reads {
        let (LogCommand::Needed(command) | LogCommand::Optional(command)) = read;
        pipeline.add_command(command.clone());
    }
    pipeline.get(&keys.epoch).get(&keys.live).ignore_errors();
    let replies = commands.ask_all(&pipeline).await.map_err(|error| log_error(&error))?;
    let mut replies = replies.into_iter();
    let mut lists = [const { Vec::new() }; N];
    for (read, list) in reads.iter().zip(&mut lists) {
        *list = match (replies.next().ok_or_else(unexpected)?, read) {
            (Ok(Value::Array(values)), _) => values,
            (Ok(Value::Map(pairs)), _) => pairs.into_iter().flat_map(<[Value; 2]>::from).collect(),
            (Ok(_), _) => return Err(unexpected()),
            (Err(error), LogCommand::Optional(_)) if is_server_error(&error) => Vec::new(),
            (Err(error), _) => return Err(log_error(&error)),
        };
    }
    // An unreadable record proves nothing; with an unreadable mark, live events may have come.
    let record = text(replies.next().ok_or_else(unexpected)?)?;
    let live = match text(replies.next().ok_or_else(unexpected)?)? {
        Ok(None) => LiveMark::Absent,
        Ok(Some(mark)) => mark.parse().map_or(LiveMark::Unknown, LiveMark::Until),
        Err(NotReadable) => LiveMark::Unknown,
    };
    Ok((lists, LogMetadata { record: record.ok().flatten().and_then(|record| record.parse().ok()), live }))
}

/// Reports that the user may not read a key, or that its value has another type.
struct NotReadable;

/// Returns the text of a metadata key.
fn text(reply: RedisResult<Value>) -> Result<Result<Option<String>, NotReadable>, LogError> {
    match reply {
        Ok(value) => Ok(redis::from_redis_value(value).map_err(|_| NotReadable)),
        Err(error) if is_server_error(&error) && !is_temporary(&error) => Ok(Err(NotReadable)),
        Err(error) => Err(log_error(&error)),
    }
}

/// Returns whether an error is the server's reply to the command, such as WRONGTYPE and NOPERM.
fn is_server_error(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

fn log_error(error: &RedisError) -> LogError {
    // A log whose pages are too long remains so, and each read ends the link for all commands.
    if is_server_error(error) && !is_temporary(error) || ServerFault::is_long_reply(error) {
        LogError::Unreadable(describe(error))
    } else {
        LogError::Unavailable(describe(error))
    }
}

fn unexpected() -> LogError {
    LogError::Unreadable("the server returned a value that is not a list of entries".to_owned())
}

/// Parses entries in the form `[[id, [field, value, …]], …]`.
fn entries(values: Vec<Value>) -> Result<Vec<LogEntry>, LogError> {
    values
        .into_iter()
        .map(|value| {
            let Value::Array(parts) = value else { return Err(unexpected()) };
            let mut parts = parts.into_iter();
            let (Some(Value::BulkString(id)), Some(Value::Array(fields))) = (parts.next(), parts.next())
            else {
                return Err(unexpected());
            };
            let id = std::str::from_utf8(&id).ok().and_then(|id| id.parse().ok()).ok_or_else(unexpected)?;
            let field = |name| field(&fields, name);
            let trace = field(TRACE_FIELD).and_then(|trace| TraceParent::from_bytes(&trace));
            Ok(LogEntry { id, payload: field(PAYLOAD_FIELD), to: field(AUDIENCE_FIELD), trace })
        })
        .collect()
}

/// Returns the value of the first field with this name.
fn field(fields: &[Value], wanted: &[u8]) -> Option<Bytes> {
    let (pairs, _) = fields.as_chunks();
    pairs.iter().find_map(|pair| match pair {
        [Value::BulkString(name), Value::BulkString(value)] if name == wanted => {
            Some(Bytes::copy_from_slice(value))
        }
        _ => None,
    })
}
