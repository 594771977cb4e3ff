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

/// Connections that are idle for this long are closed, before servers do: those of Node.js wait for 5 s.
const IDLE: Duration = Duration::from_secs(4);

/// The largest head of an answer.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Bodies say nothing. One that is short is read, so that the connection can be used again; more is not worth it.
const BODY_BYTES_MAX: u64 = 16 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_millis(100);

/// The question whether a client may do something.
pub(super) struct Question {
    pub(super) uri: Uri,
    pub(super) workspace: WorkspaceId,
    pub(super) action: Action,
    pub(super) auth_request: AuthRequest,
}

/// The app, over pooled connections of HTTP/1.1.
pub(super) struct AppClient(Client<HttpsConnector<HttpConnector>, Empty<Bytes>>);

impl AppClient {
    /// Prepares a client that keeps at most `connections_max` idle connections. Opens none. With `tls` it reads the
    /// authorities that the system trusts, and thus blocks; a system that names none gets those that browsers trust.
    pub(super) fn new(timeout: Duration, connections_max: usize, tls: bool) -> Result<Self, rustls::Error> {
        let mut http = HttpConnector::new();
        // Within the whole time there is a second address to try, or at least a clear word.
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

    /// Asks, and answers the head of what comes back: redirects are not followed. A failure is told in words without
    /// anything of the request. Dropping the future ends the request.
    ///
    /// A request that broke off on its connection is sent once more: it is a GET, which may be repeated (RFC 9110 section
    /// 9.2.2), and most likely the app had closed a connection that was kept for it.
    pub(super) async fn ask(&self, question: &Question) -> Result<response::Parts, String> {
        let answer = match self.0.request(question.request()?).await {
            Err(error) if !error.is_connect() => self.0.request(question.request()?).await,
            answer => answer,
        };
        let (head, body) = answer.map_err(|error| chain(&error)).map(Response::into_parts)?;
        read_away(body).await;
        Ok(head)
    }
}

impl Question {
    fn request(&self) -> Result<Request<Empty<Bytes>>, String> {
        let method = match self.action {
            Action::Subscribe => "GET",
            Action::Publish => "POST",
        };
        // Where HTML is taken, frameworks redirect to a login page; where it is not, they answer 401.
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

async fn read_away(body: Incoming) {
    if body.size_hint().lower() <= BODY_BYTES_MAX {
        let limited = Limited::new(body, BODY_BYTES_MAX as usize);
        // Whatever comes of it: a body that is not read to its end costs the connection, and nothing else.
        let _ = tokio::time::timeout(BODY_TIMEOUT, limited.collect()).await;
    }
}
