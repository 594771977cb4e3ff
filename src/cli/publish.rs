//! `tidings publish`.

use std::io::Read as _;
use std::sync::Arc;

use bytes::Bytes;
use clap::Args;
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};

use super::client::Broker;
use super::{Failure, Options, block_on, output};
use crate::bus::redis::RedisBus;
use crate::bus::{Bus as _, Interest};
use crate::config::Config;
use crate::event::NodeId;
use crate::workspace::WorkspaceId;

/// The most that is read of an answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

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
    /// Without it the event goes straight to the configured Redis, or, where there is none, to the broker on this machine.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

pub(super) fn run(options: &Options, args: &PublishArgs) -> Result<(), Failure> {
    let workspace = WorkspaceId::parse(&args.workspace).map_err(|error| Failure::Usage(error.to_string()))?;
    let payload = payload(args)?;
    block_on(async {
        let id = if let Some(url) = &args.url {
            over_http(&Broker::new(Some(url), options)?, &workspace, payload).await?
        } else {
            let config = options.load()?.config;
            if config.redis.url.is_empty() {
                over_http(&Broker::new(None, options)?, &workspace, payload).await?
            } else {
                over_redis(&config, &workspace, payload).await?
            }
        };
        // The event is out, whoever reads this or not.
        let _ = output::line(&id);
        Ok(())
    })
}

fn payload(args: &PublishArgs) -> Result<Bytes, Failure> {
    let payload = match args.payload.as_deref() {
        Some(payload) if payload != "-" => Bytes::from(payload.to_owned()),
        _ => {
            let mut read = String::new();
            std::io::stdin().read_to_string(&mut read).map_err(|error| {
                Failure::Failed(format!("cannot read the payload from standard input: {error}"))
            })?;
            Bytes::from(read)
        }
    };
    if payload.is_empty() {
        return Err(Failure::Usage("the payload is empty".to_owned()));
    }
    Ok(payload)
}

async fn over_redis(config: &Config, workspace: &WorkspaceId, payload: Bytes) -> Result<String, Failure> {
    if payload.len() > config.limits.event_bytes {
        return Err(Failure::Failed(format!(
            "the payload has {} bytes, and an event has at most {} (limits.event_bytes)",
            payload.len(),
            config.limits.event_bytes
        )));
    }
    let failed = |error: &dyn std::error::Error| Failure::Failed(error.to_string());
    let bus = RedisBus::new(&config.redis, NodeId::random(), Arc::new(Interest::default()))
        .map_err(|error| failed(&error))?;
    bus.publish(workspace, payload).await.map(|id| id.to_string()).map_err(|error| failed(&error))
}

async fn over_http(broker: &Broker, workspace: &WorkspaceId, payload: Bytes) -> Result<String, Failure> {
    let request = broker
        .events(Method::POST, workspace, "")?
        .body(Full::new(payload))
        .map_err(|error| Failure::Failed(error.to_string()))?;
    let response = broker.send(request).await.map_err(Failure::Failed)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
        .collect()
        .await
        .map_err(|error| Failure::Failed(format!("the answer broke off: {error}")))?
        .to_bytes();
    let answer: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    match (status, answer["id"].as_str()) {
        (StatusCode::OK, Some(id)) => Ok(id.to_owned()),
        _ => {
            let detail = answer["detail"].as_str().unwrap_or("this does not look like Tidings: check --url");
            Err(Failure::Failed(format!("the broker answered {status}: {detail}")))
        }
    }
}
