//! What happened to one event: when it came, and the streams to which each node has written it.

use std::fmt;

use serde::Serialize;
use tokio::time::timeout;

use super::counted::counted;
use super::inquiry::{Inquiry, REPLY_TIME};
use super::question::QuestionSubject;
use super::reply::{NodeTrace, ReplyBody, TracePlace};
use super::responder::QuestionResponder;
use tidings_bus::Bus;
use tidings_event::log::Span;
use tidings_event::workspace::WorkspaceId;
use tidings_event::{EntryId, Position};

/// The trace of an event.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventTrace {
    /// The event id, as it was given.
    pub event: String,
    /// The workspace.
    pub workspace: String,
    /// `durable` or `live`.
    pub kind: &'static str,
    /// The time of a durable event in its log, in milliseconds since the Unix epoch, by the clock of
    /// the bus.
    pub at_ms: Option<u64>,
    /// The state of a durable event in its log.
    pub log: Option<LoggedEvent>,
    /// The sums of all nodes.
    pub total: TraceTotal,
    /// The nodes.
    pub nodes: Vec<TracedNode>,
    /// The nodes that announce themselves and did not reply within a second.
    pub silent: Vec<String>,
    /// The members of the sets that are no announcement or reply, or exceed a limit.
    pub unreadable: usize,
    /// The error of the bus, if it could not be asked.
    pub error: Option<String>,
    /// The result in words.
    pub summary: String,
}

impl EventTrace {
    /// Returns whether a node or the log has the event.
    #[must_use]
    pub fn is_found(&self) -> bool {
        let in_memory = self.nodes.iter().any(|node| node.trace.place == Some(TracePlace::Ring));
        in_memory || self.log.as_ref().is_some_and(|log| log.held == Some(true))
    }
}

/// A durable event in its log.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoggedEvent {
    /// Whether the log still has it; `None` if the log was not read.
    pub held: Option<bool>,
    /// The bytes of its payload.
    pub bytes: Option<usize>,
    /// Whether it is private.
    pub private: Option<bool>,
    /// The error of the log.
    pub error: Option<String>,
}

/// Streams of all nodes that replied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceTotal {
    /// Streams that were open when their node received the event, and to which it is written.
    pub written: usize,
    /// Further streams past it.
    pub past: usize,
    /// Streams to which it is still to be written.
    pub behind: usize,
    /// Streams that do not get it.
    pub hidden: usize,
}

impl TraceTotal {
    /// Adds the streams of a node. Another program can write any number into a reply.
    fn add(&mut self, trace: &NodeTrace) {
        self.written = self.written.saturating_add(trace.written);
        self.past = self.past.saturating_add(trace.past);
        self.behind = self.behind.saturating_add(trace.behind);
        self.hidden = self.hidden.saturating_add(trace.hidden);
    }
}

/// The reply of one node.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TracedNode {
    /// The id of the node.
    pub node: String,
    /// Its reply.
    #[serde(flatten)]
    pub trace: NodeTrace,
}

/// The reason for which an event cannot be traced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventTraceError {
    /// The text is no event id.
    #[error("`{0}` is not an event id, such as 1795373098811-0")]
    NotAnEvent(String),
    /// No node holds the event.
    #[error("no node that replied has this event in memory: name the workspace{0}")]
    NotFound(SilentNodes),
    /// Several workspaces have an event with this id.
    #[error("several workspaces have an event with this id: name one of {}", .0.join(", "))]
    Ambiguous(Vec<String>),
    /// No node was asked.
    #[error("the nodes could not be asked: {0}")]
    Bus(String),
}

/// Nodes without a reply, as a part of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilentNodes(Vec<String>);

impl fmt::Display for SilentNodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " (no reply from {})", self.0.join(", ")) }
    }
}

/// Traces an event. Without a workspace, the nodes that hold the event name it.
///
/// Returns within five seconds. Cancellation safe.
///
/// # Errors
///
/// Returns a [`EventTraceError`] that says what to name.
pub async fn trace(
    bus: &dyn Bus,
    own: Option<&QuestionResponder>,
    event: &str,
    workspace: Option<WorkspaceId>,
) -> Result<EventTrace, EventTraceError> {
    let event = event.trim();
    let position: Position = event.parse().map_err(|_| {
        let end = event.floor_char_boundary(200);
        EventTraceError::NotAnEvent(event[..end].to_owned())
    })?;
    let workspace = match workspace {
        Some(workspace) => workspace,
        None => find(bus, own, position).await?,
    };
    let subject = QuestionSubject::Trace { workspace: workspace.clone(), event: position };
    let (inquiry, log) = tokio::join!(Inquiry::ask(bus, subject, own), read(bus, &workspace, &position));
    let mut nodes = Vec::new();
    let mut total = TraceTotal::default();
    for reply in inquiry.replies {
        let ReplyBody::Trace(trace) = reply.body else { continue };
        total.add(&trace);
        nodes.push(TracedNode { node: reply.node, trace });
    }
    let mut traced = EventTrace {
        event: event.to_owned(),
        workspace: workspace.to_string(),
        kind: if position.live.is_some() { "live" } else { "durable" },
        at_ms: position.live.is_none().then_some(position.entry.milliseconds),
        log,
        total,
        nodes,
        silent: inquiry.silent,
        unreadable: inquiry.unreadable,
        error: inquiry.error,
        summary: String::new(),
    };
    traced.summary = summary(&traced, &position);
    Ok(traced)
}

/// Finds the workspace of an event.
async fn find(
    bus: &dyn Bus,
    own: Option<&QuestionResponder>,
    event: Position,
) -> Result<WorkspaceId, EventTraceError> {
    let inquiry = Inquiry::ask(bus, QuestionSubject::Find { event }, own).await;
    let mut found: Vec<String> = inquiry
        .replies
        .into_iter()
        .flat_map(|reply| match reply.body {
            ReplyBody::Found(found) => found,
            _ => Vec::new(),
        })
        .filter(|id| WorkspaceId::parse(id).is_ok())
        .collect();
    found.sort_unstable();
    found.dedup();
    match (&found[..], inquiry.error) {
        ([], Some(error)) => Err(EventTraceError::Bus(error)),
        ([], None) => Err(EventTraceError::NotFound(SilentNodes(inquiry.silent))),
        ([id], _) => WorkspaceId::parse(id).map_err(|_| EventTraceError::NotFound(SilentNodes(Vec::new()))),
        _ => Err(EventTraceError::Ambiguous(found)),
    }
}

/// Reads the entry of a durable event; `None` for a live one.
async fn read(bus: &dyn Bus, workspace: &WorkspaceId, event: &Position) -> Option<LoggedEvent> {
    if event.live.is_some() || event.entry == EntryId::ZERO {
        return None;
    }
    let span = Span::Held { entries: [event.entry, event.entry] };
    Some(match timeout(REPLY_TIME, bus.read_log(workspace, span, 2)).await {
        Ok(Ok(page)) => {
            let is_other =
                event.epoch.is_some_and(|epoch| page.record.is_some_and(|record| record.epoch != epoch));
            let entry = page.entries.iter().find(|entry| entry.id == event.entry && !is_other);
            LoggedEvent {
                held: Some(entry.is_some()),
                bytes: entry.and_then(|entry| Some(entry.payload.as_ref()?.len())),
                private: entry.map(|entry| entry.to.is_some()),
                error: None,
            }
        }
        Ok(Err(error)) => LoggedEvent { error: Some(error.to_string()), ..LoggedEvent::default() },
        Err(_) => {
            LoggedEvent { error: Some("the bus did not reply in time".to_owned()), ..LoggedEvent::default() }
        }
    })
}

/// Says the result in one or two sentences.
fn summary(trace: &EventTrace, event: &Position) -> String {
    let TraceTotal { written, past, behind, hidden } = trace.total;
    let holding = trace.nodes.iter().filter(|node| node.trace.place == Some(TracePlace::Ring)).count();
    let has = |place| trace.nodes.iter().any(|node| node.trace.place == Some(place));
    let held = trace.log.as_ref().and_then(|log| log.held);
    let mut text = if holding > 0 {
        format!(
            "The event is in the memory of {}. Open streams: {written} written, {behind} behind, {hidden} hidden, \
             {past} past.",
            counted(holding, "node")
        )
    } else if has(TracePlace::Older) {
        format!(
            "The event is older than the memory of the nodes, so they do not know the streams that were open then. \
             Open streams: {behind} behind, {past} past."
        )
    } else if has(TracePlace::NotYet) {
        match held {
            Some(true) => "The log has the event, and no node has received it yet.".to_owned(),
            _ => "No node has received an event as new as this one.".to_owned(),
        }
    } else if let Some(live) = event.live.filter(|_| has(TracePlace::OtherNode)) {
        format!(
            "Only node {} knows this live event by this id, and it did not say that it holds it.",
            live.node
        )
    } else if has(TracePlace::Missing) {
        "A node received events before and after it, and does not hold this one: it dropped the event, or the id is of another log."
            .to_owned()
    } else if trace.nodes.is_empty() {
        "No node replied.".to_owned()
    } else {
        "No node that replied holds the workspace: none of its streams is open there.".to_owned()
    };
    if trace.log.as_ref().is_some_and(|log| log.held == Some(false)) {
        text.push_str(" The log does not have it: it was removed, or never was there.");
    }
    if !trace.silent.is_empty() {
        text.push_str(&format!(" No reply within a second from {}.", trace.silent.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_of_replies_do_not_overflow() {
        let most = usize::MAX;
        let trace =
            NodeTrace { written: most, past: most, behind: most, hidden: most, ..NodeTrace::default() };
        let mut total = TraceTotal::default();
        total.add(&trace);
        total.add(&trace);
        assert_eq!(total, TraceTotal { written: most, past: most, behind: most, hidden: most });
    }
}
