//! Spans as OTLP in JSON (OpenTelemetry Protocol 1.x, "JSON Protobuf Encoding"): ids in hexadecimal
//! digits, numbers of 64 bits as texts, enumerations as numbers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::span::{AttributeValue, TraceSpan};

/// The number of a status that reports an error.
const STATUS_ERROR: u8 = 2;

/// The node, as the collector sees it.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    /// Its version.
    pub(super) version: &'static str,
    /// Its id, which is new at each start.
    pub(super) instance: String,
}

/// Encodes the body of a request with these spans.
pub(super) fn request(resource: &Resource, spans: &[TraceSpan]) -> Vec<u8> {
    let of_node = [
        ("service.name", "tidings".into()),
        ("service.version", resource.version.into()),
        ("service.instance.id", resource.instance.as_str().into()),
    ];
    let body = json!({
        "resourceSpans": [{
            "resource": { "attributes": attributes(&of_node) },
            "scopeSpans": [{
                "scope": { "name": "tidings", "version": resource.version },
                "spans": spans.iter().map(span).collect::<Vec<_>>(),
            }],
        }],
    });
    body.to_string().into_bytes()
}

/// Returns the number of spans that a response rejects.
pub(super) fn rejected(response: &[u8]) -> u64 {
    let parsed: Value = serde_json::from_slice(response).unwrap_or_default();
    let count = &parsed["partialSuccess"]["rejectedSpans"];
    count.as_u64().or_else(|| count.as_str()?.parse().ok()).unwrap_or(0)
}

fn span(span: &TraceSpan) -> Value {
    let mut encoded = json!({
        "traceId": span.context.trace.to_string(),
        "spanId": span.context.span.to_string(),
        "flags": u32::from(span.context.flags),
        "name": span.name,
        "kind": span.kind as u8,
        "startTimeUnixNano": nanoseconds(span.begin, Duration::ZERO),
        "endTimeUnixNano": nanoseconds(span.begin, span.duration),
        "attributes": attributes(&span.attributes),
    });
    if let Some(parent) = span.parent {
        encoded["parentSpanId"] = parent.to_string().into();
    }
    if span.has_failed {
        encoded["status"] = json!({ "code": STATUS_ERROR });
    }
    encoded
}

fn attributes(list: &[(&'static str, AttributeValue)]) -> Value {
    let attribute = |(key, value): &(&'static str, AttributeValue)| {
        let value = match value {
            AttributeValue::Text(text) => json!({ "stringValue": text }),
            AttributeValue::Integer(number) => json!({ "intValue": number.to_string() }),
            AttributeValue::Flag(flag) => json!({ "boolValue": flag }),
        };
        json!({ "key": key, "value": value })
    };
    list.iter().map(attribute).collect()
}

fn nanoseconds(begin: SystemTime, after: Duration) -> String {
    let since = begin.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.saturating_add(after).as_nanos().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::SpanKind;
    use tidings_event::TraceParent;

    #[test]
    fn span_has_the_form_of_otlp() {
        let parent: TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
        let context = parent.child();
        let span = TraceSpan {
            name: "deliver event",
            kind: SpanKind::Consumer,
            context,
            parent: Some(parent.span),
            begin: UNIX_EPOCH + Duration::from_secs(7),
            duration: Duration::from_millis(3),
            attributes: vec![("a", "x\"".into()), ("b", 5.into()), ("c", true.into())],
            has_failed: true,
        };
        let resource = Resource { version: "1.2.3", instance: "k3v9x2ab".to_owned() };
        let body: Value = serde_json::from_slice(&request(&resource, &[span])).unwrap();
        let attribute = |key: &str, value: Value| json!({ "key": key, "value": value });
        assert_eq!(
            body["resourceSpans"][0]["resource"]["attributes"],
            json!([
                attribute("service.name", json!({ "stringValue": "tidings" })),
                attribute("service.version", json!({ "stringValue": "1.2.3" })),
                attribute("service.instance.id", json!({ "stringValue": "k3v9x2ab" })),
            ])
        );
        assert_eq!(
            body["resourceSpans"][0]["scopeSpans"][0]["spans"],
            json!([{
                "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
                "spanId": context.span.to_string(),
                "parentSpanId": "00f067aa0ba902b7",
                "flags": 1,
                "name": "deliver event",
                "kind": 5,
                "startTimeUnixNano": "7000000000",
                "endTimeUnixNano": "7003000000",
                "attributes": [
                    attribute("a", json!({ "stringValue": "x\"" })),
                    attribute("b", json!({ "intValue": "5" })),
                    attribute("c", json!({ "boolValue": true })),
                ],
                "status": { "code": 2 },
            }])
        );
    }

    #[test]
    fn rejected_spans_are_counted() {
        assert_eq!(rejected(br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"x"}}"#), 3);
        assert_eq!(rejected(br#"{"partialSuccess":{"rejectedSpans":2}}"#), 2);
        for none in ["", "{}", "[]", r#"{"partialSuccess":{}}"#, r#"{"partialSuccess":{"rejectedSpans":-1}}"#]
        {
            assert_eq!(rejected(none.as_bytes()), 0, "{none}");
        }
    }
}
