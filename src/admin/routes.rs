//! The paths of the admin listener, and their responses.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};
use serde_json::{Value, json};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::console::{self, Console};
use super::node::Node;
use crate::http::Problem;
use crate::http::request::path::end;
use tidings_metrics::TextFormat;

const ALLOW: &str = "GET, HEAD";

/// The response of a path to a request with these headers.
type Respond = fn(Arc<Node>, &HeaderMap) -> BoxFuture<'static, Response>;

/// All paths of the admin listener, below its root. A test compares them with `docs/openapi.json`.
pub const ADMIN_PATHS: [&str; 5] = ["live", "ready", "status", "metrics", "openapi.json"];

const RESPONSES: [Respond; ADMIN_PATHS.len()] = [
    |_, _| at_once(text("alive\n".to_owned(), "text/plain; charset=utf-8")),
    |node, _| at_once(ready(&node)),
    |node, _| at_once(json_response(StatusCode::OK, &node.status())),
    metrics,
    |node, _| at_once(text(node.openapi().to_owned(), "application/json")),
];

/// Returns the routes of [`ADMIN_PATHS`], and those of the console.
pub fn routes(node: &Arc<Node>, console: &Arc<Console>) -> BoxedFilter<(Response,)> {
    let hint = format!("there is nothing at this path: this listener has /, /{}", ADMIN_PATHS.join(", /"));
    let console = console::routes(console, hint);
    ADMIN_PATHS.into_iter().zip(RESPONSES).rfold(console, |others, (path, respond)| {
        let node = Arc::clone(node);
        let got = warp::get().or(warp::head()).unify();
        let got = got
            .and(warp::header::headers_cloned())
            .then(move |headers: HeaderMap| respond(Arc::clone(&node), &headers));
        let other_method = warp::any().map(|| Problem::method_not_allowed(ALLOW).into_response());
        let page = warp::path(path).and(end()).and(got.or(other_method).unify());
        page.or(others).unify().boxed()
    })
}

fn ready(node: &Node) -> Response {
    let unready = node.unready();
    if unready.is_empty() {
        json_response(StatusCode::OK, &json!({ "ready": true }))
    } else {
        json_response(StatusCode::SERVICE_UNAVAILABLE, &json!({ "ready": false, "because": unready }))
    }
}

/// Returns a response that needs no wait.
fn at_once(response: Response) -> BoxFuture<'static, Response> {
    Box::pin(std::future::ready(response))
}

/// Returns all metrics. A scrape reads files of the system, so it runs on a thread that may block.
fn metrics(node: Arc<Node>, headers: &HeaderMap) -> BoxFuture<'static, Response> {
    let format = text_format(headers);
    Box::pin(async move {
        match tokio::task::spawn_blocking(move || node.scrape(format)).await {
            Ok(Ok(metrics)) => text(metrics, format.content_type()),
            Ok(Err(_)) | Err(_) => {
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "metrics", "a metric could not be written")
                    .into_response()
            }
        }
    })
}

/// Returns the format that a request asks for. Prometheus and every client that accepts OpenMetrics
/// name it in `Accept`.
fn text_format(headers: &HeaderMap) -> TextFormat {
    let accepts = |value: &HeaderValue| {
        value.to_str().is_ok_and(|value| value.contains("application/openmetrics-text"))
    };
    if headers.get_all(header::ACCEPT).iter().any(accepts) {
        TextFormat::OpenMetrics
    } else {
        TextFormat::Prometheus
    }
}

fn json_response(status: StatusCode, body: &Value) -> Response {
    let mut response = text(format!("{body}\n"), "application/json");
    *response.status_mut() = status;
    response
}

fn text(body: String, content_type: &'static str) -> Response {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
