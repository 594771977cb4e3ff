//! The limit that rejects a connection or a stream.

use std::fmt;

use tidings_hub::Full;
use tidings_limits::StreamBound;

/// The limit that a connection exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitExceeded {
    /// Connections in all.
    Connections,
    /// Connections of its address, or streams behind a proxy.
    Address,
    /// New connections each second.
    Rate,
}

impl LimitExceeded {
    /// All limits, in the order of declaration.
    pub const ALL: [Self; 3] = [Self::Connections, Self::Address, Self::Rate];

    /// The label in the metric.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Address => "connections-per-address",
            Self::Rate => "connects-per-second",
        }
    }
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connections => "the node has as many connections as it may: try again later",
            Self::Address => "this address has as many connections as it may: close one, or try again later",
            Self::Rate => "more clients connect at this moment than the node accepts: try again later",
        })
    }
}

/// The reasons for which a node counts refusals of connections, streams and bodies.
#[must_use]
pub fn refusal_reasons() -> Vec<&'static str> {
    let limits = LimitExceeded::ALL.map(LimitExceeded::reason).into_iter();
    let streams = StreamBound::ALL.map(StreamBound::as_str);
    let workspaces = [Full::Workspaces, Full::RingBytes].map(Full::as_str);
    limits.chain(streams).chain(workspaces).chain(["body-bytes"]).collect()
}
