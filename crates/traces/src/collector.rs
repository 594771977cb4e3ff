//! Requests to the collector: OTLP over HTTP/1.1 in JSON.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use tidings_metrics::chain;

/// The path of traces behind the endpoint.
const PATH: &str = "/v1/traces";

/// Limits the body of a response, in bytes.
const RESPONSE_BYTES_MAX: usize = 64 * 1024;

/// An idle connection is closed after this time.
const IDLE: Duration = Duration::from_secs(30);

/// The settings of a collector.
#[derive(Clone)]
pub struct CollectorSettings {
    /// Its endpoint, such as `http://127.0.0.1:4318`.
    pub endpoint: String,
    /// Further headers of each request. Their values are secrets.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Bound on one request.
    pub timeout: Duration,
}

/// A collector cannot be used. The message has no part of a secret.
#[derive(Debug, thiserror::Error)]
pub enum CollectorSetupError {
    /// The endpoint is not a URL.
    #[error("the endpoint is no URL such as http://127.0.0.1:4318")]
    Endpoint,
    /// The headers have another form.
    #[error("the headers have not the form `name=value,name=value`")]
    Headers,
    /// The cryptography provider does not serve.
    #[error("cannot prepare TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// A request failed.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// There was no response.
    #[error("{0}")]
    Unreachable(String),
    /// The response did not come in time.
    #[error("no response within {0} s")]
    TimedOut(f64),
    /// The collector refused the request.
    #[error("the collector responded with {0}")]
    Status(StatusCode),
}

/// Sends requests to a collector.
pub struct Collector {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    settings: CollectorSettings,
}

/// Reads headers of the form `name=value,name=value`. Lines may stand for commas.
///
/// # Errors
///
/// Returns [`CollectorSetupError::Headers`] for any other text.
pub fn parse_headers(text: &str) -> Result<Vec<(HeaderName, HeaderValue)>, CollectorSetupError> {
    let parts = text.split([',', '\n']).map(str::trim).filter(|part| !part.is_empty());
    let header = |part: &str| {
        let (name, value) = part.split_once('=')?;
        let mut value = HeaderValue::from_str(value.trim()).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::from_bytes(name.trim().as_bytes()).ok()?, value))
    };
    parts.map(|part| header(part).ok_or(CollectorSetupError::Headers)).collect()
}

impl Collector {
    /// Creates a client without connecting. For `https` it reads the authorities that the system
    /// trusts, and so blocks.
    ///
    /// # Errors
    ///
    /// Returns a [`CollectorSetupError`] if the endpoint is no URL, or without TLS.
    pub fn new(settings: CollectorSettings) -> Result<Self, CollectorSetupError> {
        let endpoint = settings.endpoint.trim_end_matches('/');
        let uri: Uri = format!("{endpoint}{PATH}").parse().map_err(|_| CollectorSetupError::Endpoint)?;
        let is_url = matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
        if !is_url || uri.query().is_some() {
            return Err(CollectorSetupError::Endpoint);
        }
        let mut http = HttpConnector::new();
        http.set_connect_timeout(Some(settings.timeout / 2));
        http.set_nodelay(true);
        http.enforce_http(false);
        let provider = rustls::crypto::ring::default_provider;
        let system = (uri.scheme_str() == Some("https"))
            .then(|| HttpsConnectorBuilder::new().with_provider_and_native_roots(provider()));
        let builder = match system {
            Some(Ok(builder)) => builder,
            Some(Err(_)) | None => HttpsConnectorBuilder::new().with_provider_and_webpki_roots(provider())?,
        };
        let connector = builder.https_or_http().enable_http1().wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .build(connector);
        Ok(Self { client, uri, settings })
    }

    /// Sends a request without spans, to try the collector. Cancellation safe.
    ///
    /// # Errors
    ///
    /// Returns a [`CollectorError`] if the collector does not accept it.
    pub async fn try_it(&self) -> Result<(), CollectorError> {
        self.send(Bytes::from_static(br#"{"resourceSpans":[]}"#)).await.map(drop)
    }

    /// Sends a request, and returns the body of its response. Cancellation safe; the collector may
    /// have got the request.
    pub(super) async fn send(&self, body: Bytes) -> Result<Bytes, CollectorError> {
        let timeout = self.settings.timeout;
        let sending = tokio::time::timeout(timeout, self.exchange(body));
        sending.await.unwrap_or(Err(CollectorError::TimedOut(timeout.as_secs_f64())))
    }

    async fn exchange(&self, body: Bytes) -> Result<Bytes, CollectorError> {
        let unreachable =
            |error: &dyn std::error::Error| CollectorError::Unreachable(chain(error).to_string());
        let mut request = Request::post(self.uri.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(Full::new(body))
            .map_err(|error| unreachable(&error))?;
        request.headers_mut().extend(self.settings.headers.iter().cloned());
        let response = self.client.request(request).await.map_err(|error| unreachable(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), RESPONSE_BYTES_MAX).collect().await;
        if !status.is_success() {
            return Err(CollectorError::Status(status));
        }
        // A body that cannot be read says nothing about the spans, which were accepted.
        Ok(body.map(http_body_util::Collected::to_bytes).unwrap_or_default())
    }
}

impl CollectorError {
    /// Whether the same request may succeed later (OTLP, "Retryable Response Codes").
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TimedOut(_) => true,
            Self::Status(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
        }
    }
}

impl fmt::Debug for CollectorSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectorSettings")
            .field("endpoint", &self.endpoint)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("uri", &self.uri).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_names_and_values() {
        let headers = parse_headers(" authorization=Bearer a=b , x-scope=7\n").unwrap();
        let texts: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(texts, [("authorization", "Bearer a=b"), ("x-scope", "7")]);
        assert!(headers.iter().all(|(_, value)| value.is_sensitive()));
        assert!(parse_headers("").unwrap().is_empty());
        for bad in ["authorization", "a b=c", "=c", "a=\u{7}"] {
            assert!(matches!(parse_headers(bad), Err(CollectorSetupError::Headers)), "{bad}");
        }
    }

    #[test]
    fn endpoint_is_a_url_without_a_query() {
        let open = |endpoint: &str| {
            let timeout = Duration::from_secs(1);
            Collector::new(CollectorSettings { endpoint: endpoint.to_owned(), headers: Vec::new(), timeout })
        };
        assert_eq!(open("http://127.0.0.1:4318/").unwrap().uri, "http://127.0.0.1:4318/v1/traces");
        assert_eq!(open("http://host/otlp").unwrap().uri, "http://host/otlp/v1/traces");
        for bad in ["", "host:4318", "ftp://host", "http://host?x=1", "http://a b"] {
            assert!(matches!(open(bad), Err(CollectorSetupError::Endpoint)), "{bad}");
        }
    }
}
