//! The broker's own events: the hello and everything named `tidings.*`. Each carries a `data:` field, since a browser
//! dispatches no event without one (WHATWG HTML, section 9.2.6).

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Value, json};

use super::connection_id::ConnectionId;
use super::frame::{put_data, put_field, put_id};
use super::position::Position;
use crate::workspace::WorkspaceId;

/// Why a stream is ended with the wish that the client come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReconnectReason {
    /// The workspace's subscription could not be confirmed in time, or was refused by the bus.
    Unavailable,
    /// The client was slower than its workspace's ring is long.
    Lagging,
    /// The node is going away.
    Draining,
    /// The node serves as many as it may.
    Overloaded,
    /// The token that the stream was opened with is about to end.
    Expired,
    /// A backend has disconnected the client.
    Disconnected,
    /// Asked again, the app did not let the client in any more.
    Unauthorized,
    /// It cannot be found out at the moment who the client is.
    Unverified,
    /// The stream has been open for as long as streams may be.
    Aged,
}

impl ReconnectReason {
    /// All reasons.
    pub const ALL: [Self; 9] = [
        Self::Unavailable,
        Self::Lagging,
        Self::Draining,
        Self::Overloaded,
        Self::Expired,
        Self::Disconnected,
        Self::Unauthorized,
        Self::Unverified,
        Self::Aged,
    ];

    /// The word in the event's data.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Lagging => "lagging",
            Self::Draining => "draining",
            Self::Overloaded => "overloaded",
            Self::Expired => "expired",
            Self::Disconnected => "disconnected",
            Self::Unauthorized => "unauthorized",
            Self::Unverified => "unverified",
            Self::Aged => "aged",
        }
    }
}

/// Why events may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResetReason {
    /// The link to the bus was lost for a while.
    Interrupted,
    /// The client's `Last-Event-ID` is not known here (any more).
    UnknownPosition,
    /// The log does not reach back (any more) to what was known: its older part was trimmed, or it expired or was deleted.
    Trimmed,
    /// The log ends before what was known: a failover has lost acknowledged events.
    RolledBack,
    /// The log could not be read.
    LogUnreadable,
    /// The client was away from a workspace that also carries events which are not logged.
    LiveEvents,
    /// More events arrived than could be kept while the log was being read.
    Overflow,
    /// An entry of the log has no payload and was left out.
    BadEntry,
    /// An event was larger than `limits.event_bytes` and was dropped.
    TooLarge,
    /// An event was not UTF-8 and was dropped.
    NotUtf8,
    /// A message that claimed to be a logged event was not one, and was dropped.
    BadEnvelope,
    /// Events came faster than `limits.events_per_second` or `limits.event_bytes_per_second` lets them, and were dropped.
    RateLimited,
}

impl ResetReason {
    /// All reasons.
    pub const ALL: [Self; 12] = [
        Self::Interrupted,
        Self::UnknownPosition,
        Self::Trimmed,
        Self::RolledBack,
        Self::LogUnreadable,
        Self::LiveEvents,
        Self::Overflow,
        Self::BadEntry,
        Self::TooLarge,
        Self::NotUtf8,
        Self::BadEnvelope,
        Self::RateLimited,
    ];

    /// Those that come with an event that was dropped.
    pub const OF_DROPS: [Self; 5] =
        [Self::TooLarge, Self::NotUtf8, Self::BadEnvelope, Self::BadEntry, Self::RateLimited];

    /// The word in the event's data.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interrupted => "interrupted",
            Self::UnknownPosition => "unknown-position",
            Self::Trimmed => "trimmed",
            Self::RolledBack => "rolled-back",
            Self::LogUnreadable => "log-unreadable",
            Self::LiveEvents => "live-events",
            Self::Overflow => "overflow",
            Self::BadEntry => "bad-entry",
            Self::TooLarge => "too-large",
            Self::NotUtf8 => "not-utf8",
            Self::BadEnvelope => "bad-envelope",
            Self::RateLimited => "rate-limited",
        }
    }
}

/// The first bytes of a stream: how long the client waits before it reconnects, in milliseconds.
///
/// They are a field of the block that follows. A blank line would make them a block without data,
/// which a browser ignores and other parsers dispatch as an empty message.
#[must_use]
pub fn retry(retry_ms: u64) -> Bytes {
    let mut buffer = BytesMut::with_capacity(24);
    put_field(&mut buffer, "retry", format_args!("{retry_ms}"));
    buffer.freeze()
}

/// The hello: from here on nothing is missed. Without a position the client keeps the one it has.
#[must_use]
pub fn connected(
    workspace: &WorkspaceId,
    position: Option<&Position>,
    resumed: bool,
    connection: ConnectionId,
) -> Bytes {
    // The members stand in the order of the protocol's description, which `json!` would not keep.
    let data = format!(
        r#"{{"type":"connected","workspaceId":"{workspace}","resumed":{resumed},"connectionId":"{connection}"}}"#
    );
    encode(None, position, None, &data)
}

/// A sign of life, which also moves an idle client's position on.
#[must_use]
pub fn heartbeat(position: Option<&Position>, live: bool) -> Bytes {
    encode(Some("tidings.heartbeat"), position, None, &json!({ "live": live }).to_string())
}

/// Events may be missing between `from` and `head`: the client's state must be fetched anew.
#[must_use]
pub fn reset(reason: ResetReason, from: Option<&str>, head: &Position) -> Bytes {
    let data = json!({
        "reason": reason.as_str(),
        "from": from.map_or(Value::Null, Value::from),
        "head": head.to_string(),
    });
    encode(Some("tidings.reset"), Some(head), None, &data.to_string())
}

/// The stream ends; the client shall come back after `retry_ms`.
#[must_use]
pub fn reconnect(reason: ReconnectReason, retry_ms: u64) -> Bytes {
    let data = json!({ "reason": reason.as_str(), "retryMs": retry_ms });
    encode(Some("tidings.reconnect"), None, Some(retry_ms), &data.to_string())
}

fn encode(event: Option<&str>, position: Option<&Position>, retry_ms: Option<u64>, data: &str) -> Bytes {
    let mut buffer = BytesMut::with_capacity(data.len() + 96);
    if let Some(event) = event {
        put_field(&mut buffer, "event", format_args!("{event}"));
    }
    if let Some(position) = position {
        put_id(&mut buffer, position);
    }
    if let Some(retry_ms) = retry_ms {
        put_field(&mut buffer, "retry", format_args!("{retry_ms}"));
    }
    put_data(&mut buffer, data);
    buffer.put_u8(b'\n');
    buffer.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EntryId;

    fn text(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_forms_of_the_protocol() {
        let workspace = WorkspaceId::parse("acme").unwrap();
        let position = Position::logged(EntryId { milliseconds: 7, sequence: 0 });
        assert_eq!(text(&retry(1999)), "retry: 1999\n");
        let connection = "abcdefgh.3".parse().unwrap();
        let hello =
            r#"data: {"type":"connected","workspaceId":"acme","resumed":false,"connectionId":"abcdefgh.3"}"#;
        assert_eq!(
            text(&connected(&workspace, Some(&position), false, connection)),
            format!("id: 7-0\n{hello}\n\n")
        );
        assert_eq!(text(&connected(&workspace, None, false, connection)), format!("{hello}\n\n"));
        assert_eq!(
            text(&heartbeat(Some(&position), true)),
            "event: tidings.heartbeat\nid: 7-0\ndata: {\"live\":true}\n\n"
        );
        assert_eq!(
            text(&reset(ResetReason::Interrupted, Some("6-0"), &position)),
            "event: tidings.reset\nid: 7-0\ndata: {\"from\":\"6-0\",\"head\":\"7-0\",\"reason\":\"interrupted\"}\n\n"
        );
        assert_eq!(
            text(&reconnect(ReconnectReason::Lagging, 2100)),
            "event: tidings.reconnect\nretry: 2100\ndata: {\"reason\":\"lagging\",\"retryMs\":2100}\n\n"
        );
    }
}
