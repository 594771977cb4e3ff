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
    assert_eq!((exported.context, exported.parent, exported.has_failed), (context, Some(sent.span), false));
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
fn header_passes_unchanged_without_a_collector() {
    let traces = PublicationTraces::without_collector();
    for text in [SAMPLED.to_owned(), SAMPLED.replace("-01", "-00")] {
        assert_eq!(begin(&traces, &[&text]).context().unwrap().to_string(), text);
    }
    assert_eq!(begin(&traces, &[]).context(), None);
}

#[test]
fn invalid_headers_begin_a_trace_by_the_ratio() {
    for headers in [&[][..], &["00-x"], &[SAMPLED, SAMPLED]] {
        assert_eq!(begin(&traces(0.0).0, headers).context(), None);
        let context = begin(&traces(1.0).0, headers).context().unwrap();
        assert!(context.is_sampled() && !SAMPLED.contains(&context.trace.to_string()));
    }
}
