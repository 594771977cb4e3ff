//! `tidings publish`.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use clap::Args;
use http::{Method, StatusCode};
use http_body_util::Full;
use serde_json::json;

use super::client::{Broker, json_body};
use super::{CommandFailure, GlobalOptions, block_on, output};
use crate::config::{Config, SchemasMode};
use tidings_bus::redis;
use tidings_bus::{IdempotencyKey, Item, Publication};
use tidings_event::DesiredSubscriptions;
use tidings_event::workspace::WorkspaceId;
use tidings_event::{Audience, NodeId, TraceParent};
use tidings_metrics::Metrics;
use tidings_schemas::SchemaSet;

/// Arguments of `tidings publish`.
#[derive(Debug, Args)]
pub(super) struct PublishArgs {
    /// The workspace, such as `acme`
    workspace: String,
    /// The event's payload, JSON by custom; `-` or nothing reads it from standard input
    #[arg(value_name = "PAYLOAD|-", allow_hyphen_values = true)]
    payload: Option<String>,
    /// Publish through the broker at this address, such as http://127.0.0.1:8080/api
    ///
    /// Without it the event goes to the configured Redis, or to the broker on this machine.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Publish once for all calls with this key within five minutes
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Deliver the event to this user only; repeat the flag for several
    #[arg(long, value_name = "USER")]
    to: Vec<String>,
    /// The trace of the event, as in the HTTP header `traceparent` (W3C Trace Context)
    #[arg(long, value_name = "TRACEPARENT")]
    traceparent: Option<TraceParent>,
    /// Refuse an event that does not match the schemas in this directory [schemas.path]
    ///
    /// Without it the event has to match the configured schemas if schemas.mode is enforce. A
    /// broker at --url checks it by its own.
    #[arg(long, value_name = "DIR")]
    schemas: Option<PathBuf>,
}

pub(super) fn run(options: &GlobalOptions, args: &PublishArgs) -> Result<(), CommandFailure> {
    let workspace =
        WorkspaceId::parse(&args.workspace).map_err(|error| CommandFailure::Usage(error.to_string()))?;
    let item = Item { payload: payload(args)?, to: audience(&args.to)? };
    let key = args.idempotency_key.as_deref().map(IdempotencyKey::parse).transpose();
    let key = key.map_err(|error| CommandFailure::Usage(error.to_string()))?;
    let trace = args.traceparent;
    if let Some(directory) = &args.schemas {
        check_event(directory, SchemasMode::Enforce, &item)?;
    }
    block_on(async {
        let id = if let Some(url) = &args.url {
            over_http(&Broker::new(Some(url), options)?, &workspace, &item, key, trace).await?
        } else {
            let config = options.load()?.config;
            if let (None, Some(directory)) = (&args.schemas, &config.schemas.path) {
                check_event(directory, config.schemas.mode, &item)?;
            }
            if !config.redis.is_configured() {
                over_http(&Broker::new(None, options)?, &workspace, &item, key, trace).await?
            } else {
                over_redis(&config, &workspace, item, key, trace).await?
            }
        };
        // The event is published, with or without a reader of its id.
        let _ = output::line(&id);
        Ok(())
    })
}

fn payload(args: &PublishArgs) -> Result<Bytes, CommandFailure> {
    let payload = match args.payload.as_deref() {
        Some(payload) if payload != "-" => Bytes::from(payload.to_owned()),
        _ => {
            let mut read = String::new();
            std::io::stdin().read_to_string(&mut read).map_err(|error| {
                CommandFailure::Failed(format!("cannot read the payload from standard input: {error}"))
            })?;
            Bytes::from(read)
        }
    };
    if payload.is_empty() {
        return Err(CommandFailure::Usage("the payload is empty".to_owned()));
    }
    Ok(payload)
}

/// Whether the event matches the schemas. With `report` it is published in any case.
fn check_event(directory: &Path, mode: SchemasMode, item: &Item) -> Result<(), CommandFailure> {
    if mode == SchemasMode::Off {
        return Ok(());
    }
    let schemas = SchemaSet::read(directory).map_err(|error| CommandFailure::Usage(error.to_string()))?;
    let Err(mismatch) = schemas.check(&item.payload) else { return Ok(()) };
    let directory = directory.display();
    if mode == SchemasMode::Enforce {
        return Err(CommandFailure::Failed(format!(
            "nothing was published, because the event does not match the schemas in {directory}: {mismatch}"
        )));
    }
    output::error(&format!("tidings: the event does not match the schemas in {directory}: {mismatch}"));
    Ok(())
}

fn audience(users: &[String]) -> Result<Option<Arc<Audience>>, CommandFailure> {
    if users.is_empty() {
        return Ok(None);
    }
    let audience = Audience::new(users).map_err(|error| CommandFailure::Usage(format!("--to: {error}")))?;
    Ok(Some(Arc::new(audience)))
}

/// The body of a request: the payload, or an envelope around it.
fn body(item: &Item) -> Result<Bytes, CommandFailure> {
    let Some(to) = &item.to else { return Ok(item.payload.clone()) };
    let text = std::str::from_utf8(&item.payload);
    let text = text.map_err(|_| CommandFailure::Failed("the payload is not UTF-8".to_owned()))?;
    let users: serde_json::Value = serde_json::from_str(to.as_json()).unwrap_or_default();
    Ok(Bytes::from(json!({ "data": text, "to": users }).to_string()))
}

async fn over_redis(
    config: &Config,
    workspace: &WorkspaceId,
    item: Item,
    key: Option<IdempotencyKey>,
    trace: Option<TraceParent>,
) -> Result<String, CommandFailure> {
    if item.payload.len() > config.limits.event_bytes {
        return Err(CommandFailure::Failed(format!(
            "the payload has {} bytes, and an event has at most {} (limits.event_bytes)",
            item.payload.len(),
            config.limits.event_bytes
        )));
    }
    let failed = |error: &dyn std::error::Error| CommandFailure::Failed(error.to_string());
    let bus = redis::open(
        &config.redis,
        &config.retention,
        NodeId::random(),
        Arc::new(DesiredSubscriptions::default()),
        &Arc::new(Metrics::new()),
    )
    .map_err(|error| failed(&error))?;
    let publication = Publication::one(item).with_idempotency_key(key).with_trace(trace);
    let ids = bus.publish(workspace, publication).await.map_err(|error| failed(&error))?;
    Ok(ids.first().map(ToString::to_string).unwrap_or_default())
}

async fn over_http(
    broker: &Broker,
    workspace: &WorkspaceId,
    item: &Item,
    key: Option<IdempotencyKey>,
    trace: Option<TraceParent>,
) -> Result<String, CommandFailure> {
    let query = if item.to.is_some() { "?envelope=1" } else { "" };
    let mut request = broker.events(Method::POST, workspace, query)?;
    if let Some(key) = &key {
        request = request.header("idempotency-key", format!("\"{}\"", key.as_str()));
    }
    if let Some(trace) = trace {
        request = request.header("traceparent", trace.to_string());
    }
    let request =
        request.body(Full::new(body(item)?)).map_err(|error| CommandFailure::Failed(error.to_string()))?;
    let response = broker.send(request).await.map_err(CommandFailure::Failed)?;
    let status = response.status();
    let answer = json_body(response).await.map_err(CommandFailure::Failed)?;
    match (status, answer["id"].as_str()) {
        (StatusCode::OK, Some(id)) => Ok(id.to_owned()),
        _ => {
            let detail = answer["detail"].as_str().unwrap_or("this does not look like Tidings: check --url");
            Err(CommandFailure::Failed(format!("the broker responded with {status}: {detail}")))
        }
    }
}
