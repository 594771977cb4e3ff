//! The app behind `auth.forward.url`: it knows users by a session cookie.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A running app. It ends with the value.
#[derive(Debug)]
pub struct App {
    address: SocketAddr,
    shared: Arc<AppState>,
    _server: JoinSet<()>,
}

#[derive(Debug, Default)]
struct AppState {
    /// Session → user, and the workspaces that are open to the user.
    sessions: Mutex<HashMap<String, (String, Vec<String>)>>,
    broken: AtomicBool,
    slow: watch::Sender<bool>,
    slow_for_strangers: watch::Sender<bool>,
    asked: AtomicUsize,
    confirmed: AtomicUsize,
}

impl App {
    /// Starts an app without sessions on a port of its own.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(AppState::default());
        let mut server = JoinSet::new();
        let answering = Arc::clone(&shared);
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&answering);
                let service = service_fn(move |request| {
                    let answer = shared.answer(&request);
                    let mut slow = shared.slow.subscribe();
                    let mut slow_for_strangers = shared.slow_for_strangers.subscribe();
                    let is_stranger = answer.status() == StatusCode::UNAUTHORIZED;
                    async move {
                        let _ = slow.wait_for(|slow| !slow).await;
                        let _ = slow_for_strangers.wait_for(|slow| !(*slow && is_stranger)).await;
                        Ok::<_, Infallible>(answer)
                    }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                let connection = connection.serve_connection(TokioIo::new(stream), service);
                connections.spawn(async { drop(connection.await) });
            }
        });
        Self { address, shared, _server: server }
    }

    /// The value of `auth.forward.url`.
    pub fn url(&self) -> String {
        format!("http://{}/may/{{workspace}}", self.address)
    }

    /// A client with this session is this user, and may see these workspaces.
    pub fn sign_in(&self, session: &str, user: &str, workspaces: &[&str]) {
        let workspaces = workspaces.iter().map(|&id| id.to_owned()).collect();
        self.shared.sessions.lock().insert(session.to_owned(), (user.to_owned(), workspaces));
    }

    /// The session is over.
    pub fn sign_out(&self, session: &str) {
        self.shared.sessions.lock().remove(session);
    }

    /// From now on every response is 500, or no more.
    pub fn set_broken(&self, broken: bool) {
        self.shared.broken.store(broken, Ordering::Relaxed);
    }

    /// From now on responses wait until this is taken back.
    pub fn set_slow(&self, slow: bool) {
        self.shared.slow.send_replace(slow);
    }

    /// From now on responses to those without a session wait until this is taken back.
    pub fn set_slow_without_credentials(&self, slow: bool) {
        self.shared.slow_for_strangers.send_replace(slow);
    }

    /// How often the app authenticated a client.
    pub fn confirmed(&self) -> usize {
        self.shared.confirmed.load(Ordering::Relaxed)
    }

    /// How often the app was asked.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::Relaxed)
    }
}

impl AppState {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut answer = Response::new(Full::default());
        if self.broken.load(Ordering::Relaxed) {
            *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            return answer;
        }
        let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let session = text("cookie").and_then(|cookie| cookie.strip_prefix("session="));
        let workspace = request.uri().path().strip_prefix("/may/").unwrap_or_default();
        let sessions = self.sessions.lock();
        match session.and_then(|session| sessions.get(session)) {
            None => *answer.status_mut() = StatusCode::UNAUTHORIZED,
            Some((_, workspaces)) if !workspaces.iter().any(|id| id == workspace) => {
                *answer.status_mut() = StatusCode::FORBIDDEN;
            }
            Some((user, _)) => {
                self.confirmed.fetch_add(1, Ordering::Relaxed);
                let headers = answer.headers_mut();
                headers.insert("x-tidings-user", user.parse().expect("a header"));
                if text("x-tidings-action") == Some("publish") && user == "editor" {
                    headers.insert("x-tidings-publish", "true".parse().expect("a header"));
                }
            }
        }
        answer
    }
}
