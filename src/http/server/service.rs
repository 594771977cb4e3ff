//! The checks and headers around every request of a listener.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, ORIGIN, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use http::{Request, StatusCode, Version};
use hyper::body::Incoming;
use tower_service::Service as _;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::connection::HEADERS_MAX;
use super::connection_state::ConnectionState;
use crate::http::request::client_address::TrustedProxies;
use crate::http::request::host::Hosts;
use crate::http::request::limit_exceeded::LimitExceeded;
use crate::http::request::peer::Peer;
use crate::http::response::cors::CorsRules;
use crate::http::response::problem::Problem;
use crate::http::response::refusal::{self, LoggedRequest, RequestKind};
use tidings_delivery::CloseReason;
use tidings_limits::AddressCounts;
use tidings_metrics::Metrics;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// The body of the routes' responses, whose type has no name of its own.
pub(crate) trait HttpResponse {
    type Body;
}

impl<B> HttpResponse for http::Response<B> {
    type Body = B;
}

/// The other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    /// Its address, or that of a PROXY header.
    pub(crate) address: SocketAddr,
    /// Whether that is the address of the sender of its requests. It is not if a PROXY header names
    /// no address: then the sender can be any client of the proxy.
    pub(crate) is_named: bool,
    /// Whether the connection is over TLS.
    pub(crate) secure: bool,
    /// The limit that the connection exceeds, if it is an overflow connection.
    pub(crate) exceeded: Option<LimitExceeded>,
    /// The counts of each client address.
    pub(crate) addresses: Arc<AddressCounts>,
    /// The reason for which the connection was aborted, if it was.
    pub(crate) close_reason: CloseReason,
    /// The state of the connection.
    pub(crate) connection_state: Arc<ConnectionState>,
}

/// The routes of a listener and the checks around them; one for all connections.
#[derive(Clone)]
pub struct Service {
    routes: BoxedFilter<(Response,)>,
    origins: Arc<CorsRules>,
    hosts: Hosts,
    proxies: Arc<TrustedProxies>,
    header_bytes: usize,
    metrics: Arc<Metrics>,
}

impl Service {
    /// Puts routes behind the bounds and headers that all of them share.
    #[must_use]
    pub fn new(
        routes: BoxedFilter<(Response,)>,
        origins: Arc<CorsRules>,
        hosts: Hosts,
        proxies: Arc<TrustedProxies>,
        header_bytes: usize,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { routes, origins, hosts, proxies, header_bytes, metrics }
    }

    /// The trusted proxies.
    pub(crate) fn proxies(&self) -> Arc<TrustedProxies> {
        Arc::clone(&self.proxies)
    }

    /// Checks a request before it is routed.
    fn check(&self, request: &Request<Incoming>) -> Result<(), Problem> {
        if head_bytes(request) > self.header_bytes {
            return Err(Problem::new(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "head-too-large",
                format!(
                    "the request's head has more than {} bytes (server.header_bytes): send fewer or smaller headers, \
                     cookies above all",
                    self.header_bytes
                ),
            ));
        }
        // Over HTTP/1.1 the HTTP library has counted them already.
        if request.headers().len() > HEADERS_MAX {
            return Err(Problem::new(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "head-too-large",
                format!("the request's head has more than {HEADERS_MAX} fields: send fewer headers"),
            ));
        }
        check_transfer_encoding(request.headers())?;
        self.hosts.check(request)
    }

    /// The service of one connection.
    pub(crate) fn for_remote(&self, remote: Remote) -> PeerService {
        PeerService { service: self.clone(), remote }
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("header_bytes", &self.header_bytes).finish_non_exhaustive()
    }
}

/// The service of one connection.
#[derive(Debug)]
pub(crate) struct PeerService {
    service: Service,
    remote: Remote,
}

impl PeerService {
    /// Whether this is an overflow connection.
    pub(crate) fn is_overflow(&self) -> bool {
        self.remote.exceeded.is_some()
    }

    /// The client of a request.
    fn peer(&self, request: &Request<Incoming>) -> Peer {
        let Remote {
            address,
            is_named,
            secure,
            exceeded,
            addresses,
            close_reason,
            connection_state: connection,
        } = self.remote.clone();
        // The engine writes chunks, which HTTP/1.0 does not know.
        let can_hand_off = request.version() == Version::HTTP_11 && connection.handoff().is_some();
        let proxies = if is_named { &*self.service.proxies } else { &TrustedProxies::none() };
        let client = proxies.client(address.ip(), secure, request.uri(), request.headers());
        let addresses = (!proxies.trust(client.address)).then_some(addresses);
        let is_http2 = request.version() == Version::HTTP_2;
        Peer { address, client, exceeded, addresses, close_reason, is_http2, can_hand_off, connection }
    }
}

impl hyper::service::Service<Request<Incoming>> for PeerService {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.remote.connection_state.request_arrived();
        let origin = request.headers().get(ORIGIN).cloned();
        let origins = Arc::clone(&self.service.origins);
        let version = request.version();
        let checked = self.service.check(&request);
        // HTTP/2 has no such header, and ends a connection by its own means. The bytes behind a
        // rejected head may be a part of that request.
        let closes = (self.is_overflow() || checked.is_err()) && version < Version::HTTP_2;
        let connection_state = Arc::clone(&self.remote.connection_state);
        let metrics = Arc::clone(&self.service.metrics);
        let finish = move |mut response: Response| {
            refusal::count(&metrics, &response);
            let headers = response.headers_mut();
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            if closes {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            } else if version == Version::HTTP_11 && !connection_state.streaming() {
                announce_idle_timeout(headers, connection_state.timer.idle_timeout());
            }
            origins.decorate(origin.as_ref(), headers);
            response
        };
        if let Err(problem) = checked {
            let Remote { address, .. } = self.remote;
            let logged =
                LoggedRequest { kind: RequestKind::Any, workspace: None, address, client: address.ip() };
            let mut response = problem.into_response();
            logged.log(&mut response);
            return Box::pin(async move { Ok(finish(response)) });
        }
        let peer = self.peer(&request);
        request.extensions_mut().insert(peer);
        let mut routes = warp::service(self.service.routes.clone());
        Box::pin(async move { Ok(finish(routes.call(request).await?)) })
    }
}

/// Announces how long the connection waits for a further request, so that the client sends none
/// after that.
fn announce_idle_timeout(headers: &mut HeaderMap, idle_timeout: Duration) {
    if let Ok(value) = HeaderValue::from_str(&format!("timeout={}", idle_timeout.as_secs())) {
        headers.insert(KEEP_ALIVE, value);
    }
}

/// Refuses a body in any coding but `chunked`, given once. hyper reads every body whose last
/// coding that is, and leaves the codings below it as they are (RFC 9112 section 6.1).
fn check_transfer_encoding(headers: &HeaderMap) -> Result<(), Problem> {
    let lines = headers.get_all(TRANSFER_ENCODING).iter();
    let codings = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    let mut chunked = 0;
    for coding in codings.map(<[u8]>::trim_ascii).filter(|coding| !coding.is_empty()) {
        if !coding.eq_ignore_ascii_case(b"chunked") {
            return Err(Problem::new(
                StatusCode::NOT_IMPLEMENTED,
                "unknown-transfer-coding",
                "the request's body is in a transfer coding other than chunked: send it with chunked alone, or with its length",
            ));
        }
        chunked += 1;
    }
    if chunked > 1 {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "bad-transfer-encoding",
            "the request's body is chunked more than once: name chunked once in Transfer-Encoding",
        ));
    }
    Ok(())
}

/// The size of a request's head as HTTP/1.1 writes it.
fn head_bytes(request: &Request<Incoming>) -> usize {
    let line = request.method().as_str().len() + request.uri().to_string().len() + " HTTP/1.1\r\n ".len();
    let fields =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    line + fields.sum::<usize>() + "\r\n".len()
}
