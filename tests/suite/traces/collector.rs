//! A collector that keeps the spans that it gets: OTLP over HTTP in JSON.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::support::{DEADLINE, eventually};

/// Every field that OTLP 1.x has in a span, among those that a node sends.
const SPAN_FIELDS: [&str; 10] = [
    "traceId",
    "spanId",
    "parentSpanId",
    "flags",
    "name",
    "kind",
    "startTimeUnixNano",
    "endTimeUnixNano",
    "attributes",
    "status",
];

/// A running collector. It ends with the value.
pub(super) struct TestCollector {
    pub(super) address: SocketAddr,
    state: Arc<Mutex<CollectorState>>,
    task: AbortHandle,
}

#[derive(Default)]
struct CollectorState {
    spans: Vec<ReceivedSpan>,
    bodies: Vec<Value>,
    authorizations: Vec<String>,
    requests: usize,
    status: Option<u16>,
}

/// A span, read strictly.
#[derive(Debug, Clone)]
pub(super) struct ReceivedSpan {
    /// The id of the node.
    pub(super) instance: String,
    pub(super) trace: String,
    pub(super) span: String,
    pub(super) parent: Option<String>,
    pub(super) name: String,
    pub(super) kind: u64,
    pub(super) nanoseconds: u128,
    attributes: Value,
}

impl TestCollector {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::<Mutex<CollectorState>>::default());
        let shared = Arc::clone(&state);
        let serve = async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { return };
                let state = Arc::clone(&shared);
                let service = service_fn(move |request| take(request, Arc::clone(&state)));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service);
                tokio::spawn(connection);
            }
        };
        Self { address, state, task: tokio::spawn(serve).abort_handle() }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Responds with a status from now on; `None` for success.
    pub(super) fn respond(&self, status: Option<u16>) {
        self.state.lock().status = status;
    }

    pub(super) fn requests(&self) -> usize {
        self.state.lock().requests
    }

    pub(super) fn authorizations(&self) -> Vec<String> {
        self.state.lock().authorizations.clone()
    }

    /// The bodies of all requests that it took.
    pub(super) fn bodies(&self) -> Vec<Value> {
        self.state.lock().bodies.clone()
    }

    pub(super) fn spans(&self) -> Vec<ReceivedSpan> {
        self.state.lock().spans.clone()
    }

    /// Waits for a number of spans.
    pub(super) async fn wait(&self, count: usize) -> Vec<ReceivedSpan> {
        eventually(&format!("{count} spans"), DEADLINE, async || self.spans().len() >= count).await;
        let spans = self.spans();
        assert_eq!(spans.len(), count, "{spans:#?}");
        spans
    }
}

impl Drop for TestCollector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ReceivedSpan {
    /// An attribute, as its text.
    pub(super) fn get(&self, key: &str) -> Option<String> {
        let list = self.attributes.as_array().unwrap();
        let value = &list.iter().find(|attribute| attribute["key"] == key)?["value"];
        let [(kind, value)] = &value.as_object().unwrap().iter().collect::<Vec<_>>()[..] else {
            panic!("{value}")
        };
        Some(match kind.as_str() {
            "stringValue" | "intValue" => value.as_str().unwrap().to_owned(),
            "boolValue" => value.as_bool().unwrap().to_string(),
            other => panic!("{other}"),
        })
    }

    fn read(instance: &str, span: &Value) -> Self {
        for field in span.as_object().unwrap().keys() {
            assert!(SPAN_FIELDS.contains(&field.as_str()), "{field}");
        }
        let id = |field: &str, digits: usize| {
            let text = span[field].as_str().unwrap().to_owned();
            assert!(
                text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{field}: {text}"
            );
            text
        };
        let time = |field: &str| span[field].as_str().unwrap().parse::<u128>().unwrap();
        Self {
            instance: instance.to_owned(),
            trace: id("traceId", 32),
            span: id("spanId", 16),
            parent: span.get("parentSpanId").map(|_| id("parentSpanId", 16)),
            name: span["name"].as_str().unwrap().to_owned(),
            kind: span["kind"].as_u64().unwrap(),
            nanoseconds: time("endTimeUnixNano").checked_sub(time("startTimeUnixNano")).unwrap(),
            attributes: span["attributes"].clone(),
        }
    }
}

async fn take(
    request: hyper::Request<Incoming>,
    state: Arc<Mutex<CollectorState>>,
) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/v1/traces"));
    assert_eq!(request.headers()["content-type"], "application/json");
    let authorization =
        request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let mut state = state.lock();
    state.requests += 1;
    state.authorizations.extend(authorization);
    if let Some(status) = state.status {
        return Ok(hyper::Response::builder().status(status).body(Full::default()).unwrap());
    }
    for resource in body["resourceSpans"].as_array().unwrap() {
        let attributes = resource["resource"]["attributes"].as_array().unwrap();
        let of = |key: &str| {
            let found = attributes.iter().find(|attribute| attribute["key"] == key).unwrap();
            found["value"]["stringValue"].as_str().unwrap().to_owned()
        };
        assert_eq!(of("service.name"), "tidings");
        let instance = of("service.instance.id");
        for scope in resource["scopeSpans"].as_array().unwrap() {
            state.spans.extend(
                scope["spans"].as_array().unwrap().iter().map(|span| ReceivedSpan::read(&instance, span)),
            );
        }
    }
    state.bodies.push(body);
    Ok(hyper::Response::new(Full::from("{}")))
}
