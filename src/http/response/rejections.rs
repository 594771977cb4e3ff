//! The rejections whose series exist from the start of a node.

use super::refusal::RequestKind;

/// The rejections that clients cause often. Their series exist from the start of a node.
pub const REJECTIONS: [(&str, &[&str]); 7] = [
    (
        RequestKind::Stream.as_str(),
        &[
            "bad-workspace",
            "bad-query",
            "not-acceptable",
            "unauthenticated",
            "forbidden",
            "disconnected",
            "unverified",
            "overloaded",
            "unavailable",
        ],
    ),
    (
        RequestKind::Access.as_str(),
        &["bad-workspace", "bad-query", "unauthenticated", "forbidden", "disconnected", "unavailable"],
    ),
    (
        RequestKind::Position.as_str(),
        &[
            "bad-workspace",
            "bad-query",
            "unauthenticated",
            "forbidden",
            "disconnected",
            "log-unreadable",
            "unavailable",
        ],
    ),
    (
        RequestKind::Publication.as_str(),
        &[
            "bad-workspace",
            "bad-query",
            "bad-idempotency-key",
            "bad-envelope",
            "empty-event",
            "not-utf8",
            "broken-body",
            "unauthenticated",
            "forbidden",
            "disconnected",
            "origin-not-allowed",
            "body-timeout",
            "event-too-large",
            "batch-too-large",
            "unsupported-content-encoding",
            "schema-mismatch",
            "rate-limited",
            "refused-by-bus",
            "unavailable",
        ],
    ),
    (
        RequestKind::Ticket.as_str(),
        &[
            "bad-ticket-request",
            "bad-workspace",
            "broken-body",
            "unauthenticated",
            "forbidden",
            "disconnected",
            "origin-not-allowed",
            "rate-limited",
            "unavailable",
        ],
    ),
    (RequestKind::Console.as_str(), &["unauthenticated", "forbidden"]),
    (
        RequestKind::Any.as_str(),
        &["bad-host", "bad-transfer-encoding", "unknown-host", "head-too-large", "unknown-transfer-coding"],
    ),
];
