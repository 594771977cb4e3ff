//! `POST …/events`: publish durably, one event or a batch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use futures_util::Stream;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use warp::reply::Response;

use super::publish_rate::{Exceeded, PublishRate};
use crate::http::request::addressed;
use crate::http::request::body::{self, BodyReceiver};
use crate::http::request::path;
use crate::http::request::request_context::RequestContext;
use crate::http::response::cors::CorsRules;
use crate::http::response::denied;
use crate::http::response::problem::Problem;
use tidings_auth::{Action, Authenticator, Grant};
use tidings_bus::{Bus, EVENTS_MAX, IdempotencyKey, Item, Publication, PublishError, Published};
use tidings_event::workspace::WorkspaceId;
use tidings_event::{EntryId, TraceParent};
use tidings_metrics::Metrics;
use tidings_schemas::{CheckRefusal, SchemaCheck};
use tidings_traces::PublicationTraces;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Publishes events over HTTP.
#[derive(Debug)]
pub struct PublishHandler {
    /// Authenticates publishers.
    pub authenticator: Arc<Authenticator>,
    /// The origins whose pages may publish.
    pub origins: Arc<CorsRules>,
    /// Receives the events.
    pub bodies: Arc<BodyReceiver>,
    /// Bytes of a payload.
    pub event_bytes: usize,
    /// Bytes of a batch's body.
    pub batch_bytes: usize,
    /// The rate limit on publications to a workspace.
    pub publish_rate: Arc<PublishRate>,
    /// The schemas of event types; `None` if no event is checked.
    pub schemas: Option<Arc<SchemaCheck>>,
    /// The traces of publications; `None` if the node ignores them.
    pub traces: Option<PublicationTraces>,
    /// The bus that publishes events.
    pub bus: Arc<dyn Bus>,
    /// The time after which a publisher tries again, if the node or the bus cannot serve it now.
    pub retry: Duration,
    /// The counters of the node.
    pub metrics: Arc<Metrics>,
}

impl PublishHandler {
    /// Publishes the request's body and returns the ids. The body is a payload; with `?envelope=1`
    /// it is an envelope, with `?batch=1` one of these a line.
    pub(super) async fn publish<B: Buf>(
        &self,
        id: &str,
        request_context: &RequestContext,
        stream: impl Stream<Item = Result<B, warp::Error>>,
    ) -> Result<Response, Problem> {
        let mut stream = std::pin::pin!(stream);
        let outcome = self.accept(id, request_context, stream.as_mut()).await;
        body::unless_refused(outcome, stream, request_context).await
    }

    async fn accept<B: Buf>(
        &self,
        id: &str,
        request_context: &RequestContext,
        stream: impl Stream<Item = Result<B, warp::Error>>,
    ) -> Result<Response, Problem> {
        if let Some(exceeded) = request_context.peer.exceeded {
            return Err(Problem::unavailable(exceeded.to_string(), self.retry).at_limit(exceeded.reason()));
        }
        request_context.check_sender(&self.origins)?;
        let workspace = path::workspace(id)?;
        let grant = self
            .authenticator
            .authenticate(Action::Publish, &workspace, &request_context.credentials(None))
            .await
            .map_err(|denial| denied::problem(&self.metrics, self.retry, &denial))?;
        let user = grant.identity.user.clone();
        let outcome = self.publish_as(grant, &workspace, request_context, stream).await;
        outcome.map_err(|problem| problem.of_user(user.as_ref()))
    }

    /// Publishes for an authenticated publisher.
    async fn publish_as<B: Buf>(
        &self,
        grant: Grant,
        workspace: &WorkspaceId,
        request_context: &RequestContext,
        stream: impl Stream<Item = Result<B, warp::Error>>,
    ) -> Result<Response, Problem> {
        let form = PublishForm::of(&request_context.query, &request_context.headers)?;
        let key = idempotency_key(&request_context.headers)?;
        let (bytes_max, name, setting) = self.bytes_max(form);
        let too_large = || {
            Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "event-too-large",
                format!(
                    "{name} has at most {bytes_max} bytes ({setting}): publish a reference instead of the content"
                ),
            )
        };
        let keys = grant.identity.keys();
        let body = self.bodies.receive(request_context, keys, stream, bytes_max, too_large).await?;
        let parts = if form.batch { lines(&body.bytes) } else { vec![body.bytes.clone()] };
        let items = items(parts, form.envelope)?;
        let span = self.traces.as_ref().map(|traces| (traces, traces.begin(&request_context.headers)));
        let trace = span.as_ref().and_then(|(_, span)| span.context());
        let events = items.len();
        let outcome = self.publish_items(workspace, items, key, trace).await;
        if let Some((traces, span)) = &span {
            let status = outcome.as_ref().map_or_else(Problem::status, |_| StatusCode::OK);
            traces.end(span, workspace, events, status);
        }
        Ok(published(&outcome?, form.batch))
    }

    /// Publishes one event for an operator, with the checks of any publication.
    pub(crate) async fn publish_one(
        &self,
        workspace: &WorkspaceId,
        payload: Bytes,
    ) -> Result<Option<EntryId>, Problem> {
        let ids = self.publish_items(workspace, vec![Item::from(payload)], None, None).await?;
        Ok(ids.first().copied())
    }

    /// Checks events and publishes them.
    async fn publish_items(
        &self,
        workspace: &WorkspaceId,
        items: Vec<Item>,
        key: Option<IdempotencyKey>,
        trace: Option<TraceParent>,
    ) -> Result<Published, Problem> {
        check(&items, self.event_bytes)?;
        self.check_rate(workspace, &items)?;
        self.check_schemas(workspace, &items).await?;
        let Some(publication) = Publication::several(items) else { return Err(empty()) };
        let publication = publication.with_idempotency_key(key).with_trace(trace);
        let began = Instant::now();
        let outcome = self.bus.publish(workspace, publication).await;
        self.metrics.publish_seconds.observe(began.elapsed().as_secs_f64());
        match outcome {
            Ok(ids) => {
                self.metrics.published.inc_by(ids.len() as u64);
                Ok(ids)
            }
            Err(error) => {
                self.metrics.publish_failures.inc();
                Err(self.not_published(error))
            }
        }
    }

    /// The bound on a body of this form, with the name of the body and the key of the bound.
    fn bytes_max(&self, form: PublishForm) -> (usize, &'static str, &'static str) {
        if form.batch {
            (self.batch_bytes, "a batch", "limits.batch_bytes")
        } else if form.envelope {
            // An envelope adds the audience to a payload, and escapes if the payload is a text.
            (self.batch_bytes.max(self.event_bytes), "an envelope", "limits.batch_bytes")
        } else {
            (self.event_bytes, "an event", "limits.event_bytes")
        }
    }

    /// Whether the workspace takes so much now.
    fn check_rate(&self, workspace: &WorkspaceId, items: &[Item]) -> Result<(), Problem> {
        let bytes = items.iter().map(|item| item.payload.len()).sum();
        self.publish_rate.check(workspace, items.len(), bytes).map_err(|exceeded| match exceeded {
            Exceeded::For(wait) => Problem::rate_limited(
                "this is more than the workspace takes in a second (limits.events_per_second, \
                 limits.event_bytes_per_second): try again later",
                wait,
            ),
            Exceeded::Always => batch_too_large(
                "the batch is more than the workspace ever takes at once (limits.events_per_second, \
                 limits.event_bytes_per_second): send several"
                    .to_owned(),
            ),
        })
    }

    /// Whether the events match their schemas.
    async fn check_schemas(&self, workspace: &WorkspaceId, items: &[Item]) -> Result<(), Problem> {
        let Some(schemas) = &self.schemas else { return Ok(()) };
        let payloads = items.iter().map(|item| item.payload.clone()).collect();
        schemas.publication(workspace, payloads).await.map_err(|refusal| match refusal {
            CheckRefusal::Mismatch { index, mismatch } => {
                let detail = format!("{} does not match the schemas: {mismatch}", which(index, items.len()));
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "schema-mismatch", detail)
            }
            CheckRefusal::Unchecked => Problem::unavailable(
                "nothing was published, because too many events wait for their check by schemas: try again later",
                self.retry,
            ),
        })
    }

    fn not_published(&self, error: PublishError) -> Problem {
        match error {
            PublishError::Unavailable(_) => Problem::unavailable(
                "the bus did not confirm the event, which may or may not have been published: try again later, \
                 with the same Idempotency-Key if you gave one",
                self.retry,
            ),
            error @ PublishError::Busy(_) => Problem::unavailable(error.to_string(), self.retry),
            PublishError::Refused(reason) => Problem::new(
                StatusCode::BAD_GATEWAY,
                "refused-by-bus",
                format!("the bus refused the event: {reason}"),
            ),
        }
    }
}

fn published(ids: &Published, batch: bool) -> Response {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let body: Value = match (batch, ids.first()) {
        (false, Some(id)) => json!({ "id": id }),
        _ => json!({ "ids": ids }),
    };
    let mut response = Response::new(format!("{body}\n").into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A query parameter of a publication. A name is read only if it is in [`PublishParameter::ALL`],
/// with which a test compares `docs/openapi.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishParameter {
    /// Whether the body has several events.
    Batch,
    /// Whether each event is in an envelope.
    Envelope,
}

impl PublishParameter {
    /// All parameters.
    pub const ALL: [Self; 2] = [Self::Batch, Self::Envelope];

    /// Returns the name in a query.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Envelope => "envelope",
        }
    }
}

/// The form of a body.
#[derive(Debug, Clone, Copy)]
struct PublishForm {
    /// Several events, one a line.
    batch: bool,
    /// Each event is in an envelope. The query or the media type says so: an envelope that counts
    /// as a payload would reach all clients.
    envelope: bool,
}

impl PublishForm {
    fn of(query: &str, headers: &HeaderMap) -> Result<Self, Problem> {
        let mut form = Self { batch: false, envelope: false };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let known = PublishParameter::ALL.into_iter().find(|parameter| parameter.as_str() == name);
            let wish = match known {
                Some(PublishParameter::Batch) => &mut form.batch,
                Some(PublishParameter::Envelope) => &mut form.envelope,
                None => continue,
            };
            *wish = match &*value {
                "1" | "true" => true,
                "0" | "false" => false,
                _ => return Err(Problem::bad_query(format!("`{name}` is 1 or 0"))),
            };
        }
        form.envelope |= addressed::is_announced(headers);
        Ok(form)
    }
}

/// The `Idempotency-Key` header. Its value may be in quotes, as a string of structured fields is
/// (RFC 9651 section 3.3.3).
fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "bad-idempotency-key", detail);
    let text = value.to_str().map_err(|_| bad("the Idempotency-Key header is not ASCII".to_owned()))?.trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    IdempotencyKey::parse(text).map(Some).map_err(|error| bad(error.to_string()))
}

/// The lines of a batch; empty ones do not count, so that the last line may or may not end.
fn lines(body: &Bytes) -> Vec<Bytes> {
    body.split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !line.is_empty())
        .map(|line| body.slice_ref(line))
        .take(EVENTS_MAX + 1)
        .collect()
}

/// The events in the parts of a body.
fn items(parts: Vec<Bytes>, envelope: bool) -> Result<Vec<Item>, Problem> {
    let count = parts.len();
    if count > EVENTS_MAX {
        return Err(batch_too_large(format!("a batch has at most {EVENTS_MAX} events: send several")));
    }
    let item = |(number, part): (usize, Bytes)| {
        if std::str::from_utf8(&part).is_err() {
            let which = which(number, count);
            let detail = format!("{which} is not UTF-8");
            return Err(Problem::new(StatusCode::BAD_REQUEST, "not-utf8", detail));
        }
        if !envelope || part.is_empty() {
            return Ok(Item::from(part));
        }
        addressed::open(&part).map_err(|error| {
            let which = which(number, count);
            let detail = format!(
                "{which} is not an envelope such as {{\"data\":{{\"type\":\"A\"}},\"to\":[\"user-1\"]}}: {error}"
            );
            Problem::new(StatusCode::BAD_REQUEST, "bad-envelope", detail)
        })
    };
    parts.into_iter().enumerate().map(item).collect()
}

fn which(number: usize, count: usize) -> String {
    if count > 1 { format!("event {} of the batch", number + 1) } else { "the event".to_owned() }
}

fn batch_too_large(detail: String) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "batch-too-large", detail)
}

fn check(items: &[Item], event_bytes: usize) -> Result<(), Problem> {
    for (number, Item { payload, .. }) in items.iter().enumerate() {
        if payload.is_empty() {
            return Err(empty());
        }
        if payload.len() > event_bytes {
            let which = which(number, items.len());
            return Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "event-too-large",
                format!("{which} has more than {event_bytes} bytes (limits.event_bytes)"),
            ));
        }
    }
    Ok(())
}

fn empty() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "empty-event",
        "the request's body is the event's payload, and it is empty",
    )
}
