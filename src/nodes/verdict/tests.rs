use super::super::explain::TokenVerdict;
use super::super::reply::{RefusalRow, ResumptionReport};
use super::*;

fn stream(events_behind: u64) -> StreamRow {
    StreamRow {
        connection: "abcdefgh.1".to_owned(),
        user: Some("ann".to_owned()),
        address: "127.0.0.1:1".to_owned(),
        client: "127.0.0.1".to_owned(),
        seconds: 1,
        position: None,
        events_behind: Some(events_behind),
        bytes_behind: None,
        events: 0,
        bytes: 0,
        writer: "engine".to_owned(),
        phase: "following".to_owned(),
        filtered: false,
        types: None,
    }
}

fn explained(nodes: Vec<NodeExplanation>) -> ClientExplanation {
    ClientExplanation {
        workspace: "acme".to_owned(),
        user: Some("ann".to_owned()),
        nodes: nodes
            .into_iter()
            .enumerate()
            .map(|(number, reply)| ExplainedNode { node: format!("nodenum{number}"), reply })
            .collect(),
        ..ClientExplanation::default()
    }
}

fn serving(events_behind: u64) -> NodeExplanation {
    NodeExplanation {
        confirmed: Some(true),
        streams: vec![stream(events_behind)],
        ..NodeExplanation::default()
    }
}

/// The first cause in the order of a node is the one that the sentence names.
#[test]
fn verdict_names_the_first_cause() {
    let refused = TokenVerdict {
        refused_by: Some("expiry".to_owned()),
        refusal: Some("the token has expired".to_owned()),
        ..TokenVerdict::default()
    };
    let banned = NodeExplanation { banned_until_ms: Some(1_000), ..serving(0) };
    let token = ClientExplanation { token: Some(refused), ..explained(vec![banned.clone()]) };
    let texts = [
        of(&token),
        of(&explained(vec![banned])),
        of(&explained(vec![])),
        of(&explained(vec![serving(500), serving(0)])),
        of(&explained(vec![serving(0)])),
        of(&explained(vec![NodeExplanation { confirmed: Some(false), ..serving(0) }])),
        of(&explained(vec![NodeExplanation::default()])),
    ];
    let beginnings = [
        "The client gets nothing, because the check `expiry` refuses its token: the token has expired.",
        "The client gets nothing, because a ban rejects it until 1970-01-01T00:00:01Z.",
        "No node replied",
        "User \"ann\" of acme has 2 open streams, and stream abcdefgh.1 on node nodenum0 lacks 500 events",
        "User \"ann\" of acme is served by 1 open stream with all events",
        "User \"ann\" of acme has a stream on node nodenum0, which waits for the bus",
        "User \"ann\" of acme has no open stream, and nothing here rejects one",
    ];
    for (text, beginning) in texts.iter().zip(beginnings) {
        assert!(text.starts_with(beginning), "{text:?} begins with {beginning:?}");
    }
}

#[test]
fn verdict_names_limits_and_rejected_requests() {
    let full = NodeExplanation {
        open: StreamNumbers { node: 5, workspace: 3, user: 2 },
        limits: StreamNumbers { node: 10, workspace: 0, user: 2 },
        ..NodeExplanation::default()
    };
    assert!(of(&explained(vec![full.clone()])).contains("limits.connections_per_user"));
    assert!(!of(&explained(vec![full, NodeExplanation::default()])).contains("limits."));
    let refusal = |request: &str, status| RefusalRow {
        at_ms: 1000 + u64::from(status),
        request: request.to_owned(),
        reason: "unauthenticated".to_owned(),
        check: Some("expiry".to_owned()),
        status,
        user: None,
        client: "::1".to_owned(),
    };
    let refusals = vec![refusal("publication", 403), refusal("stream", 401)];
    let text = of(&explained(vec![NodeExplanation { refusals, ..NodeExplanation::default() }]));
    assert!(
        text.contains("rejected at 1970-01-01T00:00:01Z with 401 (unauthenticated, check `expiry`)"),
        "{text}"
    );
}

#[test]
fn verdict_adds_the_reset_and_the_silent_nodes() {
    let reset = ResumptionReport { from: ResumptionSource::Reset, reason: Some("trimmed".to_owned()) };
    let resuming = NodeExplanation { resumption: Some(reset), ..serving(0) };
    let explanation = ClientExplanation {
        last_event_id: Some("1-0".to_owned()),
        silent: vec!["abcdefgh".to_owned()],
        ..explained(vec![resuming])
    };
    let text = of(&explanation);
    assert!(text.contains("`tidings.reset` (trimmed), and"), "{text}");
    assert!(text.contains("Streams of abcdefgh are not counted"), "{text}");
}

/// A stream that reads the log lacks an unknown number of events.
#[test]
fn stream_that_catches_up_is_not_served() {
    let catching_up = StreamRow { events_behind: None, phase: "catching up".to_owned(), ..stream(0) };
    let node = NodeExplanation { streams: vec![stream(3), catching_up], ..serving(0) };
    let text = of(&explained(vec![node]));
    assert!(
        text.contains("has 2 open streams, and stream abcdefgh.1 on node nodenum0 is catching up"),
        "{text}"
    );
}

#[test]
fn app_may_accept_a_client_whose_token_is_refused() {
    let refused =
        TokenVerdict { refused_by: Some("expiry".to_owned()), app_decides: true, ..TokenVerdict::default() };
    let text = of(&ClientExplanation { token: Some(refused), ..explained(vec![serving(0)]) });
    assert!(text.contains("is served by 1 open stream"), "{text}");
}

/// Replies come from a store that others may write to.
#[test]
fn large_numbers_of_replies_do_not_overflow() {
    let node = NodeExplanation { left_out: usize::MAX, ..serving(0) };
    assert!(of(&explained(vec![node.clone(), node])).contains("is served by"));
}

fn ticket(permitted: Option<bool>, fault: Option<&str>) -> TicketVerdict {
    TicketVerdict {
        permitted,
        fault: fault.map(str::to_owned),
        workspace: None,
        user: None,
        until_ms: permitted.filter(|permitted| *permitted).map(|_| 1_000),
        stream_until_ms: None,
    }
}

/// A used ticket is not known any more, and its stream may be open.
#[test]
fn refused_ticket_says_nothing_about_its_user() {
    let used = ticket(Some(false), Some("it is used"));
    let unchecked = Some(TOKEN_UNCHECKED);
    let only = ClientExplanation {
        user: None,
        ticket: Some(used.clone()),
        unchecked,
        ..explained(vec![serving(0)])
    };
    assert_eq!(of(&only), "The ticket opens no stream: it is used.");
    let without_authentication = ClientExplanation { unchecked: None, ..only };
    let text = of(&without_authentication);
    assert!(text.contains("it is used. A client of acme is served"), "{text}");
    let named = ClientExplanation { ticket: Some(used), ..explained(vec![serving(0)]) };
    let text = of(&named);
    assert!(
        text.starts_with("The ticket opens no stream: it is used. User \"ann\" of acme is served"),
        "{text}"
    );
    let unread = ticket(None, Some("no link"));
    let unread = ClientExplanation { user: None, ticket: Some(unread), unchecked, ..explained(vec![]) };
    assert_eq!(of(&unread), "The ticket was not checked: no link.");
}

#[test]
fn valid_ticket_goes_on_to_bans_and_limits() {
    let banned = NodeExplanation { banned_until_ms: Some(2_000), ..NodeExplanation::default() };
    let valid = ticket(Some(true), None);
    let text = of(&ClientExplanation { ticket: Some(valid), ..explained(vec![banned]) });
    assert_eq!(
        text,
        "The ticket opens one stream until 1970-01-01T00:00:01Z. The client gets nothing, because a ban rejects \
         it until 1970-01-01T00:00:02Z."
    );
}

/// A node looks at the ticket first.
#[test]
fn refused_token_beside_a_valid_ticket_is_no_cause() {
    let refused = TokenVerdict { refused_by: Some("expiry".to_owned()), ..TokenVerdict::default() };
    let both = ClientExplanation {
        token: Some(refused),
        ticket: Some(ticket(Some(true), None)),
        ..explained(vec![serving(0)])
    };
    assert!(of(&both).contains("is served by 1 open stream"), "{}", of(&both));
}

#[test]
fn check_that_was_not_made_is_named() {
    let unchecked = Some("The app may reject it.");
    let text = of(&ClientExplanation { unchecked, ..explained(vec![NodeExplanation::default()]) });
    assert!(
        text.contains("nothing here rejects one. The app may reject it. Otherwise its requests"),
        "{text}"
    );
}

#[test]
fn nodes_that_are_not_ready_are_the_cause() {
    let unready = || NodeExplanation {
        not_ready_because: vec!["the bus has no link".to_owned()],
        ..NodeExplanation::default()
    };
    let text = of(&explained(vec![unready(), unready()]));
    assert!(text.contains("no node that replied is ready: the bus has no link."), "{text}");
    let text = of(&explained(vec![unready(), NodeExplanation::default()]));
    assert!(!text.contains("ready"), "one of them would serve it: {text}");
}

#[test]
fn newest_rejected_request_is_named() {
    let refusal = |at_ms, status| RefusalRow {
        at_ms,
        request: "stream".to_owned(),
        reason: "forbidden".to_owned(),
        check: None,
        status,
        user: None,
        client: "::1".to_owned(),
    };
    let with = |refusals| NodeExplanation { refusals, ..NodeExplanation::default() };
    let nodes = vec![with(vec![refusal(2_000, 401), refusal(1_000, 400)]), with(vec![refusal(3_000, 403)])];
    let text = of(&explained(nodes));
    assert!(text.contains("rejected at 1970-01-01T00:00:03Z with 403 (forbidden)"), "{text}");
}
