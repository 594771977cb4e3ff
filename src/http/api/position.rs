//! `GET …/position`: the head of a workspace's log.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use serde_json::json;
use tokio::sync::Semaphore;
use warp::Reply;
use warp::reply::Response;

use super::stream::StreamHandler;
use crate::http::request::request_context::RequestContext;
use crate::http::response::problem::Problem;
use tidings_bus::Bus;
use tidings_event::epoch;
use tidings_event::log::{LogError, Span};

/// Returns positions, from which a client can stream on any node.
///
/// A client takes the position, loads its state, and streams from the position. So it misses no
/// event between the two. The position of a workspace without events names the epoch of the log
/// that its first event begins.
#[derive(Debug)]
pub struct PositionHandler {
    /// Checks requests as those for a stream.
    pub stream: Arc<StreamHandler>,
    /// The bus with the logs.
    pub bus: Arc<dyn Bus>,
    /// Bounds the reads at a time.
    pub reads: Semaphore,
    /// The time that a request waits for its read to begin.
    pub patience: Duration,
}

impl PositionHandler {
    /// Returns the position of the newest durable event. Needs no subscription.
    pub(super) async fn position(
        &self,
        id: &str,
        request_context: &RequestContext,
    ) -> Result<Response, Problem> {
        let workspace = self.stream.check(id, request_context).await?;
        let retry = self.stream.streams.retry;
        let Ok(Ok(permit)) = tokio::time::timeout(self.patience, self.reads.acquire()).await else {
            return Err(Problem::unavailable("too many logs are read at a time: try again later", retry));
        };
        let page = self.bus.read_log(&workspace, Span::Head, 1).await;
        drop(permit);
        let page = page.map_err(|error| match error {
            LogError::Unavailable(_) => {
                Problem::unavailable("the log of the workspace cannot be reached: try again later", retry)
            }
            LogError::Unreadable(reason) => {
                let detail = format!("the log of the workspace cannot be read: {reason}");
                Problem::new(StatusCode::BAD_GATEWAY, "log-unreadable", detail)
            }
        })?;
        let position = epoch::position(page.record.as_ref(), page.head);
        let mut response = warp::reply::json(&json!({ "position": position.to_string() })).into_response();
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
}
