//! Fetching of key sets over HTTP.

use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::https;
use tidings_metrics::chain;

/// Limits a key set, in bytes. Those of providers have some thousand.
const SET_BYTES_MAX: usize = 256 * 1024;

/// Fetches key sets. It follows no redirects, because only the configured URL is trusted, and
/// closes each connection after its fetch.
#[derive(Debug)]
pub(super) struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    timeout: Duration,
}

/// The reason for which a key set was not fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// There is no connection, or it broke.
    #[error("{0}")]
    Connection(String),
    /// The status is not 200; redirects are not followed.
    #[error("the status is {0}, and only 200 is accepted")]
    Status(StatusCode),
    /// The body is too large or incomplete.
    #[error("the response is incomplete or larger than {SET_BYTES_MAX} bytes")]
    Body,
    /// The response is late.
    #[error("no complete response within {} s (auth.jwt.jwks_timeout_seconds)", .0.as_secs_f64())]
    Timeout(Duration),
}

impl Fetcher {
    /// Creates a fetcher whose fetches take at most `timeout`. With `tls` it reads the authorities
    /// that the system trusts, and so blocks.
    pub(super) fn new(timeout: Duration, tls: bool) -> Result<Self, rustls::Error> {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(timeout));
        let connector = https::connector(connector, tls)?;
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { client, timeout })
    }

    /// Returns the body at a URL. Cancellation safe: the connection closes.
    pub(super) async fn fetch(&self, address: &Uri) -> Result<Bytes, FetchError> {
        tokio::time::timeout(self.timeout, self.body(address))
            .await
            .unwrap_or(Err(FetchError::Timeout(self.timeout)))
    }

    async fn body(&self, address: &Uri) -> Result<Bytes, FetchError> {
        let request = Request::get(address.clone())
            .header(ACCEPT, "application/jwk-set+json, application/json")
            .body(Empty::new())
            .map_err(|error| FetchError::Connection(error.to_string()))?;
        let response =
            self.client.request(request).await.map_err(|error| FetchError::Connection(chain(&error)))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), SET_BYTES_MAX).collect().await;
        Ok(body.map_err(|_| FetchError::Body)?.to_bytes())
    }
}
