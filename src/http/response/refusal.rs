//! The log line of a request that the node rejects.

use std::net::{IpAddr, SocketAddr};

use warp::reply::Response;

use tidings_event::UserId;
use tidings_event::workspace::WorkspaceId;
use tidings_metrics::Metrics;

/// The name of the event of a log line. A layer of the log remembers these lines.
pub const REFUSAL_EVENT: &str = "request rejected";

/// The reason for which a response rejects its request; an extension of the response. It has texts
/// of the node, and ids that the node has checked, but nothing else of the request.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// The type of the problem, or the reason of the `tidings.reconnect`.
    pub(crate) reason: &'static str,
    /// The check of authentication that failed, or the limit that is reached.
    pub(crate) check: Option<&'static str>,
    /// The user, if authentication found one.
    pub(crate) user: Option<UserId>,
    /// The request, once its rejection is logged.
    pub(crate) request: Option<RequestKind>,
}

/// The requests whose rejections are logged.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RequestKind {
    /// `GET` or `HEAD` of a stream.
    Stream,
    /// The checks of a stream.
    Access,
    /// The head of a log.
    Position,
    /// Events to publish.
    Publication,
    /// A request for a ticket.
    Ticket,
    /// A request to the console.
    Console,
    /// Any request, before the node looks at its path.
    Any,
}

impl RequestKind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Access => "access",
            Self::Position => "position",
            Self::Publication => "publication",
            Self::Ticket => "ticket",
            Self::Console => "console",
            Self::Any => "any",
        }
    }
}

/// A request, as its log line names it.
#[derive(Debug, Clone)]
pub(crate) struct LoggedRequest {
    /// Its kind.
    pub(crate) kind: RequestKind,
    /// Its workspace, if it names a valid one.
    pub(crate) workspace: Option<WorkspaceId>,
    /// The other end of the connection.
    pub(crate) address: SocketAddr,
    /// The client, as far as trusted proxies name it.
    pub(crate) client: IpAddr,
}

impl LoggedRequest {
    /// Writes a line if the response rejects the request, and notes the request in the response.
    /// The line has no detail of a problem, because such texts may repeat a part of a payload.
    pub(crate) fn log(&self, response: &mut Response) {
        let status = response.status().as_u16();
        let Some(refusal) = response.extensions_mut().get_mut::<Refusal>() else { return };
        refusal.request = Some(self.kind);
        let Refusal { reason, check, user, .. } = refusal;
        // Outside of any span: the line has all fields itself.
        tracing::info!(
            name: REFUSAL_EVENT,
            parent: None,
            request = self.kind.as_str(),
            reason = *reason,
            check = *check,
            status,
            workspace = self.workspace.as_ref().map(WorkspaceId::as_str),
            user = user.as_ref().map(UserId::as_str),
            client.address = %self.address,
            forwarded_for = %self.client,
            "request rejected"
        );
    }
}

/// Counts the rejection that a response has, if it is one that the log has.
pub(crate) fn count(metrics: &Metrics, response: &Response) {
    let Some(Refusal { reason, request: Some(request), .. }) = response.extensions().get() else { return };
    metrics.count_rejection(request.as_str(), reason);
}
