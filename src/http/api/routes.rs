//! The public paths. Handlers return errors as responses, and a rejection only means "not this
//! route". A tree of routes reports the rejection of any of its branches.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use percent_encoding::percent_decode_str;
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, Rejection, Reply};

use super::publish;
use super::publish_rate::PublishRate;
use super::stream;
use super::tickets;
use crate::http::request::request_context::RequestContext;
use crate::http::response::cors::Origins;
use crate::http::response::problem::Problem;
use crate::http::server::service::Peer;
use tidings_auth::Authenticator;
use tidings_bus::Bus;
use tidings_delivery::StreamSettings;
use tidings_event::workspace::WorkspaceId;
use tidings_hub::Hub;
use tidings_limits::{BodyBudget, StreamRegistry};
use tidings_metrics::Metrics;

/// The methods of an events path.
pub(super) const EVENTS_ALLOW: &str = "GET, HEAD, POST, OPTIONS";

/// The methods of the path of tickets.
pub(super) const TICKETS_ALLOW: &str = "POST, OPTIONS";

/// The parts that the public handlers use.
pub struct PublicApi {
    /// All workspaces.
    pub hub: Arc<Hub>,
    /// The bus that publishes events.
    pub bus: Arc<dyn Bus>,
    /// The settings of all streams.
    pub streams: Arc<StreamSettings>,
    /// The counters of the node.
    pub metrics: Arc<Metrics>,
    /// Authenticates requests.
    pub authenticator: Arc<Authenticator>,
    /// The streams that are open.
    pub open: Arc<StreamRegistry>,
    /// The origins whose pages may publish.
    pub origins: Origins,
    /// Whether streams are `named` unless they say otherwise.
    pub named: bool,
    /// The most events that a first connection may begin with.
    pub newest_max: usize,
    /// Bytes of a payload.
    pub event_bytes: usize,
    /// Bytes of a batch's body.
    pub batch_bytes: usize,
    /// The memory for bodies.
    pub bodies: Arc<BodyBudget>,
    /// The rate limit on publications to a workspace.
    pub publish_rate: Arc<PublishRate>,
    /// Bound on receiving a request body.
    pub body_timeout: Duration,
}

impl std::fmt::Debug for PublicApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

/// The public routes under a base path such as `/api`.
pub fn public(app: &Arc<PublicApi>, base_path: &str) -> BoxedFilter<(Response,)> {
    let base = base_path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .fold(warp::any().boxed(), |path, segment| path.and(warp::path(segment.to_owned())).boxed());
    let ticket_path = base.clone().and(warp::path("tickets")).and(end()).boxed();
    let events = base
        .and(warp::path("workspaces"))
        .and(warp::path::param::<String>())
        .and(warp::path("events"))
        .and(end())
        .boxed();
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let request_context = warp::path::full()
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::ext::get::<Peer>())
        .map(|path: FullPath, query, headers, peer| {
            let path = path.as_str().to_owned();
            RequestContext { path, query, headers, peer }
        })
        .boxed();

    let subscriber_app = Arc::clone(app);
    let subscribe = warp::get().and(events.clone()).and(request_context.clone()).then(
        move |id: String, request_context: RequestContext| {
            let app = Arc::clone(&subscriber_app);
            async move { respond(stream::open(&app, &id, request_context).await) }
        },
    );

    let inspector_app = Arc::clone(app);
    let inspect = warp::head().and(events.clone()).and(request_context.clone()).then(
        move |id: String, request_context: RequestContext| {
            let app = Arc::clone(&inspector_app);
            async move { respond(stream::head(&app, &id, request_context).await) }
        },
    );

    let publisher_app = Arc::clone(app);
    let publish =
        warp::post().and(events.clone()).and(request_context.clone()).and(warp::body::stream()).then(
            move |id: String, request_context: RequestContext, body| {
                let app = Arc::clone(&publisher_app);
                async move { respond(publish::publish(&app, &id, &request_context, body).await) }
            },
        );

    let issuer_app = Arc::clone(app);
    let issue = warp::post().and(ticket_path.clone()).and(request_context).and(warp::body::stream()).then(
        move |request_context: RequestContext, body| {
            let app = Arc::clone(&issuer_app);
            async move { respond(tickets::issue(&app, &request_context, body).await) }
        },
    );
    let ticket_preflight = {
        let app = Arc::clone(app);
        warp::options().and(ticket_path.clone()).map(move || app.origins.preflight(TICKETS_ALLOW))
    };
    let ticket_other = ticket_path.map(|| Problem::method_not_allowed(TICKETS_ALLOW).into_response());

    let preflight = {
        let app = Arc::clone(app);
        warp::options().and(events.clone()).map(move |_| app.origins.preflight(EVENTS_ALLOW))
    };
    let other_method = events.map(|_| Problem::method_not_allowed(EVENTS_ALLOW).into_response());
    let hint =
        format!("there is nothing at this path: streams are at {base_path}/workspaces/{{workspace}}/events");
    let nothing = warp::any().map(move || Problem::not_found(hint.clone()).into_response());

    subscribe
        .or(publish)
        .unify()
        .or(inspect)
        .unify()
        .or(preflight)
        .unify()
        .or(issue)
        .unify()
        .or(ticket_preflight)
        .unify()
        .or(ticket_other)
        .unify()
        .or(other_method)
        .unify()
        .or(nothing)
        .unify()
        .map(Reply::into_response)
        .boxed()
}

/// The end of a path. One with a slash at its end is another path.
pub(crate) fn end() -> impl Filter<Extract = (), Error = Rejection> + Clone {
    let ended = |path: FullPath| {
        let is_end = !path.as_str().ends_with('/');
        std::future::ready(if is_end { Ok(()) } else { Err(warp::reject::not_found()) })
    };
    warp::path::end().and(warp::path::full()).and_then(ended).untuple_one()
}

fn respond(result: Result<Response, Problem>) -> Response {
    result.unwrap_or_else(Problem::into_response)
}

/// The workspace that a path segment names. Percent-encoding of characters that need none means
/// the same (RFC 3986 section 6.2.2.2).
pub(super) fn workspace(segment: &str) -> Result<WorkspaceId, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "bad-workspace", detail);
    let decoded = percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| bad("the workspace id in the path is not UTF-8".to_owned()))?;
    WorkspaceId::parse(&decoded).map_err(|error| bad(error.to_string()))
}
