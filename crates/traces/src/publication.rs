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

/// Reads the traces of publishers, and begins traces for a share of the others.
#[derive(Debug, Clone)]
pub struct PublicationTraces {
    queue: SpanQueue,
    watch_list: Arc<WatchList>,
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
        Self { queue, watch_list }
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
        let (context, parent) = match sent {
            Some(sent) if sent.is_sampled() => (Some(sent.child()), Some(sent.span)),
            Some(sent) => (Some(sent), None),
            // All nodes follow the choice that is made here.
            None if self.watch_list.draws() => {
                (Some(TraceParent::begin(self.watch_list.samples(None))), None)
            }
            None => (None, None),
        };
        PublicationSpan { context, parent, began: Instant::now(), begin: SystemTime::now() }
    }

    /// Ends the span of a publication, if it is sampled.
    pub fn end(&self, span: &PublicationSpan, workspace: &WorkspaceId, events: usize, status: StatusCode) {
        let Some(context) = span.context.filter(|context| context.is_sampled()) else { return };
        self.queue.push(TraceSpan {
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
    /// The trace of the events: that of the publisher, with the span of the publication.
    #[must_use]
    pub fn context(&self) -> Option<TraceParent> {
        self.context
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use tidings_metrics::Metrics;

    const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn traces(ratio: f64) -> (PublicationTraces, tokio::sync::mpsc::Receiver<TraceSpan>) {
        let metrics = Arc::new(Metrics::new());
        let (queue, spans) = SpanQueue::new(Arc::clone(&metrics));
        (PublicationTraces::new(queue, Arc::new(WatchList::new(ratio, metrics))), spans)
    }

    fn begin(traces: &PublicationTraces, headers: &[&str]) -> PublicationSpan {
        let header = |text: &&str| (TRACEPARENT, HeaderValue::from_str(text).unwrap());
        let mut map = HeaderMap::new();
        for (name, value) in headers.iter().map(header) {
            map.append(name, value);
        }
        traces.begin(&map)
    }

    #[test]
    fn sampled_header_is_the_parent_of_the_span() {
        let (traces, mut spans) = traces(0.0);
        let span = begin(&traces, &[SAMPLED]);
        let sent: TraceParent = SAMPLED.parse().unwrap();
        let context = span.context().unwrap();
        assert!(context.trace == sent.trace && context.span != sent.span && context.is_sampled());
        traces.end(&span, &WorkspaceId::parse("acme").unwrap(), 1, StatusCode::OK);
        let exported = spans.try_recv().unwrap();
        assert_eq!(
            (exported.context, exported.parent, exported.has_failed),
            (context, Some(sent.span), false)
        );
    }

    #[test]
    fn unsampled_header_passes_unchanged_and_without_a_span() {
        let (traces, mut spans) = traces(1.0);
        let text = SAMPLED.replace("-01", "-00");
        let span = begin(&traces, &[&text]);
        assert_eq!(span.context().unwrap().to_string(), text);
        traces.end(&span, &WorkspaceId::parse("acme").unwrap(), 1, StatusCode::OK);
        assert!(spans.try_recv().is_err());
    }

    #[test]
    fn invalid_headers_begin_a_trace_by_the_ratio() {
        for headers in [&[][..], &["00-x"], &[SAMPLED, SAMPLED]] {
            assert_eq!(begin(&traces(0.0).0, headers).context(), None);
            let context = begin(&traces(1.0).0, headers).context().unwrap();
            assert!(context.is_sampled() && !SAMPLED.contains(&context.trace.to_string()));
        }
    }
}
