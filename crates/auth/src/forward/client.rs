//! Requests to the app.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Request, Response, Uri, response};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Body as _, Incoming};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::auth_request::AuthRequest;
use crate::{Action, https};
use tidings_event::workspace::WorkspaceId;
use tidings_metrics::chain;

const X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const X_TIDINGS_WORKSPACE: HeaderName = HeaderName::from_static("x-tidings-workspace");
const X_TIDINGS_ACTION: HeaderName = HeaderName::from_static("x-tidings-action");

/// The time after which an idle connection closes. It is shorter than that of servers; Node.js
/// waits for 5 s.
const IDLE: Duration = Duration::from_secs(4);

/// Limits the head of a response, in bytes.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Limits the body of a response, in bytes. A body has no meaning; a short one is read so that the
/// connection can be used again.
const BODY_BYTES_MAX: u64 = 16 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_millis(100);

/// A request to the app: may a client do something?
pub(super) struct AppRequest {
    pub(super) uri: Uri,
    pub(super) workspace: WorkspaceId,
    pub(super) action: Action,
    pub(super) auth_request: AuthRequest,
}

/// Sends requests to the app over pooled HTTP/1.1 connections.
pub(super) struct AppClient(Client<HttpsConnector<HttpConnector>, Empty<Bytes>>);

impl AppClient {
    /// Creates a client with at most `connections_max` idle connections, without connecting.
    ///
    /// With `tls` it reads the authorities that the system trusts, and so blocks. If the system has
    /// none, it uses those that browsers trust.
    pub(super) fn new(timeout: Duration, connections_max: usize, tls: bool) -> Result<Self, rustls::Error> {
        let mut http = HttpConnector::new();
        // Half of the time, so that a second address can be tried or the error is clear.
        http.set_connect_timeout(Some(timeout / 2));
        http.set_nodelay(true);
        let connector = https::connector(http, tls)?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(connections_max)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .build(connector);
        Ok(Self(client))
    }

    /// Sends a request and returns the head of the response. Redirects are not followed. The error
    /// text has no data of the request. If the future is dropped, the request ends.
    ///
    /// A request whose connection broke is sent once more. It is a GET, which may be repeated (RFC
    /// 9110 section 9.2.2), and most likely the app had closed an idle connection.
    pub(super) async fn send(&self, request: &AppRequest) -> Result<response::Parts, String> {
        let response = match self.0.request(request.request()?).await {
            Err(error) if !error.is_connect() => self.0.request(request.request()?).await,
            response => response,
        };
        let (head, body) = response.map_err(|error| chain(&error)).map(Response::into_parts)?;
        discard(body).await;
        Ok(head)
    }
}

impl AppRequest {
    fn request(&self) -> Result<Request<Empty<Bytes>>, String> {
        let method = match self.action {
            Action::Subscribe => "GET",
            Action::Publish => "POST",
        };
        // For `text/html`, frameworks redirect to a login page; otherwise they respond with 401.
        let mut request = Request::get(&self.uri)
            .header(header::ACCEPT, HeaderValue::from_static("application/json"))
            .header(X_FORWARDED_METHOD, HeaderValue::from_static(method))
            .header(X_TIDINGS_WORKSPACE, self.workspace.as_str())
            .header(X_TIDINGS_ACTION, HeaderValue::from_static(self.action.as_str()));
        for (name, value) in self.auth_request.headers() {
            request = request.header(name, value);
        }
        request.body(Empty::new()).map_err(|error| error.to_string())
    }
}

async fn discard(body: Incoming) {
    if body.size_hint().lower() <= BODY_BYTES_MAX {
        let limited = Limited::new(body, BODY_BYTES_MAX as usize);
        // Errors do not matter: a body that is not read to its end costs only the connection.
        let _ = tokio::time::timeout(BODY_TIMEOUT, limited.collect()).await;
    }
}
