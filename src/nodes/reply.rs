//! Announcements and replies of nodes, as members of shared sets. Other programs can write to these
//! sets too, so each text is parsed and bounded.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use tidings_bus::MEMBER_BYTES_MAX;
use tidings_delivery::{StreamPhase, StreamReport, StreamWriter};
use tidings_event::{ConnectionId, NodeId, UserId};

/// Limits the texts of one reason, in bytes.
const REASON_BYTES_MAX: usize = 300;

/// Limits the reasons for which a node is not ready.
const REASONS_MAX: usize = 8;

/// An reply of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReply {
    /// The id of the node.
    pub node: String,
    /// The reply.
    #[serde(flatten)]
    pub body: ReplyBody,
}

/// The reply to one kind of question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReplyBody {
    /// The state of the node.
    Report(NodeReport),
    /// The workspaces that hold the event.
    Found(Vec<String>),
    /// The place of the event.
    Trace(NodeTrace),
    /// The streams of the client, and what rejects it.
    Explain(NodeExplanation),
}

/// The state of a node, which it announces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReport {
    /// The id of the node.
    pub node: String,
    /// The version of the program.
    pub version: String,
    /// The commit of the program.
    pub commit: String,
    /// The start of the node, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// Whether the node is ready.
    pub ready: bool,
    /// The reasons for which it is not.
    pub not_ready_because: Vec<String>,
    /// The open connections.
    pub connections: i64,
    /// The open streams.
    pub subscribers: i64,
    /// The workspaces that the node holds.
    pub workspaces: i64,
    /// The URL of its console, if the operator has set one.
    pub url: Option<String>,
}

/// The place of an event on a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeTrace {
    /// The place; `None` if the node does not hold the workspace.
    pub place: Option<TracePlace>,
    /// Whether the subscription of the node to the workspace is confirmed.
    pub confirmed: bool,
    /// The time at which the node appended the event to its ring, in milliseconds since the Unix
    /// epoch.
    pub received_ms: Option<u64>,
    /// The bytes of the payload, if the ring holds the event.
    pub bytes: Option<usize>,
    /// Whether the event is private, if the ring holds it.
    pub private: Option<bool>,
    /// Streams that were open when the node received the event, and to which it is written.
    pub written: usize,
    /// Further streams that are past it. For an event that the ring has dropped, all streams past it.
    pub past: usize,
    /// Streams to which it is still to be written.
    pub behind: usize,
    /// Streams that do not get it, by its audience or their types.
    pub hidden: usize,
    /// Some of the streams behind, those that lack the most first.
    pub slowest: Vec<StreamRow>,
}

/// The place of an event in the memory of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TracePlace {
    /// The ring holds it.
    Ring,
    /// It is older than the ring.
    Older,
    /// The node has received nothing so new.
    NotYet,
    /// The ring reaches from before it to after it, and does not hold it.
    Missing,
    /// It is a live event with an id that another node gave.
    OtherNode,
}

/// The streams of a client on a node, and what rejects or resets it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeExplanation {
    /// The reasons for which the node is not ready.
    pub not_ready_because: Vec<String>,
    /// Whether the subscription to the workspace is confirmed; `None` if the node does not hold it.
    pub confirmed: Option<bool>,
    /// The newest position of the workspace.
    pub head: Option<String>,
    /// Open streams of the node, the workspace, and the user, if one is named.
    pub open: StreamNumbers,
    /// Their limits on this node; 0 is none.
    pub limits: StreamNumbers,
    /// The end of a ban of the client, in milliseconds since the Unix epoch.
    pub banned_until_ms: Option<u64>,
    /// What a client gets that continues after the position.
    pub resumption: Option<ResumptionReport>,
    /// Streams of the client: those that lack the most first.
    pub streams: Vec<StreamRow>,
    /// The number of streams that the list leaves out.
    pub left_out: usize,
    /// The last rejected requests of the client, the newest first.
    pub refusals: Vec<RefusalRow>,
}

/// Numbers of streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamNumbers {
    /// Of the node.
    pub node: usize,
    /// Of the workspace.
    pub workspace: usize,
    /// Of the user.
    pub user: usize,
}

/// What a client gets that continues after a position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResumptionReport {
    /// The source of the events after it.
    pub from: ResumptionSource,
    /// The reason of the reset, or the error of the log.
    pub reason: Option<String>,
}

/// The source of the events after a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ResumptionSource {
    /// The memory of the node.
    Ring,
    /// The log.
    Log,
    /// A reset: events may be missing.
    Reset,
    /// The log was not read.
    Unread,
}

/// One open stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamRow {
    /// Its connection id.
    pub connection: String,
    /// Its user.
    pub user: Option<String>,
    /// The other end of the connection.
    pub address: String,
    /// The client address, as trusted proxies report it.
    pub client: String,
    /// Its age.
    pub seconds: u64,
    /// The position up to which the client has everything.
    pub position: Option<String>,
    /// The events that it lacks.
    pub events_behind: Option<u64>,
    /// The bytes that it lacks.
    pub bytes_behind: Option<u64>,
    /// The events that were written to it.
    pub events: u64,
    /// The bytes that were written to it.
    pub bytes: u64,
    /// Its writer: `engine` or `HTTP server`.
    pub writer: String,
    /// Its phase: `catching up`, `following` or `ending`.
    pub phase: String,
    /// Whether it asks for some event types alone.
    pub filtered: bool,
    /// These types, if the node shows payloads.
    pub types: Option<Vec<String>>,
}

/// A rejected request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusalRow {
    /// Its time, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Its kind.
    pub request: String,
    /// The reason.
    pub reason: String,
    /// The check that failed, or the limit.
    pub check: Option<String>,
    /// The status of the response.
    pub status: u16,
    /// The user, if it is known.
    pub user: Option<String>,
    /// The client address.
    pub client: String,
}

impl NodeReply {
    /// Encodes the reply in at most [`MEMBER_BYTES_MAX`] bytes. Lists get shorter until it fits.
    pub(super) fn encode(mut self) -> Bytes {
        loop {
            let bytes = encode(&self);
            if bytes.len() <= MEMBER_BYTES_MAX || !self.body.halve() {
                return bytes;
            }
        }
    }

    /// Parses a member of the set. Returns `None` for another form, or a text that is no node id.
    pub(super) fn parse(member: &[u8]) -> Option<Self> {
        let reply: Self = serde_json::from_slice(member).ok()?;
        reply.node.parse::<NodeId>().is_ok().then_some(reply)
    }
}

impl ReplyBody {
    /// Halves the longest list; returns whether there was one.
    fn halve(&mut self) -> bool {
        match self {
            Self::Report(report) => halve(&mut report.not_ready_because) > 0,
            Self::Found(workspaces) => halve(workspaces) > 0,
            Self::Trace(trace) => halve(&mut trace.slowest) > 0,
            Self::Explain(node) => {
                let streams = halve(&mut node.streams);
                node.left_out += streams;
                streams + halve(&mut node.refusals) > 0
            }
        }
    }
}

/// Halves a list; returns the number of dropped elements.
fn halve<T>(list: &mut Vec<T>) -> usize {
    let before = list.len();
    list.truncate(before / 2);
    before - list.len()
}

impl NodeReport {
    /// Encodes the announcement.
    pub(super) fn encode(&self) -> Bytes {
        encode(self)
    }

    /// Parses an announcement. Returns `None` for another form.
    pub(super) fn parse(member: &[u8]) -> Option<Self> {
        let report: Self = serde_json::from_slice(member).ok()?;
        report.node.parse::<NodeId>().is_ok().then_some(report)
    }
}

fn encode(document: &impl Serialize) -> Bytes {
    // Maps with texts as keys alone, so this never fails.
    serde_json::to_vec(document).unwrap_or_default().into()
}

/// Bounds the reasons for which a node is not ready.
pub(super) fn bounded(reasons: Vec<String>) -> Vec<String> {
    let cut = |mut text: String| {
        text.truncate(text.floor_char_boundary(REASON_BYTES_MAX));
        text
    };
    reasons.into_iter().take(REASONS_MAX).map(cut).collect()
}

impl StreamRow {
    /// The row of a stream. `types`: whether it shows the types that the stream asks for.
    #[must_use]
    pub fn new(stream: &StreamReport, types: bool) -> Self {
        Self {
            connection: ConnectionId::to_string(&stream.connection),
            user: stream.user.as_ref().map(|user| UserId::as_str(user).to_owned()),
            address: stream.address.to_string(),
            client: stream.client.to_string(),
            seconds: stream.age.as_secs(),
            position: stream.position.map(|position| position.to_string()),
            events_behind: stream.events_behind,
            bytes_behind: stream.bytes_behind,
            events: stream.events,
            bytes: stream.bytes,
            writer: match stream.writer {
                StreamWriter::Engine => "engine",
                StreamWriter::Body => "HTTP server",
            }
            .to_owned(),
            phase: match stream.phase {
                StreamPhase::CatchingUp => "catching up",
                StreamPhase::Following => "following",
                StreamPhase::Ending => "ending",
            }
            .to_owned(),
            filtered: stream.types.is_some(),
            types: stream.types.clone().filter(|_| types),
        }
    }
}

#[cfg(test)]
mod tests;
