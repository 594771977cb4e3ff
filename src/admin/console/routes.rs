//! The paths of the console. Every request of the API passes the same checks: its host, its sender,
//! its credentials.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, Bytes};
use futures_util::Stream;
use http::header::{self, HeaderValue};
use http::{Method, StatusCode};
use serde::Deserialize;
use tidings_event::Keys;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::Console;
use super::assets::ConsoleAsset;
use super::digest::SecretDigest;
use super::gate::{self, ConsoleCredential};
use super::reply;
use crate::http::Problem;
use crate::http::api::routes::request_context;
use crate::http::request::path;
use crate::http::request::request_context::RequestContext;
use crate::http::response::refusal::{LoggedRequest, RequestKind};
use tidings_auth::jwt::token::TOKEN_BYTES_MAX;
use tidings_event::workspace::WorkspaceId;
use tidings_metrics::SignInOutcome;

/// All paths of the console with their methods, for the page of the docs. The segments
/// `{workspace}` and `{file}` are any workspace id and any file. An id may have `=` in front.
pub const CONSOLE_PATHS: [(&str, &str); 15] = [
    ("/", "GET, HEAD"),
    ("/console/{file}", "GET, HEAD"),
    ("/enter", "GET"),
    ("/session", "POST, DELETE"),
    ("/api/console/node", "GET"),
    ("/api/console/stream", "GET"),
    ("/api/console/workspaces", "GET"),
    ("/api/console/workspaces/{workspace}", "GET"),
    ("/api/console/workspaces/{workspace}/events", "GET"),
    ("/api/console/bans", "GET"),
    ("/api/console/nodes", "GET"),
    ("/api/console/trace", "GET"),
    ("/api/console/explain", "POST"),
    ("/api/console/publish", "POST"),
    ("/api/console/disconnect", "POST"),
];

/// The bytes of a body besides those of a payload.
const BODY_BYTES: usize = 8 * 1024;

/// The bytes of a body with a token: the longest token, and the other texts.
const EXPLAIN_BYTES: usize = TOKEN_BYTES_MAX + BODY_BYTES;

/// A path of the console.
#[derive(Debug, Clone, Copy)]
enum ConsolePath<'a> {
    Asset(&'static ConsoleAsset),
    Enter,
    Session,
    Node,
    Stream,
    Workspaces,
    Workspace(&'a str),
    Events(&'a str),
    Bans,
    Nodes,
    Trace,
    Explain,
    Publish,
    Disconnect,
}

impl<'a> ConsolePath<'a> {
    fn of(path: &'a str) -> Option<Self> {
        Some(match path {
            "/" => Self::Asset(ConsoleAsset::page()),
            "/enter" => Self::Enter,
            "/session" => Self::Session,
            "/api/console/node" => Self::Node,
            "/api/console/stream" => Self::Stream,
            "/api/console/workspaces" => Self::Workspaces,
            "/api/console/bans" => Self::Bans,
            "/api/console/nodes" => Self::Nodes,
            "/api/console/trace" => Self::Trace,
            "/api/console/explain" => Self::Explain,
            "/api/console/publish" => Self::Publish,
            "/api/console/disconnect" => Self::Disconnect,
            _ => match path.strip_prefix("/api/console/workspaces/") {
                None => Self::Asset(ConsoleAsset::find(path.strip_prefix("/console/")?)?),
                Some(workspace) => match workspace.split_once('/') {
                    None => Self::Workspace(workspace),
                    Some((workspace, "events")) => Self::Events(workspace),
                    Some(_) => return None,
                },
            },
        })
    }

    /// The methods, as `Allow` lists them.
    fn allow(self) -> &'static str {
        match self {
            Self::Asset(_) => "GET, HEAD",
            Self::Session => "POST, DELETE",
            Self::Publish | Self::Disconnect | Self::Explain => "POST",
            Self::Enter
            | Self::Node
            | Self::Stream
            | Self::Nodes
            | Self::Trace
            | Self::Workspaces
            | Self::Bans
            | Self::Workspace(_)
            | Self::Events(_) => "GET",
        }
    }

    fn segment(self) -> Option<&'a str> {
        match self {
            Self::Workspace(segment) | Self::Events(segment) => Some(segment),
            _ => None,
        }
    }
}

/// The body of a request for a session.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionRequest {
    token: String,
}

/// Returns the routes of the console. All other paths get `nothing`.
pub(in crate::admin) fn routes(console: &Arc<Console>, hint: String) -> BoxedFilter<(Response,)> {
    let console = Arc::clone(console);
    warp::method()
        .and(request_context())
        .and(warp::body::stream())
        .then(move |method, request: RequestContext, body| {
            let (console, hint) = (Arc::clone(&console), hint.clone());
            async move {
                let path = request.path.clone();
                let Some(console_path) = ConsolePath::of(&path) else {
                    return Problem::not_found(hint).into_response();
                };
                let logged = LoggedRequest {
                    kind: RequestKind::Console,
                    workspace: console_path.segment().and_then(|segment| id(segment).ok()),
                    address: request.peer.address,
                    client: request.peer.client.address,
                };
                let response = console.respond(console_path, &method, request, body).await;
                let mut response = reply::guarded(response.unwrap_or_else(Problem::into_response));
                logged.log(&mut response);
                response
            }
        })
        .boxed()
}

impl Console {
    async fn respond<B: Buf>(
        self: &Arc<Self>,
        path: ConsolePath<'_>,
        method: &Method,
        request: RequestContext,
        body: impl Stream<Item = Result<B, warp::Error>>,
    ) -> Result<Response, Problem> {
        if !path.allow().split(", ").any(|allowed| allowed == method.as_str()) {
            return Err(Problem::method_not_allowed(path.allow()));
        }
        self.check_host(&request)?;
        match path {
            ConsolePath::Asset(asset) => return Ok(asset.response()),
            ConsolePath::Enter => return self.enter(&request),
            _ => {}
        }
        gate::check_sender(method, &request)?;
        if let ConsolePath::Session = path {
            return if *method == Method::DELETE {
                self.sign_out(&request)
            } else {
                self.sign_in(&request, body).await
            };
        }
        let credential = self.authenticate(&request)?;
        match path {
            ConsolePath::Node => Ok(reply::json(&self.facts())),
            ConsolePath::Stream => self.open_feed(&request, credential),
            ConsolePath::Workspaces => self.workspaces(&request.query).await,
            ConsolePath::Bans => self.bans().await,
            ConsolePath::Workspace(segment) => self.workspace(&id(segment)?, &request.query).await,
            ConsolePath::Events(segment) => self.open_stream(&id(segment)?, request, credential),
            ConsolePath::Nodes => self.nodes().await,
            ConsolePath::Trace => self.trace(&request.query).await,
            ConsolePath::Explain => {
                let body = self.body(&request, body, EXPLAIN_BYTES).await?;
                self.explain(body).await
            }
            ConsolePath::Publish => {
                let body = self.body(&request, body, self.settings.event_bytes + BODY_BYTES).await?;
                self.publish(body).await
            }
            ConsolePath::Disconnect => {
                let body = self.body(&request, body, BODY_BYTES).await?;
                self.disconnect(&request.peer, body).await
            }
            ConsolePath::Asset(_) | ConsolePath::Enter | ConsolePath::Session => Err(self.unauthenticated()),
        }
    }

    /// Receives a body of at most `bytes_max` bytes.
    async fn body<B: Buf>(
        &self,
        request: &RequestContext,
        body: impl Stream<Item = Result<B, warp::Error>>,
        bytes_max: usize,
    ) -> Result<Bytes, Problem> {
        let too_large = || {
            let detail = format!("a body has at most {bytes_max} bytes here (limits.event_bytes)");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "event-too-large", detail)
        };
        let received =
            self.parts.bodies.receive(request, Keys::default(), body, bytes_max, too_large).await?;
        Ok(received.bytes.clone())
    }

    /// Begins a session for the link in the query, which is used up. A browser gets the page in
    /// any case: without a session, the page says how to sign in.
    fn enter(&self, request: &RequestContext) -> Result<Response, Problem> {
        let Err(problem) = self.check_link(request) else {
            return self.begin_session(request, None, "/", StatusCode::SEE_OTHER);
        };
        let accepts_page = request
            .headers
            .get_all(header::ACCEPT)
            .iter()
            .any(|accept| accept.to_str().is_ok_and(|accept| accept.contains("text/html")));
        if accepts_page { Ok(redirect("/#/used", StatusCode::SEE_OTHER)) } else { Err(problem) }
    }

    /// Begins a session for the admin token in the body.
    async fn sign_in<B: Buf>(
        &self,
        request: &RequestContext,
        body: impl Stream<Item = Result<B, warp::Error>>,
    ) -> Result<Response, Problem> {
        let body = self.body(request, body, BODY_BYTES).await?;
        let SessionRequest { token } = serde_json::from_slice(&body)
            .map_err(|_| reply::bad_request("expected {\"token\":\"…\"} with the value of admin.token"))?;
        let token = SecretDigest::of(&token);
        self.check_token(&token, request)?;
        self.begin_session(request, Some(token), "", StatusCode::NO_CONTENT)
    }

    fn begin_session(
        &self,
        request: &RequestContext,
        token: Option<SecretDigest>,
        to: &'static str,
        status: StatusCode,
    ) -> Result<Response, Problem> {
        let random = |_| Problem::unavailable("the system has no random numbers", self.parts.streams.retry);
        let secret = self.sessions.begin(token, Instant::now()).map_err(random)?;
        let client = request.peer.client.address;
        tracing::info!(%client, "a session of the console begins");
        self.parts.node.metrics().count_sign_in(SignInOutcome::Accepted);
        let mut response = redirect(to, status);
        if let Some(cookie) = self.set_cookie(Some(&secret), is_secure(request)) {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        Ok(response)
    }

    /// Ends the session of a request, if it has one.
    fn sign_out(&self, request: &RequestContext) -> Result<Response, Problem> {
        if let ConsoleCredential::Session(secret) = self.authenticate(request)? {
            self.sessions.end(&secret);
        }
        let mut response = reply::empty(StatusCode::NO_CONTENT);
        if let Some(cookie) = self.set_cookie(None, is_secure(request)) {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        Ok(response)
    }
}

/// The id of a segment. An equals sign may precede it, which no id has: browsers take the segments
/// `.` and `..` out of a path (WHATWG URL section 4.4).
fn id(segment: &str) -> Result<WorkspaceId, Problem> {
    path::workspace(segment.strip_prefix('=').unwrap_or(segment))
}

/// Whether the client uses TLS, as far as it is known.
fn is_secure(request: &RequestContext) -> bool {
    request.peer.client.scheme.is_some_and(|scheme| scheme.as_str() == "https")
}

/// A response that leads to another path, unless that is empty.
fn redirect(to: &'static str, status: StatusCode) -> Response {
    let mut response = reply::empty(status);
    if !to.is_empty() {
        response.headers_mut().insert(header::LOCATION, HeaderValue::from_static(to));
    }
    response
}
