//! The paths of the admin listener, and their responses.

use std::sync::Arc;

use http::StatusCode;
use http::header::{self, HeaderValue};
use serde_json::{Value, json};
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::node::Node;
use crate::http::Problem;
use crate::http::request::path::end;

const ALLOW: &str = "GET, HEAD";

/// The type of `/metrics`; Prometheus' older parser reads the text too.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Returns the routes of `/live`, `/ready`, `/status` and `/metrics`.
pub fn routes(node: &Arc<Node>) -> BoxedFilter<(Response,)> {
    let page = |path: &'static str, respond: fn(&Node) -> Response| {
        let node = Arc::clone(node);
        let got = warp::get().or(warp::head()).unify().map(move || respond(&node));
        let other = warp::any().map(|| Problem::method_not_allowed(ALLOW).into_response());
        warp::path(path).and(end()).and(got.or(other).unify()).boxed()
    };
    let nothing = warp::any().map(|| {
        Problem::not_found(
            "there is nothing at this path: this listener has /live, /ready, /status and /metrics",
        )
        .into_response()
    });
    page("live", |_| text("alive\n".to_owned(), "text/plain; charset=utf-8"))
        .or(page("ready", ready))
        .unify()
        .or(page("status", |node| json_response(StatusCode::OK, &node.status())))
        .unify()
        .or(page("metrics", metrics))
        .unify()
        .or(nothing)
        .unify()
        .map(Reply::into_response)
        .boxed()
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
