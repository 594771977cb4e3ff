//! `GET …/events`: the event stream.

use std::sync::Arc;

use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use tracing::field;
use tracing::{Instrument as _, Span};
use warp::reply::Response;

use crate::http::request::accept::{self, EventStream};
use crate::http::request::last_event_id;
use crate::http::request::path;
use crate::http::request::query::StreamQuery;
use crate::http::request::request_context::RequestContext;
use crate::http::response::denied;
use crate::http::response::event_stream;
use crate::http::response::problem::Problem;
use crate::http::response::refusal::Refusal;
use tidings_auth::{Action, Authenticator, Grant};
use tidings_delivery::engine::PendingStream;
use tidings_delivery::{Recipient, StreamBody, StreamSettings, Terms};
use tidings_event::UserId;
use tidings_event::control::ReconnectReason;
use tidings_event::workspace::WorkspaceId;
use tidings_hub::{Hub, ReaderId, Start, Subscriber, SubscriptionFilter};
use tidings_limits::{AddressPlace, Candidate, Holder, StreamGuard, StreamRegistry};

/// Opens streams.
#[derive(Debug)]
pub struct StreamHandler {
    /// Authenticates clients.
    pub authenticator: Arc<Authenticator>,
    /// The streams that are open.
    pub registry: Arc<StreamRegistry>,
    /// All workspaces.
    pub hub: Arc<Hub>,
    /// The settings of all streams.
    pub streams: Arc<StreamSettings>,
    /// Whether streams are `named` unless they say otherwise.
    pub named: bool,
    /// The most events that a first connection may begin with.
    pub newest_max: usize,
}

/// The stream that a request asks for.
struct StreamRequest {
    workspace: WorkspaceId,
    query: StreamQuery,
    /// Whether temporary trouble is reported by a status.
    by_status: bool,
}

impl StreamHandler {
    /// Returns the head that `GET` gets, as far as the request decides it. Opens no stream, takes
    /// no place and spends no ticket.
    pub(super) async fn head(&self, id: &str, request_context: RequestContext) -> Result<Response, Problem> {
        let StreamRequest { workspace, query, by_status } = self.request(id, &request_context)?;
        if let Some(exceeded) = request_context.peer.exceeded {
            return self.full(exceeded.reason(), exceeded.to_string(), None, by_status);
        }
        let credentials = request_context.credentials(query.ticket.as_deref());
        match self.authenticator.inspect(&workspace, &credentials).await {
            Ok(()) => Ok(event_stream::head()),
            Err(denial) => denied::stream_response(&self.streams, &denial, by_status),
        }
    }

    /// Returns 204 to a client that may open the stream, and otherwise the problem that says why it
    /// may not. Opens no stream, takes no place and spends no ticket.
    pub(super) async fn access(
        &self,
        id: &str,
        request_context: &RequestContext,
    ) -> Result<Response, Problem> {
        self.check(id, request_context).await?;
        let mut response = Response::new("".into());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }

    /// Does the checks of a request for a stream; returns the workspace.
    pub(super) async fn check(
        &self,
        id: &str,
        request_context: &RequestContext,
    ) -> Result<WorkspaceId, Problem> {
        let workspace = path::workspace(id)?;
        let query = StreamQuery::parse(&request_context.query, self.named, self.newest_max)?;
        if let Some(exceeded) = request_context.peer.exceeded {
            return Err(
                Problem::unavailable(exceeded.to_string(), self.streams.retry).at_limit(exceeded.reason())
            );
        }
        let credentials = request_context.credentials(query.ticket.as_deref());
        match self.authenticator.inspect(&workspace, &credentials).await {
            Ok(()) => Ok(workspace),
            Err(denial) => Err(denied::problem(&self.streams.metrics, self.streams.retry, &denial)),
        }
    }

    /// Opens a stream. Its head goes out at once, also before the workspace is confirmed. A client
    /// that wants temporary trouble as a status gets the head later.
    pub(super) async fn open(&self, id: &str, request_context: RequestContext) -> Result<Response, Problem> {
        let request = self.request(id, &request_context)?;
        let span = tracing::error_span!("stream", workspace = %request.workspace, connection = field::Empty);
        self.open_in_span(request, request_context).instrument(span).await
    }

    /// Opens a stream within its span.
    async fn open_in_span(
        &self,
        request: StreamRequest,
        request_context: RequestContext,
    ) -> Result<Response, Problem> {
        let StreamRequest { workspace, query, by_status } = request;
        // The header is newer than the query: a browser keeps the query of its first request when
        // it reconnects.
        let start = last_event_id::of_header(&request_context.headers)
            .map(Start::After)
            .or(query.start)
            .unwrap_or(Start::Head);
        let place = match request_context.peer.enter() {
            Ok(place) => place,
            Err(exceeded) => {
                if request_context.peer.exceeded.is_none() {
                    // Connections are counted when they are accepted.
                    self.streams.metrics.count_refusal(exceeded.reason());
                }
                return self.full(exceeded.reason(), exceeded.to_string(), None, by_status);
            }
        };
        let credentials = request_context.credentials(query.ticket.as_deref());
        let grant = match self.authenticator.authenticate(Action::Subscribe, &workspace, &credentials).await {
            Ok(grant) => grant,
            Err(denial) => return denied::stream_response(&self.streams, &denial, by_status),
        };
        let candidate = Candidate { workspace: workspace.clone(), identity: grant.identity.clone() };
        let stream_guard = match self.registry.register(candidate) {
            Ok(stream_guard) => stream_guard,
            Err(bound) => {
                self.streams.metrics.count_refusal(bound.as_str());
                let user = grant.identity.user.clone();
                self.authenticator.release_ticket(grant).await;
                return self.full(bound.as_str(), bound.to_string(), user, by_status);
            }
        };
        Span::current().record("connection", field::display(stream_guard.id()));
        if let Err(denial) = self.authenticator.check_bans(&workspace, &grant.identity) {
            return denied::stream_response(&self.streams, &denial, by_status);
        }
        let filter =
            SubscriptionFilter { user: grant.identity.user.as_ref().map(UserId::key), ..query.filter };
        let holder = Holder::of(grant.identity.keys(), request_context.peer.client.address);
        let subscriber = match self.hub.join(&workspace, start, filter) {
            Ok(subscriber) => subscriber.reading_for(ReaderId::of(&holder)),
            Err(error) => {
                self.streams.metrics.count_refusal(error.as_str());
                let user = grant.identity.user.clone();
                self.authenticator.release_ticket(grant).await;
                return self.full(error.as_str(), error.to_string(), user, by_status);
            }
        };
        if by_status {
            let confirmed = self.confirmed(&subscriber).await;
            confirmed.map_err(|problem| problem.of_user(grant.identity.user.as_ref()))?;
        }
        Ok(self.begin(request_context, workspace, grant, stream_guard, place, subscriber))
    }

    /// Reads the request for a stream.
    fn request(&self, id: &str, request_context: &RequestContext) -> Result<StreamRequest, Problem> {
        let workspace = path::workspace(id)?;
        let query = StreamQuery::parse(&request_context.query, self.named, self.newest_max)?;
        let accepted = accept::event_stream(&request_context.headers);
        if accepted == EventStream::Excluded {
            return Err(Problem::new(
                StatusCode::NOT_ACCEPTABLE,
                "not-acceptable",
                "this path returns text/event-stream: name it in Accept, or leave Accept out",
            ));
        }
        let by_status = query.errors_by_status || accepted != EventStream::Named;
        Ok(StreamRequest { workspace, query, by_status })
    }

    /// Waits for the confirmation of the workspace. Cancellation safe.
    async fn confirmed(&self, subscriber: &Subscriber) -> Result<(), Problem> {
        let confirmed = tokio::select! {
            settled = subscriber.settled() => settled,
            () = tokio::time::sleep(self.streams.confirm) => false,
            () = self.streams.drain.begun() => false,
        };
        if confirmed {
            return Ok(());
        }
        self.streams.metrics.streams_unconfirmed.inc();
        Err(Problem::unavailable(
            "the workspace's subscription on the bus is not confirmed: try again later",
            self.streams.retry,
        ))
    }

    /// Gives an open stream to its writer.
    fn begin(
        &self,
        request_context: RequestContext,
        workspace: WorkspaceId,
        grant: Grant,
        stream_guard: StreamGuard,
        place: Option<AddressPlace>,
        subscriber: Subscriber,
    ) -> Response {
        let peer = request_context.peer;
        peer.connection.begin_streaming();
        let until = self.streams.draw_until(grant.identity.expires);
        let recipient = Recipient {
            address: peer.address,
            client: peer.client.address,
            user: grant.identity.user.clone(),
            abort: peer.close_reason,
        };
        tracing::debug!(
            parent: None,
            %workspace,
            user = recipient.user.as_ref().map(UserId::as_str),
            connection = %stream_guard.id(),
            client.address = %recipient.address,
            forwarded_for = %recipient.client,
            "stream opened"
        );
        self.authenticator.watch(stream_guard.handle(), workspace, grant);
        let terms = Terms { stream_guard, place, until };
        if peer.can_hand_off {
            peer.connection.hand_off(PendingStream::new(subscriber, terms, &recipient));
            return event_stream::head();
        }
        let body = StreamBody::new(subscriber, terms, Arc::clone(&self.streams), recipient);
        event_stream::of(body.watched_by(peer.connection.end_watch()))
    }

    /// The response to a new client at a limit: open streams continue, and the new client tries
    /// again later.
    fn full(
        &self,
        limit: &'static str,
        detail: String,
        user: Option<UserId>,
        by_status: bool,
    ) -> Result<Response, Problem> {
        if by_status {
            let problem = Problem::unavailable(detail, self.streams.retry);
            return Err(problem.at_limit(limit).of_user(user.as_ref()));
        }
        let reason = ReconnectReason::Overloaded;
        let mut response = event_stream::reconnect(&self.streams, reason);
        let check = Some(limit);
        response.extensions_mut().insert(Refusal { reason: reason.as_str(), check, user, request: None });
        Ok(response)
    }
}
