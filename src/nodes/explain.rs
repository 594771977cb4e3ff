//! Why a client gets nothing: the checks of its token, its bans and limits, its position, and its
//! streams on all nodes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::inquiry::Inquiry;
use super::question::QuestionSubject;
use super::reply::{NodeExplanation, ReplyBody};
use super::responder::QuestionResponder;
use super::ticket::{ReadTicket, TicketVerdict};
use super::verdict;
use tidings_auth::Action;
use tidings_auth::jwt::Verifier;
use tidings_auth::scope::Pattern;
use tidings_bus::Bus;
use tidings_event::workspace::WorkspaceId;
use tidings_event::{Identity, Position, UserId};

/// The rules by which a broker authenticates clients.
#[derive(Debug, Clone, Default)]
pub struct ExplainRules {
    /// Whether clients have to authenticate.
    pub authenticated: bool,
    /// Whether tokens are a method of authentication.
    pub tokens: bool,
    /// Checks tokens; `None` if they are no method, or none is given.
    pub verifier: Option<Arc<Verifier>>,
    /// Whether the app decides about clients.
    pub forward: bool,
    /// Whether the bus has the tickets. Those of an embedded bus are in its node alone.
    pub tickets: bool,
}

/// A client to explain. Only the program that explains it sees the token.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ExplainRequest {
    /// The workspace. A ticket names its own, if this is empty.
    #[serde(default)]
    pub workspace: String,
    /// The user id.
    pub user: Option<String>,
    /// The token.
    pub token: Option<String>,
    /// The ticket.
    pub ticket: Option<String>,
    /// The position after which the client continues.
    pub last_event_id: Option<String>,
}

impl std::fmt::Debug for ExplainRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the token and the ticket.
        f.debug_struct("ExplainRequest").field("workspace", &self.workspace).finish_non_exhaustive()
    }
}

/// The explanation of a client.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientExplanation {
    /// The workspace.
    pub workspace: String,
    /// The user: that of the token, or the named one.
    pub user: Option<String>,
    /// The checks of the token, if there is one.
    pub token: Option<TokenVerdict>,
    /// What the ticket would do, if there is one.
    pub ticket: Option<TicketVerdict>,
    /// What this kind of authentication leaves open.
    pub note: Option<String>,
    /// The check of the client that could not be made here, as a sentence.
    pub unchecked: Option<&'static str>,
    /// The position after which the client continues.
    pub last_event_id: Option<String>,
    /// The nodes.
    pub nodes: Vec<ExplainedNode>,
    /// The nodes that announce themselves and did not reply within a second.
    pub silent: Vec<String>,
    /// The members of the sets that are no announcement or reply, or exceed a limit.
    pub unreadable: usize,
    /// The error of the bus, if it could not be asked.
    pub error: Option<String>,
    /// The sentence that says why the client gets nothing, or that it is served.
    pub verdict: String,
}

/// The text for which nodes are asked in place of one that is no position.
const NO_POSITION: &str = "?";

/// The checks of a token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenVerdict {
    /// Whether the token permits the stream.
    pub permitted: bool,
    /// The checks, in order.
    pub checks: Vec<TokenCheck>,
    /// The name of the check that refuses it.
    pub refused_by: Option<String>,
    /// The text of the refusal.
    pub refusal: Option<String>,
    /// Whether the app decides about a client whose token is refused.
    pub app_decides: bool,
}

/// One check of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenCheck {
    /// The name of the check.
    pub check: String,
    /// What it looked at.
    pub seen: String,
    /// The fault; `None` if it passed.
    pub fault: Option<String>,
}

/// The reply of one node.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedNode {
    /// The id of the node.
    pub node: String,
    /// Its reply.
    #[serde(flatten)]
    pub reply: NodeExplanation,
}

/// The reason for which a request cannot be explained.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ExplainError(String);

/// Explains a client. Opens no stream and uses up no ticket.
///
/// Returns within three seconds, and the time of the token's keys. Cancellation safe.
///
/// # Errors
///
/// Returns the part of the request that is not valid.
pub async fn explain(
    bus: &dyn Bus,
    own: Option<&QuestionResponder>,
    rules: &ExplainRules,
    request: &ExplainRequest,
) -> Result<ClientExplanation, ExplainError> {
    let ticket = match given(request.ticket.as_deref()) {
        Some(text) => Some(ReadTicket::read(rules.tickets.then_some(bus), text).await),
        None => None,
    };
    let workspace = workspace(&request.workspace, ticket.as_ref())?;
    let named = request.user.as_deref().filter(|user| !user.is_empty()).map(UserId::parse).transpose();
    let named = named.map_err(|error| ExplainError(format!("user: {error}")))?;
    let (token, mut identity) = match (given(request.token.as_deref()), &rules.verifier) {
        (Some(token), Some(verifier)) => {
            let (verdict, identity) = check(verifier, token, &workspace).await;
            (Some(TokenVerdict { app_decides: rules.forward, ..verdict }), identity)
        }
        _ => (None, Identity::default()),
    };
    let ticket = ticket.map(|ticket| ticket.decide(&workspace));
    let ticket = ticket.map(|(verdict, of_ticket)| {
        // A node looks at the ticket first.
        if verdict.permitted == Some(true) {
            identity = of_ticket;
        }
        verdict
    });
    let is_proven = token.as_ref().is_some_and(|token| token.permitted)
        || ticket.as_ref().is_some_and(|ticket| ticket.permitted == Some(true));
    let note = note(rules, request.token.is_some(), named.as_ref(), &identity, is_proven);
    let unchecked = unchecked(rules, is_proven);
    // A token or ticket without a user opens a stream without one.
    let user = identity.user.or(named.filter(|_| !is_proven));
    let after = request.last_event_id.clone().filter(|id| !id.is_empty());
    // A text that is no position may be a secret, such as a ticket. Nodes treat all of them alike.
    let asked = after.as_ref().map(|text| match text.parse::<Position>() {
        Ok(_) => text.clone(),
        Err(_) => NO_POSITION.to_owned(),
    });
    let subject = QuestionSubject::Explain {
        workspace: workspace.clone(),
        user: user.clone(),
        token: identity.token,
        after: asked,
    };
    let inquiry = Inquiry::ask(bus, subject, own).await;
    let nodes = inquiry.replies.into_iter().filter_map(|reply| match reply.body {
        ReplyBody::Explain(body) => Some(ExplainedNode { node: reply.node, reply: body }),
        _ => None,
    });
    let mut explanation = ClientExplanation {
        workspace: workspace.to_string(),
        user: user.map(|user| user.as_str().to_owned()),
        token,
        ticket,
        note,
        unchecked,
        last_event_id: after,
        nodes: nodes.collect(),
        silent: inquiry.silent,
        unreadable: inquiry.unreadable,
        error: inquiry.error,
        verdict: String::new(),
    };
    explanation.verdict = verdict::of(&explanation);
    Ok(explanation)
}

/// A text that is given, without blanks around it.
fn given(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

/// The workspace of a request, or of its ticket if the request names none.
fn workspace(named: &str, ticket: Option<&ReadTicket>) -> Result<WorkspaceId, ExplainError> {
    match ticket.filter(|_| named.is_empty()) {
        Some(ticket) => ticket.workspace().cloned().ok_or_else(|| {
            let fault = ticket.fault().unwrap_or_default();
            ExplainError(format!("{fault}: name the workspace, and the user, to explain the client"))
        }),
        None => WorkspaceId::parse(named).map_err(|error| ExplainError(error.to_string())),
    }
}

/// Why a client without a valid token or ticket may be rejected all the same.
pub(super) const TOKEN_UNCHECKED: &str = "Its token may be refused: none was given that could be checked.";

/// Says which check of the client cannot be made here.
fn unchecked(rules: &ExplainRules, is_proven: bool) -> Option<&'static str> {
    match (rules.authenticated && !is_proven, rules.forward) {
        (false, _) => None,
        (true, true) => {
            Some("The app may reject it: it decides by the headers of a request, which are not known here.")
        }
        (true, false) => Some(TOKEN_UNCHECKED),
    }
}

/// Says what the method of authentication leaves open.
fn note(
    rules: &ExplainRules,
    has_token: bool,
    named: Option<&UserId>,
    identity: &Identity,
    is_proven: bool,
) -> Option<String> {
    if named.is_some() && (identity.user.is_some() || is_proven) && named != identity.user.as_ref() {
        return Some("The named user does not count: that of the token or ticket does.".to_owned());
    }
    match (rules.tokens, rules.forward) {
        (false, true) => {
            Some("The app decides about clients (auth.mode forward), so no token is checked here.".to_owned())
        }
        (true, true) => Some("The app decides about a client whose token is refused (auth.mode).".to_owned()),
        (false, false) if has_token => Some(
            "Tokens are no method of authentication here (auth.mode), so the token is not checked."
                .to_owned(),
        ),
        _ => None,
    }
}

/// Checks a token step by step. Returns its user and id too, if the token is valid.
async fn check(verifier: &Verifier, token: &str, workspace: &WorkspaceId) -> (TokenVerdict, Identity) {
    let explained = verifier.explain(token).await;
    let mut verdict = TokenVerdict::default();
    for step in explained.steps {
        verdict.checks.push(TokenCheck {
            check: step.reason.as_str().to_owned(),
            seen: step.seen,
            fault: step.result.err().map(|denial| denial.to_string()),
        });
    }
    let verified = match explained.outcome {
        Ok(verified) => verified,
        Err(denial) => {
            verdict.refused_by = Some(denial.reason.as_str().to_owned());
            verdict.refusal = Some(denial.to_string());
            return (verdict, Identity::default());
        }
    };
    verdict.permitted = verified.scope.permits(Action::Subscribe, workspace);
    let patterns: Vec<&str> = verified.scope.subscribe.iter().map(Pattern::as_str).collect();
    let fault = format!("the token does not permit reading {workspace}");
    if !verdict.permitted {
        verdict.refused_by = Some("subscribe".to_owned());
        verdict.refusal = Some(fault.clone());
    }
    verdict.checks.push(TokenCheck {
        check: "subscribe".to_owned(),
        seen: format!("{patterns:?}"),
        fault: (!verdict.permitted).then_some(fault),
    });
    (verdict, verified.identity)
}
