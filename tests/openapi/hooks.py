"""What schemathesis cannot read in the document: a serializer, rules in words, the first event."""

import json
import os

import jsonschema_rs
import schemathesis

PROBLEM = "urn:tidings:problem:"


@schemathesis.serializer("application/x-ndjson")
def serialize_lines(context, value):
    return value if isinstance(value, bytes) else str(value).encode()


def is_set(case, flag):
    return str(case.query.get(flag)).lower() in ("1", "true")


def lines(body):
    """The lines of a batch that count."""
    text = body if isinstance(body, (str, bytes)) else json.dumps(body)
    data = text if isinstance(text, bytes) else text.encode()
    return [line for line in data.split(b"\n") if line.removesuffix(b"\r")]


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Leaves out the parameters in OMITTED, so that requests have none that excludes another.

    Otherwise most requests would be rejected for that reason, and would show nothing else.
    """
    omitted = [f"#/components/parameters/{name}" for name in os.environ["OMITTED"].split(",")]
    for path in raw_schema["paths"].values():
        for operation in path.values():
            if isinstance(operation, dict) and "parameters" in operation:
                kept = [parameter for parameter in operation["parameters"] if parameter["$ref"] not in omitted]
                operation["parameters"] = kept


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Drops the rejection of a request that only a sentence of the document forbids.

    OpenAPI cannot say that a parameter decides about the form of the body. Each rule names the
    problems that the broker may return for it.
    """
    if type(failure).__name__ == "AcceptedNegativeData" and case.media_type == "application/x-ndjson":
        # Each value has become a text, which is a batch.
        return isinstance(case.body, (str, bytes))
    if type(failure).__name__ != "RejectedPositiveData" or response.status_code != 400:
        return True
    if is_set(case, "envelope"):
        expected = ["bad-envelope", "empty-event"]
    elif is_set(case, "batch") and not lines(case.body):
        expected = ["empty-event"]
    else:
        return True
    return response.json()["type"] not in [PROBLEM + kind for kind in expected]


@schemathesis.check
def first_event_conforms(context, response, case):
    """The first plain message of a stream is `connected`, by the schema that no response names.

    A stream may begin with a heartbeat, and one that is rejected consists of `tidings.reconnect`.
    """
    if case.method != "GET" or not response.headers.get("content-type", [""])[0].startswith("text/event-stream"):
        return
    fields = [line.split(": ", 1) for line in response.text.split("\n\n")[0].split("\n")]
    event = dict(pair for pair in fields if len(pair) == 2)
    if "event" in event or "data" not in event:
        return
    components = case.operation.schema.raw_schema["components"]
    schema = {**components["schemas"]["Connected"], "components": components}
    for error in jsonschema_rs.validator_for(schema).iter_errors(json.loads(event["data"])):
        raise AssertionError(f"the connected event: {error.message}")
