//! The node's own events: the `connected` event and all events named `tidings.*`. Each has a
//! `data:` field, because a browser dispatches no event without one (WHATWG HTML, section 9.2.6).

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Value, json};

use super::connection_id::ConnectionId;
use super::frame::{put_data, put_field, put_id};
use super::position::Position;
use super::schema_version::SchemaVersion;
use crate::workspace::WorkspaceId;

/// The reason for which a node ends a stream with `tidings.reconnect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReconnectReason {
    /// The bus did not confirm the workspace's subscription in time, or rejected it.
    Unavailable,
    /// The workspace's ring has overtaken the client.
    Lagging,
    /// The node drains.
    Draining,
    /// The node has reached a limit.
    Overloaded,
    /// The token of the stream is about to expire.
    Expired,
    /// A backend has disconnected the client.
    Disconnected,
    /// The app rejected the client when the node asked again.
    Unauthorized,
    /// The node cannot reach the app to verify the client.
    Unverified,
    /// The stream has reached the age limit.
    Aged,
}

impl ReconnectReason {
    /// All reasons, in the order of declaration.
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

    /// Returns the text in the event's data.
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

/// The reason for which events may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResetReason {
    /// The link to the bus was down.
    Interrupted,
    /// The node does not know the client's `Last-Event-ID`, or no longer.
    UnknownPosition,
    /// The log no longer reaches back to the known position: it was trimmed, expired or deleted.
    Trimmed,
    /// The log ends before the known position: a failover lost acknowledged events.
    RolledBack,
    /// The log could not be read.
    LogUnreadable,
    /// The client was disconnected from a workspace that also carries live events.
    LiveEvents,
    /// More events arrived during a read of the log than the node stores meanwhile.
    Overflow,
    /// An entry of the log has no payload; the node left it out.
    BadEntry,
    /// An event exceeds `limits.event_bytes`; the node dropped it.
    TooLarge,
    /// An event is not UTF-8; the node dropped it.
    NotUtf8,
    /// A message begins like an envelope and is none; the node dropped it.
    BadEnvelope,
    /// Events exceed `limits.events_per_second` or `limits.event_bytes_per_second`; the node
    /// dropped some.
    RateLimited,
}

impl ResetReason {
    /// All reasons, in the order of declaration.
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

    /// The reasons that come with an event that the node dropped or left out.
    pub const OF_DROPS: [Self; 5] =
        [Self::TooLarge, Self::NotUtf8, Self::BadEnvelope, Self::BadEntry, Self::RateLimited];

    /// Returns the text in the event's data.
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

/// Encodes the first bytes of a stream: the time in milliseconds after which the client reconnects.
///
/// They are a field of the block that follows. A blank line would make them a block without data,
/// which a browser ignores and other parsers dispatch as an empty message.
#[must_use]
pub fn retry(retry_ms: u64) -> Bytes {
    let mut buffer = BytesMut::with_capacity(24);
    put_field(&mut buffer, "retry", format_args!("{retry_ms}"));
    buffer.freeze()
}

/// Encodes the `connected` event. Without a position the client keeps the one that it has.
///
/// A later event reaches the client, or the client gets a reset. `heartbeat_ms` is the interval
/// of heartbeats, in milliseconds. A node without schemas has no version of them.
#[must_use]
pub fn connected(
    workspace: &WorkspaceId,
    position: Option<&Position>,
    resumed: bool,
    connection: ConnectionId,
    heartbeat_ms: u64,
    schemas: Option<SchemaVersion>,
) -> Bytes {
    let schemas = schemas.map(|version| format!(r#","schemas":"{version}""#)).unwrap_or_default();
    // The members have the order of the protocol's description; `json!` would sort them.
    let data = format!(
        r#"{{"type":"connected","workspaceId":"{workspace}","resumed":{resumed},"connectionId":"{connection}","heartbeatMs":{heartbeat_ms}{schemas}}}"#
    );
    encode(None, position, None, &data)
}

/// Encodes a heartbeat, which also moves the position of an idle client forward.
///
/// `live` is false while the subscription of the node is down.
#[must_use]
pub fn heartbeat(position: Option<&Position>, live: bool) -> Bytes {
    encode(Some("tidings.heartbeat"), position, None, &json!({ "live": live }).to_string())
}

/// Encodes a reset: events may be missing between `from` and `head`, so the client has to fetch its
/// state again.
#[must_use]
pub fn reset(reason: ResetReason, from: Option<&str>, head: &Position) -> Bytes {
    let data = json!({
        "reason": reason.as_str(),
        "from": from.map_or(Value::Null, Value::from),
        "head": head.to_string(),
    });
    encode(Some("tidings.reset"), Some(head), None, &data.to_string())
}

/// Encodes the last event of a stream. The client reconnects after `retry_ms` milliseconds.
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
    fn own_events_have_the_forms_of_the_protocol() {
        let workspace = WorkspaceId::parse("acme").unwrap();
        let position = Position::logged(EntryId { milliseconds: 7, sequence: 0 });
        assert_eq!(text(&retry(1999)), "retry: 1999\n");
        let connection = "abcdefgh.3".parse().unwrap();
        let connected_data = r#"data: {"type":"connected","workspaceId":"acme","resumed":false,"connectionId":"abcdefgh.3","heartbeatMs":15000}"#;
        assert_eq!(
            text(&connected(&workspace, Some(&position), false, connection, 15_000, None)),
            format!("id: 7-0\n{connected_data}\n\n")
        );
        assert_eq!(
            text(&connected(&workspace, None, false, connection, 15_000, None)),
            format!("{connected_data}\n\n")
        );
        let version = SchemaVersion::new([0x4f, 0xab, 0xdc, 0x9a, 0x58, 0x22, 0x46, 0x07]);
        let with_schemas = connected_data.replace("15000}", r#"15000,"schemas":"4fabdc9a58224607"}"#);
        assert_eq!(
            text(&connected(&workspace, None, false, connection, 15_000, Some(version))),
            format!("{with_schemas}\n\n")
        );
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
