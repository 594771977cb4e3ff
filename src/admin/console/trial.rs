//! "Try it": a stream and a publication from the page, by the node's own parts.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use warp::reply::Response;

use super::Console;
use super::gate::ConsoleCredential;
use super::reply;
use crate::http::Problem;
use crate::http::request::request_context::RequestContext;
use crate::http::request::{last_event_id, path};
use crate::http::response::event_stream;
use tidings_delivery::{Recipient, StreamBody, Terms};
use tidings_event::Identity;
use tidings_event::workspace::WorkspaceId;
use tidings_hub::{Start, SubscriptionFilter};
use tidings_limits::Candidate;

/// The form of a publication.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrialEvent<'a> {
    workspace: String,
    r#type: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl TrialEvent<'_> {
    /// The payload: the data as it is written, with `type` as its first member if there is one.
    fn payload(&self) -> String {
        let data = self.data.map(RawValue::get);
        let Some(event_type) = self.r#type.as_deref().filter(|name| !name.is_empty()) else {
            return data.unwrap_or("null").to_owned();
        };
        let event_type = Value::from(event_type);
        match data.map(|data| (data, data.trim_start().strip_prefix('{'))) {
            None => format!(r#"{{"type":{event_type}}}"#),
            Some((_, Some(members))) if members.trim_start().starts_with('}') => {
                format!(r#"{{"type":{event_type}}}"#)
            }
            Some((_, Some(members))) => format!(r#"{{"type":{event_type},{members}"#),
            Some((data, None)) => format!(r#"{{"type":{event_type},"data":{data}}}"#),
        }
    }
}

impl Console {
    /// Publishes an event to a workspace, with the checks of any publication over HTTP.
    pub(super) async fn publish(&self, body: Bytes) -> Result<Response, Problem> {
        let event: TrialEvent<'_> = serde_json::from_slice(&body).map_err(|error| {
            reply::bad_request(format!("expected {{\"workspace\",\"type\",\"data\"}}: {error}"))
        })?;
        let workspace = path::workspace_id(&event.workspace)?;
        let payload = event.payload();
        let id = self.parts.publish.publish_one(&workspace, payload.clone().into()).await?;
        Ok(reply::json(&json!({ "id": id.map(|id| id.to_string()), "payload": payload })))
    }

    /// Opens a stream of a workspace, as for a client without a user: it gets no private events. It
    /// ends with its session, at the next event or heartbeat. Bans and limits of an address do not
    /// hold for it: it is the operator's.
    pub(super) fn open_stream(
        self: &Arc<Self>,
        workspace: &WorkspaceId,
        request: RequestContext,
        credential: ConsoleCredential,
    ) -> Result<Response, Problem> {
        let parts = &self.parts;
        let retry = parts.streams.retry;
        if !self.settings.payloads {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "forbidden",
                "the console shows no payloads on this node (admin.payloads)",
            ));
        }
        let candidate = Candidate { workspace: workspace.clone(), identity: Identity::default() };
        let stream_guard = parts
            .registry
            .register(candidate)
            .map_err(|bound| Problem::unavailable(bound.to_string(), retry).at_limit(bound.as_str()))?;
        let start = last_event_id::of_header(&request.headers).map_or(Start::Head, Start::After);
        let subscriber = parts
            .hub
            .join(workspace, start, SubscriptionFilter::default())
            .map_err(|error| Problem::unavailable(error.to_string(), retry).at_limit(error.as_str()))?;
        let peer = request.peer;
        peer.connection.begin_streaming();
        let until = parts.streams.draw_until(None);
        let recipient = Recipient {
            address: peer.address,
            client: peer.client.address,
            user: None,
            abort: peer.close_reason,
        };
        let terms = Terms { stream_guard, place: None, until };
        let body = StreamBody::new(subscriber, terms, Arc::clone(&parts.streams), recipient)
            .watched_by(peer.connection.end_watch());
        let console = Arc::clone(self);
        let frames = body.take_while(move |_| std::future::ready(console.is_valid(&credential)));
        Ok(event_stream::of_frames(frames))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_is_the_first_member_of_the_payload() {
        let payload = |body: &str| serde_json::from_str::<TrialEvent<'_>>(body).unwrap().payload();
        for (body, expected) in [
            (r#"{"workspace":"w","type":"A","data":{"b": 1}}"#, r#"{"type":"A","b": 1}"#),
            (r#"{"workspace":"w","type":"A","data":{ }}"#, r#"{"type":"A"}"#),
            (r#"{"workspace":"w","type":"A"}"#, r#"{"type":"A"}"#),
            (r#"{"workspace":"w","type":"A","data":[1]}"#, r#"{"type":"A","data":[1]}"#),
            (r#"{"workspace":"w","type":"","data":"x"}"#, r#""x""#),
            (r#"{"workspace":"w","data":{"type":"B","n":1.0}}"#, r#"{"type":"B","n":1.0}"#),
        ] {
            let found = payload(body);
            assert_eq!(found, expected, "{body}");
            assert!(serde_json::from_str::<Value>(&found).is_ok(), "{found}");
        }
    }
}
