//! The HTTP client of the commands that talk to a broker.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::{CommandFailure, GlobalOptions};
use crate::config::Config;
use tidings_event::workspace::WorkspaceId;
use tidings_metrics::chain;
use tidings_settings::ListenAddress;

/// Bound on connecting and on the head of a response.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// The environment variable that holds a token for brokers that want one.
const TOKEN_VARIABLE: &str = "TIDINGS_TOKEN";

/// The bound on a response that is no stream.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// A broker's HTTP interface.
#[derive(Debug)]
pub(super) struct Broker {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    /// The header with the token.
    authorization: Option<HeaderValue>,
}

impl Broker {
    /// The broker at `url` (`http://host:port/api`), or the one that the configuration describes.
    pub(super) fn new(url: Option<&str>, options: &GlobalOptions) -> Result<Self, CommandFailure> {
        let base = match url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => base_url(&options.load()?.config)?,
        };
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(Duration::from_secs(5)));
        connector.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .map_err(|error| CommandFailure::Failed(format!("cannot prepare TLS: {error}")))?
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, base, authorization: authorization()? })
    }

    /// The address of the interface, such as `http://127.0.0.1:8080/api`.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// The header with the token, for callers with requests of their own.
    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// A request for a workspace's events, to be completed.
    pub(super) fn events(
        &self,
        method: Method,
        workspace: &WorkspaceId,
        query: &str,
    ) -> Result<http::request::Builder, CommandFailure> {
        self.request(method, &format!("{}/workspaces/{workspace}/events{query}", self.base))
    }

    /// A request to a URL of the broker, to be completed.
    pub(super) fn request(
        &self,
        method: Method,
        url: &str,
    ) -> Result<http::request::Builder, CommandFailure> {
        let uri: Option<Uri> = url.parse().ok().filter(|uri: &Uri| uri.host().is_some());
        let Some(uri) = uri else {
            return Err(CommandFailure::Usage(format!(
                "`{}` is not a URL such as http://127.0.0.1:8080/api",
                self.base
            )));
        };
        let request =
            Request::builder().method(method).uri(uri).header(ACCEPT, "text/event-stream, application/json");
        Ok(match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization.clone()),
            None => request,
        })
    }

    /// Sends a request and waits for the head of the response.
    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, String> {
        self.send_to(&self.base, request).await
    }

    /// The same for a request to another server, which messages call `place`.
    pub(super) async fn send_to(
        &self,
        place: &str,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, String> {
        match tokio::time::timeout(ANSWER_TIMEOUT, self.client.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(format!("cannot reach {place}: {}", chain(&error))),
            Err(_) => Err(format!("no response from {place} within {} s", ANSWER_TIMEOUT.as_secs())),
        }
    }
}

/// The body of a response as JSON; null if it is something else.
pub(super) async fn json_body(response: Response<Incoming>) -> Result<Value, String> {
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect();
    let body = tokio::time::timeout(ANSWER_TIMEOUT, body)
        .await
        .map_err(|_| "the response did not arrive in time".to_owned())?
        .map_err(|error| format!("the response broke off: {error}"))?;
    Ok(serde_json::from_slice(&body.to_bytes()).unwrap_or_default())
}

/// The token in the environment, where other users of the machine cannot see it as they can see
/// arguments.
fn authorization() -> Result<Option<HeaderValue>, CommandFailure> {
    let Ok(token) = std::env::var(TOKEN_VARIABLE) else { return Ok(None) };
    let mut header = HeaderValue::try_from(format!("Bearer {}", token.trim()))
        .map_err(|_| CommandFailure::Usage(format!("the text in {TOKEN_VARIABLE} is no token")))?;
    header.set_sensitive(true);
    Ok(Some(header))
}

fn base_url(config: &Config) -> Result<String, CommandFailure> {
    let scheme = if config.server.tls.files().is_some() { "https" } else { "http" };
    let address = config.server.listen.reachable();
    if let ListenAddress::Unix(_) = address {
        return Err(CommandFailure::Usage(format!(
            "server.listen is {address}, and this command needs a URL: give --url with that of the proxy in front"
        )));
    }
    Ok(format!("{scheme}://{address}{}", config.server.base_path))
}
