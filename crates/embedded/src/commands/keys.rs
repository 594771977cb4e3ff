//! Logs as keys: whether they are there, and for how long.

use bytes::Bytes;

use super::ids::checked_integer;
use super::{CommandError, CommandStep, other};
use crate::commands::session::Session;
use crate::log::log_writer::Committed;
use crate::protocol::reply::Reply;
use crate::pubsub::subscriber::NAME_BYTES_MAX;

const MILLISECONDS: i64 = 1000;

/// The key of a log. It is as long as a channel's name at most.
pub(super) fn log_key(key: &Bytes) -> Result<Bytes, CommandError> {
    if key.len() > NAME_BYTES_MAX {
        return Err(other(format!("ERR a key of the embedded bus has at most {NAME_BYTES_MAX} bytes")));
    }
    Ok(key.clone())
}

fn log_keys(keys: &[Bytes]) -> Result<Vec<Bytes>, CommandError> {
    keys.iter().map(log_key).collect()
}

/// `DEL key ...`: returns the number of deleted keys.
pub(super) fn delete(_session: &mut Session, arguments: &[Bytes]) -> Result<CommandStep, CommandError> {
    let keys = log_keys(arguments)?;
    Ok(Box::new(move |logs, _| {
        Committed::without_announcements(Reply::count(keys.iter().filter(|key| logs.remove(key)).count()))
    }))
}

/// `EXISTS key ...`: returns the number of existing keys; a key that is given twice counts twice.
pub(super) fn exists(_session: &mut Session, arguments: &[Bytes]) -> Result<CommandStep, CommandError> {
    let keys = log_keys(arguments)?;
    Ok(Box::new(move |logs, _| {
        Committed::without_announcements(Reply::count(
            keys.iter().filter(|key| logs.get(key).is_some()).count(),
        ))
    }))
}

/// `TYPE key`
pub(super) fn kind(_session: &mut Session, arguments: &[Bytes]) -> Result<CommandStep, CommandError> {
    let [key] = arguments else { return Err(CommandError::Arguments("type".to_owned())) };
    let key = log_key(key)?;
    Ok(Box::new(move |logs, _| {
        Committed::without_announcements(Reply::Status(if logs.get(&key).is_some() {
            "stream"
        } else {
            "none"
        }))
    }))
}

/// `TTL key`: seconds, rounded; -1 for a log without an `EXPIRE`, although it ends if no entry is
/// added; -2 without a log.
pub(super) fn time_to_live(_session: &mut Session, arguments: &[Bytes]) -> Result<CommandStep, CommandError> {
    let [key] = arguments else { return Err(CommandError::Arguments("ttl".to_owned())) };
    let key = log_key(key)?;
    Ok(Box::new(move |logs, _| {
        Committed::without_announcements(Reply::Integer(match (logs.get(&key), logs.expires(&key)) {
            (None, _) => -2,
            (Some(_), None) => -1,
            (Some(_), Some(ends)) => {
                let seconds =
                    (ends.saturating_sub(logs.now()).saturating_add(500)) / MILLISECONDS.unsigned_abs();
                i64::try_from(seconds).unwrap_or(i64::MAX)
            }
        }))
    }))
}

/// The condition under which `EXPIRE` does nothing.
#[derive(Debug, Clone, Copy, Default)]
struct Unless {
    has_end: bool,
    has_none: bool,
    is_sooner: bool,
    is_later: bool,
}

/// `EXPIRE key seconds [NX|XX|GT|LT]`: returns 1 if it had an effect. A time in the past removes
/// the log.
pub(super) fn expire(_session: &mut Session, arguments: &[Bytes]) -> Result<CommandStep, CommandError> {
    let [key, seconds, options @ ..] = arguments else {
        return Err(CommandError::Arguments("expire".to_owned()));
    };
    let unless = Unless::parse(options)?;
    let milliseconds = checked_integer(seconds)?
        .checked_mul(MILLISECONDS)
        .filter(|milliseconds| milliseconds.checked_add(i64::MAX / 2).is_some())
        .ok_or_else(|| other("ERR invalid expire time in 'expire' command"))?;
    let key = log_key(key)?;
    Ok(Box::new(move |logs, _| {
        let at = logs.now().saturating_add_signed(milliseconds);
        let end = logs.expires(&key);
        let done = logs.get(&key).is_some() && !unless.holds(end, at);
        if done {
            logs.expire(&key, at);
        }
        Committed::without_announcements(Reply::Integer(done.into()))
    }))
}

impl Unless {
    fn parse(options: &[Bytes]) -> Result<Self, CommandError> {
        let mut unless = Self::default();
        for option in options {
            match option.to_ascii_lowercase().as_slice() {
                b"nx" => unless.has_end = true,
                b"xx" => unless.has_none = true,
                b"gt" => unless.is_sooner = true,
                b"lt" => unless.is_later = true,
                _ => return Err(other(format!("ERR Unsupported option {}", super::shown(option)))),
            }
        }
        if unless.has_end && (unless.has_none || unless.is_sooner || unless.is_later) {
            return Err(other("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if unless.is_sooner && unless.is_later {
            return Err(other("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(unless)
    }

    /// A log without an `EXPIRE` ends after any that has one.
    fn holds(self, end: Option<u64>, at: u64) -> bool {
        match end {
            Some(end) => self.has_end || self.is_sooner && at <= end || self.is_later && at >= end,
            None => self.has_none || self.is_sooner,
        }
    }
}
