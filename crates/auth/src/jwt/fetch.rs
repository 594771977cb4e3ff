//! Fetches sets of keys over HTTP.

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

/// The largest set that is read, in bytes. Those of providers have some thousand.
const SET_BYTES_MAX: usize = 256 * 1024;

/// An HTTP client that asks one question and trusts nothing that comes back: it follows no redirects, because the address
/// in the configuration is the one that is trusted, and keeps no connections open from one fetch to the next.
#[derive(Debug)]
pub(super) struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    timeout: Duration,
}

/// A set could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// No connection, or one that broke.
    #[error("{0}")]
    Connection(String),
    /// Another answer than 200; redirects are not followed.
    #[error("the answer is {0}, and only 200 is taken")]
    Status(StatusCode),
    /// The body is too large or broke off.
    #[error("the answer broke off, or is larger than {SET_BYTES_MAX} bytes")]
    Body,
    /// Not in time.
    #[error("no whole answer within {} s (auth.jwt.jwks_timeout_seconds)", .0.as_secs_f64())]
    Timeout(Duration),
}

impl Fetcher {
    /// A client whose every fetch takes at most this long. With `tls` it reads the authorities that the system trusts, and
    /// thus blocks.
    pub(super) fn new(timeout: Duration, tls: bool) -> Result<Self, rustls::Error> {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(timeout));
        let connector = https::connector(connector, tls)?;
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { client, timeout })
    }

    /// The body at an address. Cancellation safe: the connection is closed.
    pub(super) async fn fetch(&self, address: &Uri) -> Result<Bytes, FetchError> {
        tokio::time::timeout(self.timeout, self.answer(address))
            .await
            .unwrap_or(Err(FetchError::Timeout(self.timeout)))
    }

    async fn answer(&self, address: &Uri) -> Result<Bytes, FetchError> {
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
