//! What an order says.

use std::time::Duration;

use serde::Deserialize;

use tidings_event::workspace::WorkspaceId;
use tidings_event::{TokenId, UserId};
use tidings_limits::Selector;

/// The longest order, in bytes.
const BYTES_MAX: usize = 4096;

/// The longest time that somebody can be told to stay away: a year.
const SECONDS_MAX: f64 = 31_536_000.0;

/// How long a token stays out that is named without a time. It is meant to be worth nothing any more, and most tokens
/// do not live longer.
const TOKEN_STAYS_OUT: Duration = Duration::from_secs(86_400);

/// How long an order is remembered for nodes that missed it, if it keeps nobody away for longer.
const REMEMBERED: Duration = Duration::from_secs(60);

/// An order to disconnect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlCommand {
    /// Whose streams end.
    pub selector: Selector,
    /// The user that is named, as it was written.
    pub user: Option<UserId>,
    /// The token that is named, as it was written.
    pub token: Option<TokenId>,
    /// How long they stay out; `None` where they may come back at once.
    pub stay_away: Option<Duration>,
}

/// Why an order is not one. Nothing is done then: half an order might mean everybody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlCommandError {
    /// It is too long.
    #[error("an order has at most {BYTES_MAX} bytes")]
    TooLong,
    /// It is not of the form.
    #[error("an order is {{\"disconnect\":{{…}}}} with user, workspace, connection, jti and for: {0}")]
    Form(String),
    /// It names nobody.
    #[error("an order names at least one of user, workspace, connection and jti")]
    Nobody,
    /// What it names cannot exist.
    #[error("`{0}` is none: no stream has it")]
    Value(&'static str),
    /// The time is out of range.
    #[error("`for` is a number of seconds, more than 0 and at most a year")]
    Time,
    /// A single stream is ended and told to stay away.
    #[error("a connection is not used again: with `for`, name the user or the jti")]
    ConnectionStays,
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
    /// Reads an order as it came over the bus.
    ///
    /// # Errors
    ///
    /// [`ControlCommandError`] says what is wrong with it.
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
            return Err(ControlCommandError::Nobody);
        }
        let stay_away = match disconnect.r#for {
            None => selector.token.map(|_| TOKEN_STAYS_OUT),
            Some(_) if selector.connection.is_some() => return Err(ControlCommandError::ConnectionStays),
            Some(seconds) if seconds > 0.0 && seconds <= SECONDS_MAX => {
                Some(Duration::from_secs_f64(seconds))
            }
            Some(_) => return Err(ControlCommandError::Time),
        };
        // One stream that is named by its own id is done with when it has ended.
        let stay_away = stay_away.filter(|_| selector.connection.is_none());
        Ok(Self { selector, user, token, stay_away })
    }

    /// How long nodes remember it.
    #[must_use]
    pub fn remembered(&self) -> Duration {
        self.stay_away.unwrap_or_default().max(REMEMBERED)
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
    fn an_order_says_whom_and_for_how_long() {
        let command =
            ControlCommand::parse(br#"{"disconnect":{"user":"u1","workspace":"acme","for":1.5}}"#).unwrap();
        assert_eq!(command.user, UserId::parse("u1").ok());
        assert_eq!(command.selector.user, command.user.as_ref().map(UserId::key));
        assert_eq!(command.selector.workspace, WorkspaceId::parse("acme").ok());
        assert_eq!(command.stay_away, Some(Duration::from_millis(1500)));
        assert_eq!(command.remembered(), REMEMBERED);

        assert_eq!(ControlCommand::parse(br#"{"disconnect":{"user":"u1"}}"#).unwrap().stay_away, None);
        let token = ControlCommand::parse(br#"{"disconnect":{"jti":"t1"}}"#).unwrap();
        assert_eq!(token.stay_away, Some(TOKEN_STAYS_OUT));
        assert_eq!(token.remembered(), TOKEN_STAYS_OUT);
        let connection =
            ControlCommand::parse(br#"{"disconnect":{"connection":"abcdefgh.7","jti":"t"}}"#).unwrap();
        assert_eq!(connection.stay_away, None);
    }

    /// A command that lacks a part is not a command.
    #[test]
    fn half_an_order_is_none() {
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
        fn any_text_is_an_order_or_refused(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ControlCommand::parse(&text);
        }
    }
}
