//! All nodes, and questions to them: the list, the trace of an event, the explanation of a client.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use warp::reply::Response;

use super::Console;
use super::reply;
use crate::http::Problem;
use crate::http::request::path;
use crate::nodes::{self, EventTraceError, ExplainRequest, ExplainRules};

impl Console {
    /// Returns the list of nodes, with those that do not reply.
    pub(super) async fn nodes(&self) -> Result<Response, Problem> {
        let _permit = self.question_permit().await?;
        let (reports, inquiry) = nodes::list(&*self.parts.bus, Some(&self.parts.responder)).await;
        Ok(reply::json(&json!({
            "here": self.parts.node.id().to_string(),
            "nodes": reports,
            "silent": inquiry.silent,
            "unreadable": inquiry.unreadable,
            "error": inquiry.error,
        })))
    }

    /// Returns the trace of an event. The query names it, and may name its workspace.
    pub(super) async fn trace(&self, query: &str) -> Result<Response, Problem> {
        let (mut event, mut workspace) = (None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "event" => event = Some(value.into_owned()),
                "workspace" if !value.is_empty() => workspace = Some(path::workspace(&value)?),
                _ => {}
            }
        }
        let event = event.ok_or_else(|| Problem::bad_query("`event` names an event id"))?;
        let _permit = self.question_permit().await?;
        let traced = nodes::trace(&*self.parts.bus, Some(&self.parts.responder), &event, workspace).await;
        match traced {
            Ok(traced) => Ok(document(&traced)),
            Err(error @ EventTraceError::NotAnEvent(_)) => Err(Problem::bad_query(error.to_string())),
            Err(error @ (EventTraceError::NotFound(_) | EventTraceError::Ambiguous(_))) => {
                Err(Problem::new(StatusCode::NOT_FOUND, "not-found", error.to_string()))
            }
            Err(error @ EventTraceError::Bus(_)) => {
                Err(Problem::unavailable(error.to_string(), self.parts.streams.retry))
            }
        }
    }

    /// Returns the explanation of a client. The token or ticket in the body stays on this node.
    pub(super) async fn explain(&self, body: Bytes) -> Result<Response, Problem> {
        // The error of the parser may repeat a part of a secret.
        let request: ExplainRequest = serde_json::from_slice(&body).map_err(|_| {
            reply::bad_request("expected {\"workspace\",\"user\",\"token\",\"ticket\",\"lastEventId\"}, all texts, all but the first optional")
        })?;
        let rules = ExplainRules {
            authenticated: self.settings.reach.authenticated,
            tokens: self.parts.tokens.is_some(),
            tickets: true,
            verifier: self.parts.tokens.as_ref().map(|tokens| tokens.verifier()),
            forward: self.settings.forward,
        };
        let _permit = self.question_permit().await?;
        let explained = nodes::explain(&*self.parts.bus, Some(&self.parts.responder), &rules, &request).await;
        let explained = explained.map_err(|error| reply::bad_request(error.to_string()))?;
        Ok(document(&explained))
    }

    async fn question_permit(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Problem> {
        match tokio::time::timeout(self.settings.patience, self.questions.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => {
                let detail = "too many questions to all nodes are open: try again later";
                Err(Problem::unavailable(detail, self.parts.streams.retry))
            }
        }
    }
}

fn document(document: &impl serde::Serialize) -> Response {
    // Structures with texts as names alone, so this never fails.
    reply::json(&serde_json::to_value(document).unwrap_or(Value::Null))
}
