"""Reads requests of OTLP over HTTP in JSON by the official definition, and prints their spans:
otlp.py FILE. The file has the body of one request a line. Fails at a body that has another form."""

import base64
import json
import pathlib
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

IDS = ("traceId", "spanId", "parentSpanId")


def with_base64_ids(value):
    """Ids are hexadecimal in OTLP, and base64 in the JSON of protobuf."""
    if isinstance(value, list):
        return [with_base64_ids(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64encode(bytes.fromhex(each)).decode() if key in IDS else with_base64_ids(each)
        for key, each in value.items()
    }


def parse(line):
    """The message of a body. What it writes is the body again: each field, name and type is known."""
    body = with_base64_ids(json.loads(line))
    message = json_format.ParseDict(body, ExportTraceServiceRequest(), ignore_unknown_fields=False)
    written = json_format.MessageToDict(message, use_integers_for_enums=True)
    assert written == body, f"{body} becomes {written}"
    return message


def attributes(pairs):
    """The values by their names, each with its type."""
    found = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        assert pair.key not in found, pair.key
        found[pair.key] = [kind, getattr(pair.value, kind)]
    return found


def read(resource, scope, span):
    """A span as the collector sees it, with everything that belongs to it."""
    assert (len(span.trace_id), len(span.span_id)) == (16, 8)
    assert len(span.parent_span_id) in (0, 8)
    return {
        "resource": attributes(resource.attributes),
        "scope": [scope.name, scope.version],
        "trace": span.trace_id.hex(),
        "span": span.span_id.hex(),
        "parent": span.parent_span_id.hex(),
        "flags": span.flags,
        "name": span.name,
        "kind": Span.SpanKind.Name(span.kind),
        "start": span.start_time_unix_nano,
        "end": span.end_time_unix_nano,
        "attributes": attributes(span.attributes),
        "status": Status.StatusCode.Name(span.status.code),
    }


for line in pathlib.Path(sys.argv[1]).read_text(encoding="utf-8").splitlines():
    for of_resource in parse(line).resource_spans:
        for of_scope in of_resource.scope_spans:
            for each in of_scope.spans:
                print(json.dumps(read(of_resource.resource, of_scope.scope, each)))
