//! The list of bans.

use std::collections::HashMap;
use std::time::SystemTime;

use bytes::Bytes;
use serde_json::{Value, json};
use warp::reply::Response;

use super::Console;
use super::figures::milliseconds;
use super::reply;
use crate::http::Problem;
use tidings_auth::control::ControlCommand;
use tidings_event::workspace::WorkspaceId;
use tidings_event::{TokenId, UserId};

/// The bans of a response.
const ROWS_MAX: usize = 500;

/// The clients of a ban, in the words of its command.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct BannedClients {
    user: Option<UserId>,
    workspace: Option<WorkspaceId>,
    token: Option<TokenId>,
}

impl Console {
    /// Returns the bans of all nodes, those that end first in front. The bus stores them.
    pub(super) async fn bans(&self) -> Result<Response, Problem> {
        let retry = self.parts.streams.retry;
        let listed = tokio::time::timeout(self.settings.patience, self.parts.bus.list_bans()).await;
        let unknown =
            |reason: String| Problem::unavailable(format!("the bans are not known: {reason}"), retry);
        let commands = listed
            .map_err(|_| unknown("the bus did not reply in time".to_owned()))?
            .map_err(|error| unknown(error.to_string()))?;
        Ok(reply::json(&document(&commands, SystemTime::now())))
    }
}

/// The stored commands as a list. A command is also stored without a ban, for nodes that missed
/// it.
fn document(commands: &[(Bytes, SystemTime)], now: SystemTime) -> Value {
    let mut ends: HashMap<BannedClients, SystemTime> = HashMap::new();
    for (command, until) in commands {
        let Ok(command) = ControlCommand::parse(command) else { continue };
        let Some(ban) = command.ban else { continue };
        // It is stored longer than a short ban, for nodes that missed it.
        let until = *until - command.stored_for().saturating_sub(ban);
        if until <= now {
            continue;
        }
        let workspace = command.selector.workspace;
        let clients = BannedClients { user: command.user, workspace, token: command.token };
        let end = ends.entry(clients).or_insert(until);
        *end = (*end).max(until);
    }
    let mut bans: Vec<_> = ends.into_iter().collect();
    bans.sort_by_key(|(_, until)| *until);
    let rows = bans.iter().take(ROWS_MAX).map(|(clients, until)| {
        json!({
            "user": clients.user.as_ref().map(UserId::as_str),
            "workspace": clients.workspace.as_ref().map(WorkspaceId::as_str),
            "jti": clients.token.as_ref().map(TokenId::as_str),
            "untilMs": milliseconds(*until),
        })
    });
    json!({ "count": bans.len(), "bans": rows.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn list_has_each_ban_once_with_its_end() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let command = |text: &'static str, seconds| {
            (Bytes::from_static(text.as_bytes()), SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
        };
        let found = document(
            &[
                command(r#"{"disconnect":{"user":"ann","workspace":"acme","for":60}}"#, 160),
                command(r#"{"disconnect":{"user":"ann","workspace":"acme","for":90}}"#, 190),
                command(r#"{"disconnect":{"jti":"t1"}}"#, 150),
                command(r#"{"disconnect":{"user":"bob"}}"#, 160),
                command(r#"{"disconnect":{"user":"short","for":10}}"#, 155),
                command(r#"{"disconnect":{"user":"over","for":10}}"#, 145),
                command(r#"{"disconnect":{"user":"eve","for":60}}"#, 100),
                command("a text of another program", 160),
            ],
            now,
        );
        let expected = json!({ "count": 3, "bans": [
            { "user": "short", "workspace": null, "jti": null, "untilMs": 105_000 },
            { "user": null, "workspace": null, "jti": "t1", "untilMs": 150_000 },
            { "user": "ann", "workspace": "acme", "jti": null, "untilMs": 190_000 },
        ]});
        assert_eq!(found, expected);
    }
}
