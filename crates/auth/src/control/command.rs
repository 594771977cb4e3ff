//! Commands of the control channel.

use std::time::Duration;

use serde::Deserialize;

use tidings_event::workspace::WorkspaceId;
use tidings_event::{TokenId, UserId};
use tidings_limits::Selector;

/// Limits a command, in bytes.
const BYTES_MAX: usize = 4096;

/// Limits the duration of a ban: one year, in seconds.
const SECONDS_MAX: f64 = 31_536_000.0;

/// The duration of the ban of a token without `for`. Most tokens expire sooner.
const TOKEN_BAN: Duration = Duration::from_secs(86_400);

/// The shortest time for which a command is stored for nodes that missed it.
const STORED_MIN: Duration = Duration::from_secs(60);

/// A command to disconnect clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlCommand {
    /// Selects the streams to end.
    pub selector: Selector,
    /// The id of the user, for the log.
    pub user: Option<UserId>,
    /// The id of the token, for the log.
    pub token: Option<TokenId>,
    /// The duration of the ban; `None` if the clients may reconnect at once.
    pub ban: Option<Duration>,
}

/// The reason for which a message is not a valid command. A node ignores such a message, because a
/// part of it could match all clients.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlCommandError {
    /// The message is too long.
    #[error("a command has at most {BYTES_MAX} bytes")]
    TooLong,
    /// The message has another form.
    #[error("expected {{\"disconnect\":{{…}}}} with user, workspace, connection, jti and for: {0}")]
    Form(String),
    /// The command selects no stream.
    #[error("a command needs at least one of user, workspace, connection and jti")]
    Empty,
    /// A value can match no stream.
    #[error("`{0}` is not valid: no stream can have it")]
    Value(&'static str),
    /// The duration is out of range.
    #[error("`for` must be a number of seconds, more than 0 and at most a year")]
    Time,
    /// The command bans a connection id.
    #[error(
        "a connection id is not used again, so it cannot be banned: with `for`, name the user or the jti"
    )]
    ConnectionBan,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandMessage {
    disconnect: Disconnect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Disconnect {
    user: Option<String>,
    workspace: Option<String>,
    connection: Option<String>,
    jti: Option<String>,
    r#for: Option<f64>,
}

impl ControlCommand {
    /// Parses a message of the control channel.
    ///
    /// # Errors
    ///
    /// Returns a [`ControlCommandError`] with the reason.
    pub fn parse(text: &[u8]) -> Result<Self, ControlCommandError> {
        if text.len() > BYTES_MAX {
            return Err(ControlCommandError::TooLong);
        }
        let CommandMessage { disconnect } =
            serde_json::from_slice(text).map_err(|error| ControlCommandError::Form(error.to_string()))?;
        let user = read(disconnect.user, "user", |text| UserId::parse(text).ok())?;
        let token = read(disconnect.jti, "jti", |text| TokenId::parse(text).ok())?;
        let selector = Selector {
            user: user.as_ref().map(UserId::key),
            workspace: read(disconnect.workspace, "workspace", |text| WorkspaceId::parse(text).ok())?,
            token: token.as_ref().map(TokenId::key),
            connection: read(disconnect.connection, "connection", |text| text.parse().ok())?,
        };
        if selector.is_empty() {
            return Err(ControlCommandError::Empty);
        }
        let ban = match disconnect.r#for {
            None => selector.token.map(|_| TOKEN_BAN),
            Some(_) if selector.connection.is_some() => return Err(ControlCommandError::ConnectionBan),
            Some(seconds) if seconds > 0.0 && seconds <= SECONDS_MAX => {
                Some(Duration::from_secs_f64(seconds))
            }
            Some(_) => return Err(ControlCommandError::Time),
        };
        // A connection id is never used again, so a ban of it has no use.
        let ban = ban.filter(|_| selector.connection.is_none());
        Ok(Self { selector, user, token, ban })
    }

    /// Returns the time for which nodes store the command.
    #[must_use]
    pub fn stored_for(&self) -> Duration {
        self.ban.unwrap_or_default().max(STORED_MIN)
    }
}

fn read<T>(
    text: Option<String>,
    name: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, ControlCommandError> {
    text.map(|text| parse(&text).ok_or(ControlCommandError::Value(name))).transpose()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn command_has_a_selector_and_a_ban() {
        let command =
            ControlCommand::parse(br#"{"disconnect":{"user":"u1","workspace":"acme","for":1.5}}"#).unwrap();
        assert_eq!(command.user, UserId::parse("u1").ok());
        assert_eq!(command.selector.user, command.user.as_ref().map(UserId::key));
        assert_eq!(command.selector.workspace, WorkspaceId::parse("acme").ok());
        assert_eq!(command.ban, Some(Duration::from_millis(1500)));
        assert_eq!(command.stored_for(), STORED_MIN);

        assert_eq!(ControlCommand::parse(br#"{"disconnect":{"user":"u1"}}"#).unwrap().ban, None);
        let token = ControlCommand::parse(br#"{"disconnect":{"jti":"t1"}}"#).unwrap();
        assert_eq!(token.ban, Some(TOKEN_BAN));
        assert_eq!(token.stored_for(), TOKEN_BAN);
        let connection =
            ControlCommand::parse(br#"{"disconnect":{"connection":"abcdefgh.7","jti":"t"}}"#).unwrap();
        assert_eq!(connection.ban, None);
    }

    /// A command that lacks a part is not a command.
    #[test]
    fn incomplete_command_is_rejected() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"disconnect":{}}"#,
            r#"{"disconnect":{"for":60}}"#,
            r#"{"disconnect":{"usr":"u1"}}"#,
            r#"{"disconnect":{"user":"u1","now":true}}"#,
            r#"{"disconnect":{"user":"u1"},"and":1}"#,
            r#"{"disconnect":{"user":""}}"#,
            r#"{"disconnect":{"user":7}}"#,
            r#"{"disconnect":{"workspace":"a b"}}"#,
            r#"{"disconnect":{"connection":"7"}}"#,
            r#"{"disconnect":{"connection":"abcdefgh.7","for":60}}"#,
            r#"{"disconnect":{"user":"u1","for":0}}"#,
            r#"{"disconnect":{"user":"u1","for":-1}}"#,
            r#"{"disconnect":{"user":"u1","for":1e300}}"#,
            r#"{"disconnect":{"user":"u1","for":"60"}}"#,
        ] {
            assert!(ControlCommand::parse(text.as_bytes()).is_err(), "{text}");
        }
        let long = format!(r#"{{"disconnect":{{"user":"{}"}}}}"#, "u".repeat(BYTES_MAX));
        assert_eq!(ControlCommand::parse(long.as_bytes()), Err(ControlCommandError::TooLong));
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_rejected(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ControlCommand::parse(&text);
        }
    }
}
