//! What stands around every request of a listener.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use http::header::{HeaderValue, ORIGIN};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use tower_service::Service as _;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::cors::Origins;
use super::host::Hosts;
use super::problem::Problem;
use crate::delivery::EndNote;

/// Who is on the other end; travels with the request.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// The address of the connection.
    pub(super) address: SocketAddr,
    /// Where to find out why the connection was cut, if it was.
    pub(super) cut: EndNote,
    /// How far the connection has come.
    pub(super) progress: Arc<Progress>,
}

/// How far a connection has come; shared by whoever serves it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    asked: AtomicBool,
    streaming: AtomicBool,
}

impl Progress {
    /// Whether a request has arrived.
    pub(super) fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Whether a stream was opened, which only the client or the node ends.
    pub(super) fn streaming(&self) -> bool {
        self.streaming.load(Ordering::Relaxed)
    }

    /// A stream is opened.
    pub(super) fn begin_streaming(&self) {
        self.streaming.store(true, Ordering::Relaxed);
    }
}

/// The routes of a listener and what stands around them; one for all connections.
#[derive(Clone)]
pub struct Service {
    routes: BoxedFilter<(Response,)>,
    origins: Arc<Origins>,
    hosts: Hosts,
    header_bytes: usize,
}

impl Service {
    /// Puts routes behind the bounds and headers that all of them share.
    #[must_use]
    pub fn new(
        routes: BoxedFilter<(Response,)>,
        origins: Origins,
        hosts: Hosts,
        header_bytes: usize,
    ) -> Self {
        Self { routes, origins: Arc::new(origins), hosts, header_bytes }
    }

    /// What every request has to pass before it is routed.
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
        self.hosts.check(request.uri(), request.headers())
    }

    /// The service of one connection.
    pub(super) fn for_peer(&self, peer: Peer) -> PeerService {
        PeerService { service: self.clone(), peer }
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("header_bytes", &self.header_bytes).finish_non_exhaustive()
    }
}

/// The service of one connection.
#[derive(Debug)]
pub(super) struct PeerService {
    service: Service,
    peer: Peer,
}

impl hyper::service::Service<Request<Incoming>> for PeerService {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.peer.progress.asked.store(true, Ordering::Relaxed);
        let origin = request.headers().get(ORIGIN).cloned();
        let origins = Arc::clone(&self.service.origins);
        if let Err(problem) = self.service.check(&request) {
            return Box::pin(
                async move { Ok(decorated(&origins, origin.as_ref(), problem.into_response())) },
            );
        }
        request.extensions_mut().insert(self.peer.clone());
        let mut routes = warp::service(self.service.routes.clone());
        Box::pin(async move {
            let response = routes.call(request).await?;
            Ok(decorated(&origins, origin.as_ref(), response))
        })
    }
}

fn decorated(origins: &Origins, origin: Option<&HeaderValue>, mut response: Response) -> Response {
    origins.decorate(origin, response.headers_mut());
    response
}

/// The size of a request's head as HTTP/1.1 writes it.
fn head_bytes(request: &Request<Incoming>) -> usize {
    let line = request.method().as_str().len() + request.uri().to_string().len() + " HTTP/1.1\r\n ".len();
    let fields =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    line + fields.sum::<usize>() + "\r\n".len()
}
