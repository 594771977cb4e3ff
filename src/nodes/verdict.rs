//! The sentence at the end of an explanation. It names the first cause that explains a client
//! without events, in the order in which a node would find it.

use super::counted::counted;
use super::explain::{ClientExplanation, ExplainedNode, TOKEN_UNCHECKED};
use super::reply::{NodeExplanation, ResumptionSource, StreamNumbers, StreamRow};
use super::ticket::TicketVerdict;

/// The events that a stream may lack and still be served: a write may be under way.
const BEHIND_USUAL: u64 = 10;

/// Returns the verdict.
pub(super) fn of(explanation: &ClientExplanation) -> String {
    let mut text = String::new();
    if let Some(ticket) = &explanation.ticket {
        text = of_ticket(ticket);
        // Nothing is known about the client but a ticket that says nothing. Without authentication,
        // or if the app decides, the client may be served all the same.
        let is_only_way = explanation.token.is_none() && explanation.unchecked == Some(TOKEN_UNCHECKED);
        if explanation.user.is_none() && ticket.permitted != Some(true) && is_only_way {
            return text + &silent(explanation);
        }
        text.push(' ');
    }
    let cause = refused_token(explanation)
        .or_else(|| banned(explanation))
        .or_else(|| unreplied(explanation))
        .or_else(|| served(explanation))
        .or_else(|| not_ready(explanation))
        .or_else(|| full(explanation))
        .or_else(|| refused_request(explanation));
    text.push_str(&cause.unwrap_or_else(|| unknown_cause(explanation)));
    if let Some(reset) = reset(explanation) {
        text.push(' ');
        text.push_str(&reset);
    }
    text + &silent(explanation)
}

/// Names the nodes whose streams are not counted.
fn silent(explanation: &ClientExplanation) -> String {
    if explanation.silent.is_empty() {
        return String::new();
    }
    format!(
        " Streams of {} are not counted, because there was no reply within a second.",
        explanation.silent.join(", ")
    )
}

/// Says what a ticket would do. It decides alone only if it is valid.
fn of_ticket(ticket: &TicketVerdict) -> String {
    let fault = ticket.fault.as_deref().unwrap_or_default();
    match (ticket.permitted, ticket.until_ms) {
        (Some(true), Some(until)) => format!("The ticket opens one stream until {}.", time(until)),
        (Some(true), None) => "The ticket opens one stream.".to_owned(),
        (Some(false), _) => format!("The ticket opens no stream: {fault}."),
        (None, _) => format!("The ticket was not checked: {fault}."),
    }
}

/// A client without a stream that nothing rejects.
fn unknown_cause(explanation: &ClientExplanation) -> String {
    let client = client(explanation);
    match explanation.unchecked {
        None => format!(
            "{client} has no open stream, and nothing here rejects one: its requests do not reach a node. \
             Check the URL, the proxy and the CORS origins."
        ),
        Some(unchecked) => format!(
            "{client} has no open stream, and nothing here rejects one. {unchecked} Otherwise its requests do \
             not reach a node: check the URL, the proxy and the CORS origins."
        ),
    }
}

fn client(explanation: &ClientExplanation) -> String {
    let workspace = &explanation.workspace;
    match &explanation.user {
        Some(user) => format!("User {user:?} of {workspace}"),
        None => format!("A client of {workspace}"),
    }
}

/// A refused token is the cause, unless a ticket counts before it or the app decides after it.
fn refused_token(explanation: &ClientExplanation) -> Option<String> {
    if explanation.ticket.as_ref().is_some_and(|ticket| ticket.permitted == Some(true)) {
        return None;
    }
    let token = explanation.token.as_ref().filter(|token| !token.permitted && !token.app_decides)?;
    let check = token.refused_by.as_deref().unwrap_or("token");
    let refusal = token.refusal.as_deref().unwrap_or_default();
    Some(format!("The client gets nothing, because the check `{check}` refuses its token: {refusal}."))
}

fn banned(explanation: &ClientExplanation) -> Option<String> {
    let until = explanation.nodes.iter().filter_map(|node| node.reply.banned_until_ms).max()?;
    let until = time(until);
    Some(format!("The client gets nothing, because a ban rejects it until {until}."))
}

fn unreplied(explanation: &ClientExplanation) -> Option<String> {
    if !explanation.nodes.is_empty() {
        return None;
    }
    Some(match &explanation.error {
        Some(error) => format!("No node could be asked: {error}."),
        None => {
            "No node replied, so no node serves the client, or all use another Redis or prefix.".to_owned()
        }
    })
}

fn served(explanation: &ClientExplanation) -> Option<String> {
    let streams = || {
        let of_node = |node: &'_ ExplainedNode| {
            let id = node.node.clone();
            node.reply.streams.iter().map(move |stream| (id.clone(), stream.clone())).collect::<Vec<_>>()
        };
        explanation.nodes.iter().flat_map(of_node)
    };
    let all: Vec<(String, StreamRow)> = streams().collect();
    // The number is unknown for a stream that reads the log, or ends.
    let slowest = all.iter().max_by_key(|(_, stream)| stream.events_behind.unwrap_or(u64::MAX))?;
    let client = client(explanation);
    let left_out = explanation.nodes.iter().map(|node| node.reply.left_out);
    let number = left_out.fold(all.len(), usize::saturating_add);
    let is_held = |node: &ExplainedNode| !node.reply.streams.is_empty() && node.reply.confirmed != Some(true);
    if let Some(node) = explanation.nodes.iter().find(|node| is_held(node)) {
        let because = because(&node.reply);
        return Some(format!(
            "{client} has a stream on node {}, which waits for the bus and gets no events{because}.",
            node.node
        ));
    }
    let (node, stream) = slowest;
    let Some(lacks) = stream.events_behind else {
        return Some(format!(
            "{client} has {}, and stream {} on node {node} is {}: it has not got all events.",
            counted(number, "open stream"),
            stream.connection,
            stream.phase
        ));
    };
    if lacks > BEHIND_USUAL {
        return Some(format!(
            "{client} has {}, and stream {} on node {node} lacks {lacks} events: \
             the client or a proxy reads them too slowly.",
            counted(number, "open stream"),
            stream.connection
        ));
    }
    let filtered = all.iter().filter(|(_, stream)| stream.filtered).count();
    if filtered > 0 {
        return Some(format!(
            "{client} is served by {} with all events, of which {filtered} with a choice of event types.",
            counted(number, "open stream")
        ));
    }
    Some(format!("{client} is served by {} with all events.", counted(number, "open stream")))
}

fn not_ready(explanation: &ClientExplanation) -> Option<String> {
    let mut nodes = explanation.nodes.iter();
    let all_unready = nodes.all(|node| !node.reply.not_ready_because.is_empty());
    let first = explanation.nodes.first().filter(|_| all_unready)?;
    let because = because(&first.reply);
    Some(format!("The client gets nothing, because no node that replied is ready{because}."))
}

fn because(node: &NodeExplanation) -> String {
    node.not_ready_because.first().map_or_else(String::new, |reason| format!(": {reason}"))
}

fn full(explanation: &ClientExplanation) -> Option<String> {
    let is_full = |open: usize, limit: usize| limit > 0 && open >= limit;
    let limit = |node: &NodeExplanation| {
        let (StreamNumbers { node: all, workspace, user }, limits) = (node.open, node.limits);
        if is_full(all, limits.node) {
            Some("limits.connections")
        } else if is_full(workspace, limits.workspace) {
            Some("limits.connections_per_workspace")
        } else if is_full(user, limits.user) {
            Some("limits.connections_per_user")
        } else {
            None
        }
    };
    let full: Vec<_> =
        explanation.nodes.iter().filter_map(|node| Some((node, limit(&node.reply)?))).collect();
    let (_, limit) = full.first().filter(|_| full.len() == explanation.nodes.len())?;
    Some(format!(
        "The client gets nothing, because each node is at {limit}: a new stream is told to come later."
    ))
}

fn refused_request(explanation: &ClientExplanation) -> Option<String> {
    let refusals = explanation.nodes.iter().flat_map(|node| &node.reply.refusals);
    let last =
        refusals.filter(|refusal| is_of_stream(&refusal.request)).max_by_key(|refusal| refusal.at_ms)?;
    let check = last.check.as_ref().map_or_else(String::new, |check| format!(", check `{check}`"));
    Some(format!(
        "{} has no open stream, and the last request for one was rejected at {} with {} ({}{check}).",
        client(explanation),
        time(last.at_ms),
        last.status,
        last.reason
    ))
}

fn is_of_stream(request: &str) -> bool {
    matches!(request, "stream" | "access")
}

/// Says that the position leads to a reset.
fn reset(explanation: &ClientExplanation) -> Option<String> {
    explanation.last_event_id.as_ref()?;
    let resumptions: Vec<_> =
        explanation.nodes.iter().filter_map(|node| node.reply.resumption.as_ref()).collect();
    let reset = resumptions.iter().find(|resumption| resumption.from == ResumptionSource::Reset)?;
    let reason = reset.reason.as_deref().unwrap_or_default();
    let is_on_all = resumptions.iter().all(|resumption| resumption.from == ResumptionSource::Reset);
    let place = if is_on_all { "" } else { " on some nodes" };
    Some(format!(
        "After its position a client gets `tidings.reset` ({reason}){place}, and has to fetch its state again."
    ))
}

/// A time as RFC 3339.
fn time(milliseconds: u64) -> String {
    let milliseconds = i64::try_from(milliseconds).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(milliseconds).map(|time| format!("{time:.0}")).unwrap_or_default()
}

#[cfg(test)]
mod tests;
