//! The public paths. Handlers return errors as responses, and a rejection only means "not this
//! route". A tree of routes reports the rejection of any of its branches.

use std::sync::Arc;

use warp::Filter;
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::reply::Response;

use super::position::PositionHandler;
use super::publish::PublishHandler;
use super::stream::StreamHandler;
use super::tickets::TicketHandler;
use crate::http::request::path;
use crate::http::request::peer::Peer;
use crate::http::request::request_context::RequestContext;
use crate::http::response::cors::CorsRules;
use crate::http::response::problem::Problem;
use crate::http::response::refusal::{LoggedRequest, RequestKind};

/// A public path. [`public`] serves these alone, and a test compares them with `docs/openapi.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicRoute {
    /// The path below the base path. The segment `{workspace}` is any workspace id.
    pub path: &'static str,
    /// The methods, as `Allow` lists them.
    pub allow: &'static str,
}

/// All public paths.
pub const ROUTES: [PublicRoute; 4] = [EVENTS, ACCESS, POSITION, TICKETS];

const EVENTS: PublicRoute =
    PublicRoute { path: "/workspaces/{workspace}/events", allow: "GET, HEAD, POST, OPTIONS" };
const ACCESS: PublicRoute =
    PublicRoute { path: "/workspaces/{workspace}/access", allow: "GET, HEAD, OPTIONS" };
const POSITION: PublicRoute =
    PublicRoute { path: "/workspaces/{workspace}/position", allow: "GET, HEAD, OPTIONS" };
const TICKETS: PublicRoute = PublicRoute { path: "/tickets", allow: "POST, OPTIONS" };

/// The handlers of the public paths.
#[derive(Debug)]
pub struct PublicHandlers {
    /// Opens streams.
    pub stream: Arc<StreamHandler>,
    /// Returns positions.
    pub position: Arc<PositionHandler>,
    /// Publishes events.
    pub publish: Arc<PublishHandler>,
    /// Issues tickets.
    pub tickets: Arc<TicketHandler>,
    /// The origins whose pages may read and publish, for their preflights.
    pub origins: Arc<CorsRules>,
}

/// The public routes under a base path such as `/api`.
pub fn public(handlers: PublicHandlers, base_path: &str) -> BoxedFilter<(Response,)> {
    let PublicHandlers { stream, position, publish, tickets, origins } = handlers;
    let base = base_path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .fold(warp::any().boxed(), |path, segment| path.and(warp::path(segment.to_owned())).boxed());
    let at = |route: PublicRoute| below(&base, route);
    let access = Arc::clone(&stream);
    let access = query(&at(ACCESS), ACCESS, RequestKind::Access, &origins, move |id, request_context| {
        let stream = Arc::clone(&access);
        async move { stream.access(&id, &request_context).await }
    });
    let position =
        query(&at(POSITION), POSITION, RequestKind::Position, &origins, move |id, request_context| {
            let position = Arc::clone(&position);
            async move { position.position(&id, &request_context).await }
        });
    let hint = format!("there is nothing at this path: streams are at {base_path}{}", EVENTS.path);
    let nothing = warp::any().map(move || Problem::not_found(hint.clone()).into_response());
    events(&at(EVENTS), stream, publish, Arc::clone(&origins))
        .or(access)
        .unify()
        .or(position)
        .unify()
        .or(ticket_issue(&at(TICKETS), tickets, origins))
        .unify()
        .or(nothing)
        .unify()
        .boxed()
}

/// The filter for a path below the base path. It extracts the workspace id, which is empty if the
/// path has none.
fn below(base: &BoxedFilter<()>, route: PublicRoute) -> BoxedFilter<(String,)> {
    let segments = route.path.split('/').filter(|segment| !segment.is_empty());
    let path = segments.fold(base.clone().map(String::new).boxed(), |path, segment| {
        if segment.starts_with('{') {
            path.and(warp::path::param::<String>()).map(|_, id| id).boxed()
        } else {
            path.and(warp::path(segment)).boxed()
        }
    });
    path.and(path::end()).boxed()
}

/// All methods of the path of a workspace's events.
fn events(
    path: &BoxedFilter<(String,)>,
    stream: Arc<StreamHandler>,
    publish: Arc<PublishHandler>,
    origins: Arc<CorsRules>,
) -> BoxedFilter<(Response,)> {
    let inspecting = Arc::clone(&stream);
    let subscribe = warp::get().and(path.clone()).and(request_context()).then(
        move |id: String, request_context: RequestContext| {
            let stream = Arc::clone(&stream);
            let request = logged(RequestKind::Stream, &id, &request_context);
            async move { respond(&request, stream.open(&id, request_context).await) }
        },
    );
    let inspect = warp::head().and(path.clone()).and(request_context()).then(
        move |id: String, request_context: RequestContext| {
            let stream = Arc::clone(&inspecting);
            let request = logged(RequestKind::Stream, &id, &request_context);
            async move { respond(&request, stream.head(&id, request_context).await) }
        },
    );
    let publish = warp::post().and(path.clone()).and(request_context()).and(warp::body::stream()).then(
        move |id: String, request_context: RequestContext, body| {
            let publish = Arc::clone(&publish);
            let request = logged(RequestKind::Publication, &id, &request_context);
            async move { respond(&request, publish.publish(&id, &request_context, body).await) }
        },
    );
    let preflight = warp::options().and(path.clone()).map(move |_| origins.preflight(EVENTS.allow));
    let other_method = path.clone().map(|_| Problem::method_not_allowed(EVENTS.allow).into_response());
    subscribe.or(publish).unify().or(inspect).unify().or(preflight).unify().or(other_method).unify().boxed()
}

/// All methods of a path that is only read. The server removes the body of a response to `HEAD`.
fn query<Answer>(
    path: &BoxedFilter<(String,)>,
    route: PublicRoute,
    kind: RequestKind,
    origins: &Arc<CorsRules>,
    answer: impl Fn(String, RequestContext) -> Answer + Clone + Send + Sync + 'static,
) -> BoxedFilter<(Response,)>
where
    Answer: Future<Output = Result<Response, Problem>> + Send,
{
    let origins = Arc::clone(origins);
    let asked = warp::get().or(warp::head()).unify().and(path.clone()).and(request_context()).then(
        move |id: String, request_context: RequestContext| {
            let request = logged(kind, &id, &request_context);
            let answer = answer(id, request_context);
            async move { respond(&request, answer.await) }
        },
    );
    let preflight = warp::options().and(path.clone()).map(move |_| origins.preflight(route.allow));
    let other_method = path.clone().map(move |_| Problem::method_not_allowed(route.allow).into_response());
    asked.or(preflight).unify().or(other_method).unify().boxed()
}

/// All methods of the path of tickets.
fn ticket_issue(
    path: &BoxedFilter<(String,)>,
    tickets: Arc<TicketHandler>,
    origins: Arc<CorsRules>,
) -> BoxedFilter<(Response,)> {
    let issue = warp::post().and(path.clone()).and(request_context()).and(warp::body::stream()).then(
        move |_: String, request_context: RequestContext, body| {
            let tickets = Arc::clone(&tickets);
            let mut request = logged(RequestKind::Ticket, "", &request_context);
            async move {
                let outcome = tickets.issue(&request_context, body, &mut request.workspace).await;
                respond(&request, outcome)
            }
        },
    );
    let preflight = warp::options().and(path.clone()).map(move |_| origins.preflight(TICKETS.allow));
    let other_method = path.clone().map(|_| Problem::method_not_allowed(TICKETS.allow).into_response());
    issue.or(preflight).unify().or(other_method).unify().boxed()
}

/// The head of a request, with the peer that the server has added.
pub(crate) fn request_context() -> BoxedFilter<(RequestContext,)> {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::path::full()
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::ext::get::<Peer>())
        .map(|path: FullPath, query, headers, peer| {
            let path = path.as_str().to_owned();
            RequestContext { path, query, headers, peer }
        })
        .boxed()
}

/// The names of a request in its log line.
fn logged(kind: RequestKind, id: &str, request_context: &RequestContext) -> LoggedRequest {
    let peer = &request_context.peer;
    let workspace = path::workspace(id).ok();
    LoggedRequest { kind, workspace, address: peer.address, client: peer.client.address }
}

/// The response to a request, whose rejection is logged.
fn respond(request: &LoggedRequest, result: Result<Response, Problem>) -> Response {
    let mut response = result.unwrap_or_else(Problem::into_response);
    request.log(&mut response);
    response
}
