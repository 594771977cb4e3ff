//! Requests to the app.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Request, Response, Uri, response};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Body as _, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::asking::Asking;
use crate::auth::Action;
use crate::workspace::WorkspaceId;

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

/// The app, over pooled connections of HTTP/1.1.
pub(super) struct App(Client<HttpsConnector<HttpConnector>, Empty<Bytes>>);

impl App {
    /// Prepares a client that keeps at most `connections_max` idle connections. Opens none.
    pub(super) fn new(timeout: Duration, connections_max: usize) -> Result<Self, rustls::Error> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        // Within the whole time there is a second address to try, or at least a clear word.
        connector.set_connect_timeout(Some(timeout / 2));
        connector.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())?
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
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
    pub(super) async fn ask(&self, request: &Request<Empty<Bytes>>) -> Result<response::Parts, String> {
        let answer = match self.0.request(request.clone()).await {
            Err(error) if !error.is_connect() => self.0.request(request.clone()).await,
            answer => answer,
        };
        let (head, body) = answer.map_err(|error| chain(&error)).map(Response::into_parts)?;
        read_away(body).await;
        Ok(head)
    }
}

/// The question whether a client may do something.
pub(super) fn question(
    uri: Uri,
    workspace: &WorkspaceId,
    action: Action,
    asking: &Asking,
) -> Result<Request<Empty<Bytes>>, http::Error> {
    let method = match action {
        Action::Subscribe => "GET",
        Action::Publish => "POST",
    };
    // Of the kinds of answers, frameworks redirect to a login page where HTML is taken, and answer 401 where it is not.
    let mut request = Request::get(uri)
        .header(header::ACCEPT, HeaderValue::from_static("application/json"))
        .header(X_FORWARDED_METHOD, HeaderValue::from_static(method))
        .header(X_TIDINGS_WORKSPACE, workspace.as_str())
        .header(X_TIDINGS_ACTION, action.as_str());
    for (name, value) in asking.headers() {
        request = request.header(name, value);
    }
    request.body(Empty::new())
}

async fn read_away(body: Incoming) {
    if body.size_hint().lower() <= BODY_BYTES_MAX {
        let limited = Limited::new(body, BODY_BYTES_MAX as usize);
        // Whatever comes of it: a body that is not read to its end costs the connection, and nothing else.
        let _ = tokio::time::timeout(BODY_TIMEOUT, limited.collect()).await;
    }
}

/// An error with what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
