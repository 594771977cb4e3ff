//! Requests to a real HTTP server.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;
use crate::defaults::section;
use tidings_metrics::{ForwardMetrics, ForwardOutcome};
use tidings_settings::Seconds;

mod caching;
mod outages;
mod rules;
mod sharing;

/// Longer than any event of these tests takes.
const DEADLINE: Duration = Duration::from_secs(40);

/// A request that the app received.
#[derive(Debug, Clone)]
struct Seen {
    method: String,
    target: String,
    headers: HashMap<String, String>,
}

/// An app with given responses, which stores the requests that it received.
struct TestApp {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _server: JoinSet<()>,
}

type TestResponse = Response<Full<Bytes>>;

impl TestApp {
    async fn start<F: Future<Output = TestResponse> + Send + 'static>(
        respond: impl Fn(Seen) -> F + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, respond) = (Arc::new(Mutex::new(Vec::new())), Arc::new(respond));
        let mut server = JoinSet::new();
        let noted = Arc::clone(&seen);
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (noted, respond) = (Arc::clone(&noted), Arc::clone(&respond));
                let service = service_fn(move |request: Request<Incoming>| {
                    let seen = Seen::of(&request);
                    noted.lock().push(seen.clone());
                    let response = respond(seen);
                    async move { Ok::<_, std::convert::Infallible>(response.await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                connections.spawn(async { drop(connection.await) });
            }
        });
        Self { address, seen, _server: server }
    }

    /// An app that always gives the same response.
    async fn responding(status: u16, headers: &[(&'static str, &'static str)]) -> Self {
        let headers = headers.to_vec();
        Self::start(move |_| {
            let response = response(status, &headers);
            async move { response }
        })
        .await
    }

    fn asked(&self) -> usize {
        self.seen.lock().len()
    }

    fn auth(&self) -> ForwardAuth {
        self.auth_with(|_| {})
    }

    fn auth_with(&self, change: impl FnOnce(&mut ForwardConfig)) -> ForwardAuth {
        auth(self.address, change)
    }
}

impl Seen {
    fn of(request: &Request<Incoming>) -> Self {
        let headers = request.headers().iter();
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        Self {
            method: request.method().to_string(),
            target: request.uri().to_string(),
            headers: headers.map(|(name, value)| (name.to_string(), text(value))).collect(),
        }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

fn response(status: u16, headers: &[(&'static str, &'static str)]) -> TestResponse {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Full::from("said")).unwrap()
}

fn auth(address: SocketAddr, change: impl FnOnce(&mut ForwardConfig)) -> ForwardAuth {
    ForwardAuth::new(&settings(address, change), ForwardMetrics::default()).unwrap()
}

fn settings(address: SocketAddr, change: impl FnOnce(&mut ForwardConfig)) -> ForwardConfig {
    let mut config: ForwardConfig = section("auth.forward", &[]);
    config.url = ForwardUrl::new(format!("http://{address}/may/{{workspace}}?key=k"));
    config.timeout_seconds = Seconds::new(DEADLINE);
    change(&mut config);
    config
}

fn seconds(seconds: f64) -> Seconds {
    Seconds::new(Duration::from_secs_f64(seconds))
}

/// The data for the app of a client with a session cookie.
fn of_user(auth: &ForwardAuth, user: &str) -> AuthRequest {
    from(auth, user, "192.0.2.7")
}

fn from(auth: &ForwardAuth, user: &str, address: &str) -> AuthRequest {
    let mut headers = HeaderMap::new();
    headers.insert("cookie", HeaderValue::from_str(&format!("session={user}")).unwrap());
    let target = "/api/workspaces/acme/events?named=1&token=s3cret";
    auth.auth_request(&headers, address.parse().unwrap(), "https", Some("app.example"), target)
}

fn acme() -> WorkspaceId {
    WorkspaceId::parse("acme").unwrap()
}

async fn read(auth: &ForwardAuth, auth_request: &AuthRequest) -> Result<Decision, Denial> {
    tokio::time::timeout(DEADLINE, auth.ask(&acme(), Action::Subscribe, auth_request)).await.unwrap()
}

/// Returns the user that the app accepts.
async fn user(auth: &ForwardAuth, name: &str) -> String {
    let decision = read(auth, &of_user(auth, name)).await.unwrap();
    decision.identity.user.map(|user| user.to_string()).unwrap_or_default()
}

async fn eventually(description: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {description}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
