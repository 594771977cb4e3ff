//! The paths of the admin listener, and their responses.

use std::sync::Arc;

use http::StatusCode;
use http::header::{self, HeaderValue};
use serde_json::{Value, json};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::node::Node;
use crate::http::Problem;
use crate::http::request::path::end;

const ALLOW: &str = "GET, HEAD";

/// The type of `/metrics`; Prometheus' older parser reads the text too.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The response of a path to a request.
type Respond = fn(&Node) -> Response;

/// All paths of the admin listener, below its root. A test compares them with `docs/openapi.json`.
pub const ADMIN_PATHS: [&str; 5] = ["live", "ready", "status", "metrics", "openapi.json"];

const RESPONSES: [Respond; ADMIN_PATHS.len()] = [
    |_| text("alive\n".to_owned(), "text/plain; charset=utf-8"),
    ready,
    |node| json_response(StatusCode::OK, &node.status()),
    metrics,
    |node| text(node.openapi().to_owned(), "application/json"),
];

/// Returns the routes of [`ADMIN_PATHS`].
pub fn routes(node: &Arc<Node>) -> BoxedFilter<(Response,)> {
    let hint = format!("there is nothing at this path: this listener has /{}", ADMIN_PATHS.join(", /"));
    let nothing = warp::any().map(move || Problem::not_found(hint.clone()).into_response()).boxed();
    ADMIN_PATHS.into_iter().zip(RESPONSES).rfold(nothing, |others, (path, respond)| {
        let node = Arc::clone(node);
        let got = warp::get().or(warp::head()).unify().map(move || respond(&node));
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

fn metrics(node: &Node) -> Response {
    match node.metrics().encode() {
        Ok(metrics) => text(metrics, OPENMETRICS),
        Err(_) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "metrics", "a metric could not be written")
            .into_response(),
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
