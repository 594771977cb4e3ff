//! The paths of the admin listener, and their responses.

use std::sync::Arc;

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};
use serde_json::{Value, json};
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::node::Node;
use crate::http::Problem;
use crate::http::request::path::end;
use tidings_metrics::TextFormat;

const ALLOW: &str = "GET, HEAD";

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
        .or(metrics(node))
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

/// Returns the route of `/metrics`. A scrape reads files of the system, so it runs on a thread that
/// may block.
fn metrics(node: &Arc<Node>) -> BoxedFilter<(Response,)> {
    let node = Arc::clone(node);
    let got = warp::get().or(warp::head()).unify().and(warp::header::headers_cloned()).then(
        move |headers: HeaderMap| {
            let (node, format) = (Arc::clone(&node), text_format(&headers));
            async move {
                match tokio::task::spawn_blocking(move || node.scrape(format)).await {
                    Ok(Ok(metrics)) => text(metrics, format.content_type()),
                    Ok(Err(_)) | Err(_) => Problem::new(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "metrics",
                        "a metric could not be written",
                    )
                    .into_response(),
                }
            }
        },
    );
    let other = warp::any().map(|| Problem::method_not_allowed(ALLOW).into_response());
    warp::path("metrics").and(end()).and(got.or(other).unify()).boxed()
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
