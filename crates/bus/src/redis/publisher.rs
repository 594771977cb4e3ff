//! Publishing durable events with the publish script.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::{Cmd, ErrorKind, RedisError, RedisResult, Script, ServerErrorKind, Value};

use super::channel::LogKeys;
use super::connect::{describe, is_temporary};
use super::runner::CommandRunner;
use super::script::PublishScript;
use super::session::is_forbidden_command;
use crate::settings::RetentionConfig;
use crate::{IdempotencyKey, Item, Publication, PublishError, Published};

/// How long a reserved idempotency key waits for its publication.
const RESERVED: Duration = Duration::from_secs(60);

/// Runs the publish script.
pub(super) struct Publisher {
    text: String,
    script: Script,
    retention: RetentionConfig,
    /// The user may not access the metadata of the log. If the call declares no such keys, the
    /// script works without the record of the epoch.
    declares_log_only: AtomicBool,
}

impl Publisher {
    pub(super) fn new(retention: &RetentionConfig, script: PublishScript) -> Self {
        let text = script.text();
        Self {
            script: Script::new(&text),
            text,
            retention: retention.clone(),
            declares_log_only: AtomicBool::new(false),
        }
    }

    /// Adds events to the log and announces each on the channel of the same name.
    pub(super) async fn publish(
        &self,
        commands: &impl CommandRunner,
        keys: &LogKeys,
        publication: &Publication,
    ) -> Result<Published, PublishError> {
        let mut outcome = self.run(commands, keys, publication).await;
        if outcome.as_ref().is_err_and(is_forbidden_command)
            && !self.declares_log_only.swap(true, Ordering::Relaxed)
        {
            outcome = self.run(commands, keys, publication).await;
        }
        let ids: Vec<String> = match outcome {
            Ok(Value::BulkString(id)) => vec![String::from_utf8_lossy(&id).into_owned()],
            Ok(ids) => redis::from_redis_value(ids).unwrap_or_default(),
            Err(error) => return Err(publish_error(&error)),
        };
        let unexpected =
            || PublishError::Refused("the publish script returned a value that is not an id".to_owned());
        let ids: Published =
            ids.iter().map(|id| id.parse().map_err(|_| unexpected())).collect::<Result<_, _>>()?;
        if ids.is_empty() { Err(unexpected()) } else { Ok(ids) }
    }

    async fn run(
        &self,
        commands: &impl CommandRunner,
        keys: &LogKeys,
        publication: &Publication,
    ) -> RedisResult<Value> {
        match commands.ask(&self.call("EVALSHA", self.script.get_hash(), keys, publication)).await {
            // The server does not have the script, or no longer: send its text.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                commands.ask(&self.call("EVAL", &self.text, keys, publication)).await
            }
            outcome => outcome,
        }
    }

    fn call(&self, command: &str, script: &str, keys: &LogKeys, publication: &Publication) -> Cmd {
        let mut call = redis::cmd(command);
        let mut payloads = publication.items().iter().map(|item| &*item.payload);
        let mut declared = vec![keys.log.clone()];
        if !self.declares_log_only.load(Ordering::Relaxed) {
            declared.push(keys.epoch.clone());
            declared.extend(publication.idempotency_key().map(|key| keys.idempotency(key.as_str())));
        }
        call.arg(script).arg(declared.len()).arg(declared).arg(payloads.next().unwrap_or_default());
        call.arg(self.retention.events).arg(self.retention.seconds.duration().as_secs().max(1));
        call.arg(publication.idempotency_key().map_or("", IdempotencyKey::as_str)).arg(self.retention.bytes);
        call.arg(options(publication));
        for payload in payloads {
            call.arg(payload);
        }
        call
    }
}

/// Returns the command that creates the key of a publication without an id. The script writes the
/// id.
pub(super) fn reserve_command(keys: &LogKeys, key: &IdempotencyKey) -> Cmd {
    let mut reserve = redis::cmd("SET");
    reserve.arg(keys.idempotency(key.as_str())).arg("").arg("NX").arg("EX").arg(RESERVED.as_secs());
    reserve
}

/// Publishes a message that is in no log.
pub(super) async fn send(
    commands: &impl CommandRunner,
    channel: &str,
    message: &[u8],
) -> Result<(), PublishError> {
    let mut publish = redis::cmd("PUBLISH");
    publish.arg(channel).arg(message);
    commands.ask::<Value>(&publish).await.map(drop).map_err(|error| publish_error(&error))
}

/// Encodes the audiences and the trace for the script.
fn options(publication: &Publication) -> String {
    let to = audiences(publication.items());
    match publication.trace() {
        None => to,
        Some(trace) if to.is_empty() => format!(r#"{{"traceparent":"{trace}"}}"#),
        Some(trace) => format!(r#"{{"traceparent":"{trace}","to":{to}}}"#),
    }
}

/// Encodes the audiences for the script.
///
/// The text is empty if all events are for all users. It is the audience if all events share one,
/// and otherwise a list with one for each event.
fn audiences(items: &[Item]) -> String {
    let to = |item: &Item| item.to.as_ref().map(|to| to.as_json().to_owned());
    match items {
        [] => String::new(),
        [first, rest @ ..] if rest.iter().all(|item| item.to == first.to) => to(first).unwrap_or_default(),
        _ => {
            let each: Vec<_> =
                items.iter().map(|item| to(item).unwrap_or_else(|| "null".to_owned())).collect();
            format!("[{}]", each.join(","))
        }
    }
}

fn publish_error(error: &RedisError) -> PublishError {
    match error.kind() {
        _ if is_temporary(error) => PublishError::Busy(describe(error)),
        ErrorKind::Server(_) | ErrorKind::Extension => PublishError::Refused(describe(error)),
        _ => PublishError::Unavailable(describe(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use tidings_event::Audience;

    #[test]
    fn temporary_error_means_that_nothing_was_published() {
        let error = |line: &[u8]| {
            let value = redis::parse_redis_value(line).unwrap();
            let Value::ServerError(error) = value else { panic!("no error") };
            publish_error(&error.into())
        };
        assert!(
            matches!(error(b"-MOVED 866 127.0.0.1:7001\r\n"), PublishError::Busy(text) if text.starts_with("MOVED"))
        );
        assert!(matches!(error(b"-NOPERM no\r\n"), PublishError::Refused(_)));
        let lost = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert!(matches!(publish_error(&lost), PublishError::Unavailable(_)));
    }

    #[test]
    fn audiences_have_the_form_that_the_script_expects() {
        let item = |users: &[&str]| Item {
            payload: Bytes::from_static(b"x"),
            to: (!users.is_empty()).then(|| Arc::new(Audience::new(users).unwrap())),
        };
        assert_eq!(audiences(&[item(&[])]), "");
        assert_eq!(audiences(&[item(&[]), item(&[])]), "");
        assert_eq!(audiences(&[item(&["a", "b"])]), r#"["a","b"]"#);
        assert_eq!(audiences(&[item(&["a"]), item(&["a"])]), r#"["a"]"#);
        assert_eq!(audiences(&[item(&["a"]), item(&[]), item(&["b"])]), r#"[["a"],null,["b"]]"#);
    }
}
