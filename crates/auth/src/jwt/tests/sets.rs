//! Keys from real servers, which change them, fail, stall and send wrong ones.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jsonwebtoken::Algorithm;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::support::{Pair, claims, config, now, refused, signed};
use crate::jwt::Verifier;
use crate::{Denial, DenialKind, DenialReason};
use tidings_metrics::Metrics;

const DEADLINE: Duration = Duration::from_secs(40);

#[derive(Clone)]
struct KeyResponse {
    status: StatusCode,
    body: String,
    delay: Duration,
}

impl KeyResponse {
    fn keys(keys: &[Value]) -> Self {
        let body = json!({ "keys": keys }).to_string();
        Self { status: StatusCode::OK, body, delay: Duration::ZERO }
    }
}

/// A server that publishes keys and counts their fetches.
struct Provider {
    address: SocketAddr,
    fetches: Arc<AtomicUsize>,
    response: Arc<Mutex<KeyResponse>>,
    task: JoinHandle<()>,
}

impl Provider {
    async fn start(response: KeyResponse) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fetches = Arc::new(AtomicUsize::new(0));
        let response = Arc::new(Mutex::new(response));
        let shared = (Arc::clone(&fetches), Arc::clone(&response));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (fetches, response) = shared.clone();
                let service = service_fn(move |_| {
                    fetches.fetch_add(1, Ordering::SeqCst);
                    let response = response.lock().clone();
                    async move {
                        tokio::time::sleep(response.delay).await;
                        let response = Response::builder()
                            .status(response.status)
                            .header("location", "/elsewhere")
                            .body(Full::new(Bytes::from(response.body)));
                        Ok::<_, Infallible>(response.unwrap())
                    }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, fetches, response, task }
    }

    fn url(&self) -> String {
        format!("http://{}/jwks?app=1", self.address)
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    fn publish(&self, response: KeyResponse) {
        *self.response.lock() = response;
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A verifier that updates its keys until the test ends.
struct Running {
    verifier: Arc<Verifier>,
    metrics: Metrics,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(settings: &[(&str, &str)]) -> Self {
        let metrics = Metrics::new();
        let settings = [&[("algorithm", "ES256,ES384")], settings].concat();
        let verifier = Arc::new(Verifier::new(&config(&settings), &metrics).unwrap());
        let stop = CancellationToken::new();
        let task = tokio::spawn(Arc::clone(&verifier).run(stop.clone()));
        Self { verifier, metrics, stop, task }
    }

    async fn check(&self, token: &str) -> Result<(), Denial> {
        self.verifier.verify(token).await.map(|_| ())
    }

    async fn until(&self, description: &str, mut holds: impl AsyncFnMut(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !holds(self).await {
            assert!(Instant::now() < deadline, "{description}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn token(pair: Pair, id: &str, others: &Value) -> String {
    let algorithm = if matches!(pair, Pair::P384) { Algorithm::ES384 } else { Algorithm::ES256 };
    signed(algorithm, &pair.signing(), Some(id), &claims(others))
}

/// A token whose signature is never checked, because its key id is unknown.
fn unsigned(id: &str, others: &Value) -> String {
    let header = json!({ "alg": "ES384", "kid": id });
    let parts = [header, claims(others)].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    format!("{}.{}.AAAA", parts[0], parts[1])
}

fn passing(denial: &Denial) -> bool {
    denial.kind == DenialKind::Passing && denial.reason == DenialReason::KeysUnavailable
}

#[tokio::test]
async fn new_key_is_found_and_old_key_is_gone() {
    let provider = Provider::start(KeyResponse::keys(&[Pair::P256.jwk("a")])).await;
    let running = Running::start(&[("jwks_url", &provider.url()), ("jwks_min_interval_seconds", "0.01")]);
    let (old, new) = (token(Pair::P256, "a", &json!({})), token(Pair::P384, "b", &json!({})));
    // The very first token waits for the first fetch.
    running.check(&old).await.unwrap();
    provider.publish(KeyResponse::keys(&[Pair::P384.jwk("b")]));
    running.until("the new key is found", async |running| running.check(&new).await.is_ok()).await;
    running
        .until("the old key is gone", async |running| {
            running.check(&old).await.is_err_and(|denial| refused(DenialReason::Key, &denial))
        })
        .await;
}

/// An outage of the key server keeps the known keys.
#[tokio::test]
async fn last_known_keys_outlive_their_server() {
    let provider = Provider::start(KeyResponse::keys(&[Pair::P256.jwk("a")])).await;
    let settings = [
        ("jwks_url", &*provider.url()),
        ("jwks_refresh_seconds", "0.02"),
        ("jwks_min_interval_seconds", "0.02"),
    ];
    let running = Running::start(&settings);
    let known = token(Pair::P256, "a", &json!({}));
    running.check(&known).await.unwrap();
    let failures = |running: &Running| running.metrics.jwks_fetch_failures.get();
    for broken in [
        KeyResponse {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            ..KeyResponse::keys(&[Pair::P384.jwk("b")])
        },
        KeyResponse { status: StatusCode::FOUND, ..KeyResponse::keys(&[Pair::P384.jwk("b")]) },
        KeyResponse { body: "<html>".to_owned(), ..KeyResponse::keys(&[]) },
        KeyResponse { body: " ".repeat(300_000), ..KeyResponse::keys(&[]) },
        KeyResponse::keys(&[]),
        KeyResponse::keys(&[json!({ "kty": "oct", "k": "AAAA", "kid": "b" })]),
    ] {
        provider.publish(broken);
        let before = failures(&running);
        // One fetch may be under way with the previous response.
        running.until("fetches fail", async |running| failures(running) >= before + 2).await;
        running.check(&known).await.unwrap();
    }
    provider.task.abort();
    let before = failures(&running);
    running.until("fetches fail", async |running| failures(running) >= before + 2).await;
    running.check(&known).await.unwrap();
    let unknown = token(Pair::P384, "b", &json!({}));
    assert!(running.check(&unknown).await.is_err_and(|denial| passing(&denial)));
}

/// Unknown keys cost a bounded number of fetches.
#[tokio::test]
async fn many_unknown_keys_cost_one_fetch() {
    let provider = Provider::start(KeyResponse::keys(&[Pair::P256.jwk("a")])).await;
    let settings = [("jwks_url", &*provider.url()), ("jwks_min_interval_seconds", "2")];
    let running = Running::start(&settings);
    running.check(&token(Pair::P256, "a", &json!({}))).await.unwrap();
    let burst = async |others: Value| {
        let tasks: Vec<_> = (0..200)
            .map(|n| {
                let verifier = Arc::clone(&running.verifier);
                let token = unsigned(&format!("unknown-{n}"), &others);
                tokio::spawn(async move { verifier.verify(&token).await.unwrap_err() })
            })
            .collect();
        let mut denials = Vec::new();
        for task in tasks {
            denials.push(task.await.unwrap());
        }
        denials
    };
    // The keys were just fetched. The key of an old token is not among them for good; a younger
    // token may try again.
    let began = Instant::now();
    let old = burst(json!({ "iat": now() - 60 })).await;
    let young = burst(json!({ "iat": now() + 5 })).await;
    if began.elapsed() < Duration::from_secs(1) {
        assert_eq!(provider.fetches(), 1);
        assert!(young.iter().all(passing), "{young:?}");
    }
    assert!(old.iter().all(|denial| refused(DenialReason::Key, denial)), "{old:?}");

    // Later, one fetch serves all requests that come while it is under way.
    provider.publish(KeyResponse {
        delay: Duration::from_millis(400),
        ..KeyResponse::keys(&[Pair::P256.jwk("a")])
    });
    tokio::time::sleep_until(tokio::time::Instant::from_std(began) + Duration::from_millis(2200)).await;
    let before = provider.fetches();
    let denials = burst(json!({ "iat": now() + 5 })).await;
    assert_eq!(provider.fetches(), before + 1);
    assert!(denials.iter().any(|denial| refused(DenialReason::Key, denial)));
}

#[tokio::test]
async fn first_keys_are_awaited_and_may_come_later() {
    let stalled =
        KeyResponse { delay: Duration::from_secs(3600), ..KeyResponse::keys(&[Pair::P256.jwk("a")]) };
    let provider = Provider::start(stalled).await;
    let settings = [
        ("jwks_url", &*provider.url()),
        ("jwks_timeout_seconds", "0.2"),
        ("jwks_min_interval_seconds", "0.05"),
    ];
    let running = Running::start(&settings);
    let token = token(Pair::P256, "a", &json!({}));
    let began = Instant::now();
    assert!(running.check(&token).await.is_err_and(|denial| passing(&denial)));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    provider.publish(KeyResponse::keys(&[Pair::P256.jwk("a")]));
    running.until("the keys are had", async |running| running.check(&token).await.is_ok()).await;
}

/// A key of one issuer never verifies a token of another.
#[tokio::test]
async fn keys_of_one_issuer_do_not_verify_for_another() {
    let one = Provider::start(KeyResponse::keys(&[Pair::P256.jwk("a")])).await;
    let other = Provider::start(KeyResponse::keys(&[Pair::P384.jwk("a")])).await;
    let urls = format!("{},{}", one.url(), other.url());
    let settings = [("jwks_url", &*urls), ("issuer", "one,other"), ("jwks_min_interval_seconds", "0.01")];
    let running = Running::start(&settings);
    for (pair, issuer, expected) in [
        (Pair::P256, json!("one"), None),
        (Pair::P384, json!("other"), None),
        (Pair::P256, json!("other"), Some(DenialReason::Key)),
        (Pair::P384, json!("one"), Some(DenialReason::Key)),
        (Pair::P256, json!("third"), Some(DenialReason::Issuer)),
        (Pair::P256, json!(null), Some(DenialReason::Issuer)),
        (Pair::P256, json!(["one"]), Some(DenialReason::Issuer)),
    ] {
        let token = token(pair, "a", &json!({ "iss": issuer, "iat": now() - 60 }));
        let check = running.check(&token).await.err().map(|denial| denial.reason);
        assert_eq!(check, expected, "{pair:?} {issuer}");
    }
}

#[tokio::test]
async fn fetching_ends_on_cancellation() {
    let stalled = KeyResponse { delay: Duration::from_secs(3600), ..KeyResponse::keys(&[]) };
    let provider = Provider::start(stalled).await;
    let mut running = Running::start(&[("jwks_url", &provider.url())]);
    running.until("a fetch is on its way", async |_| provider.fetches() > 0).await;
    running.stop.cancel();
    tokio::time::timeout(DEADLINE, &mut running.task).await.unwrap().unwrap();
}
