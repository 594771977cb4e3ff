//! The trace of a publication over HTTP, and its span.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::header::{HeaderMap, HeaderName};
use http::{Method, StatusCode};

use super::span::{SpanKind, SpanQueue, TraceSpan};
use tidings_event::workspace::WorkspaceId;
use tidings_event::{SpanId, TraceParent};
use tidings_hub::WatchList;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Reads the traces of publishers. With a collector, it begins traces for a share of the others,
/// and each sampled publication has a span.
#[derive(Debug, Clone)]
pub struct PublicationTraces {
    /// `None` without a collector.
    export: Option<(SpanQueue, Arc<WatchList>)>,
}

/// The trace of a publication that is under way.
#[derive(Debug)]
pub struct PublicationSpan {
    context: Option<TraceParent>,
    parent: Option<SpanId>,
    began: Instant,
    begin: SystemTime,
}

impl PublicationTraces {
    pub(super) fn new(queue: SpanQueue, watch_list: Arc<WatchList>) -> Self {
        Self { export: Some((queue, watch_list)) }
    }

    /// Passes the traces of publishers on unchanged, without spans.
    #[must_use]
    pub fn without_collector() -> Self {
        Self { export: None }
    }

    /// Begins the span of a publication with these headers. A header that is not valid, or that is
    /// there several times, counts as none.
    #[must_use]
    pub fn begin(&self, headers: &HeaderMap) -> PublicationSpan {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let sent = match (values.next(), values.next()) {
            (Some(value), None) => TraceParent::from_bytes(value.as_bytes()),
            _ => None,
        };
        let (context, parent) = match (sent, &self.export) {
            (Some(sent), Some(_)) if sent.is_sampled() => (Some(sent.child()), Some(sent.span)),
            // All nodes follow the choice that is made here.
            (None, Some((_, watch_list))) if watch_list.draws() => {
                (Some(TraceParent::begin(watch_list.samples(None))), None)
            }
            (sent, _) => (sent, None),
        };
        PublicationSpan { context, parent, began: Instant::now(), begin: SystemTime::now() }
    }

    /// Ends the span of a publication, if it is sampled.
    pub fn end(&self, span: &PublicationSpan, workspace: &WorkspaceId, events: usize, status: StatusCode) {
        let Some((queue, _)) = &self.export else { return };
        let Some(context) = span.context.filter(|context| context.is_sampled()) else { return };
        queue.push(TraceSpan {
            name: "POST /workspaces/{workspace}/events",
            kind: SpanKind::Server,
            context,
            parent: span.parent,
            begin: span.begin,
            duration: span.began.elapsed(),
            attributes: vec![
                ("http.request.method", Method::POST.as_str().into()),
                ("http.route", "/workspaces/{workspace}/events".into()),
                ("http.response.status_code", usize::from(status.as_u16()).into()),
                ("tidings.workspace", workspace.as_str().into()),
                ("tidings.events", events.into()),
            ],
            has_failed: status.is_server_error(),
        });
    }
}

impl PublicationSpan {
    /// The trace of the events: that of the publisher, with the span of the publication if it has
    /// one.
    #[must_use]
    pub fn context(&self) -> Option<TraceParent> {
        self.context
    }
}

#[cfg(test)]
mod tests;
