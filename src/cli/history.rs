//! `tidings history`.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::{CommandFailure, GlobalOptions, block_on, output};
use crate::config::Config;
use tidings_bus::Bus;
use tidings_bus::redis;
use tidings_event::DesiredSubscriptions;
use tidings_event::log::{LogEntry, Span};
use tidings_event::workspace::WorkspaceId;
use tidings_event::{EntryId, NodeId};
use tidings_metrics::Metrics;
use tidings_settings::{ListenAddress, RedisUrl, SecretText};

/// How many characters of a payload a line of the table shows.
const SHOWN_CHARACTERS: usize = 100;

/// Arguments of `tidings history`.
#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// The workspace, such as `acme`
    workspace: String,
    /// Show this many of the newest events at most
    #[arg(long, value_name = "N", default_value_t = 1000)]
    last: usize,
    /// Print one JSON object a line, with the whole payload
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &GlobalOptions, args: &HistoryArgs) -> Result<(), CommandFailure> {
    let workspace =
        WorkspaceId::parse(&args.workspace).map_err(|error| CommandFailure::Usage(error.to_string()))?;
    let config = options.load()?.config;
    block_on(async {
        let bus = bus(config)?;
        let page = bus
            .read_log(&workspace, Span::Newest { count: args.last }, args.last)
            .await
            .map_err(|error| CommandFailure::Failed(error.to_string()))?;
        if page.entries.is_empty() && !args.json {
            output::error(&format!("the log of {workspace} is empty"));
        }
        for entry in &page.entries {
            let line = if args.json { as_json(entry) } else { as_row(entry) };
            if output::result(&line)?.is_break() {
                return Ok(());
            }
        }
        Ok(())
    })
}

/// The bus of a command: the configured Redis, or the embedded bus of the broker on this
/// machine, which speaks the same protocol.
pub(super) fn bus(mut config: Config) -> Result<Arc<dyn Bus>, CommandFailure> {
    if !config.redis.is_configured() {
        let address = config.embedded.listen.ok_or_else(|| {
            CommandFailure::Usage(
                "neither redis.url nor embedded.listen is configured: there is no bus to ask".to_owned(),
            )
        })?;
        config.redis.url = RedisUrl::new(url(address, &config.embedded.password));
    }
    redis::open(
        &config.redis,
        &config.retention,
        NodeId::random(),
        Arc::new(DesiredSubscriptions::default()),
        &Arc::new(Metrics::new()),
    )
    .map_err(|error| CommandFailure::Failed(error.to_string()))
}

fn url(address: SocketAddr, password: &SecretText) -> String {
    let address = ListenAddress::from(address).reachable();
    if password.is_empty() {
        return format!("redis://{address}");
    }
    format!("redis://:{}@{address}", utf8_percent_encode(password.reveal(), NON_ALPHANUMERIC))
}

fn as_json(entry: &LogEntry) -> String {
    let mut object =
        json!({ "id": entry.id.to_string(), "time": time(entry.id), "data": text(entry.payload.as_ref()) });
    if let Some(to) = text(entry.to.as_ref()) {
        // Text that is not JSON is no audience either. It is shown unchanged, and no client gets
        // the event.
        object["to"] = serde_json::from_str(&to).unwrap_or_else(|_| to.into());
    }
    object.to_string()
}

fn as_row(entry: &LogEntry) -> String {
    let to = text(entry.to.as_ref()).map_or_else(String::new, |to| format!("to {to}: "));
    let text = text(entry.payload.as_ref())
        .unwrap_or_else(|| "(no payload: not written by a publisher of events)".to_owned());
    let bytes = entry.payload.as_ref().map_or(0, Bytes::len);
    let text = to + &text;
    // Control characters would act on the terminal.
    let shown: String =
        text.chars().take(SHOWN_CHARACTERS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let more = if text.chars().nth(SHOWN_CHARACTERS).is_some() { "…" } else { "" };
    format!(
        "{:<20}  {:<24}  {bytes:>7}  {shown}{more}",
        entry.id.to_string(),
        time(entry.id).unwrap_or_default()
    )
}

fn text(bytes: Option<&Bytes>) -> Option<String> {
    bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// When the entry was logged, by the server's clock.
fn time(id: EntryId) -> Option<String> {
    let milliseconds = i64::try_from(id.milliseconds).ok()?;
    Some(format!("{:.3}", jiff::Timestamp::from_millisecond(milliseconds).ok()?))
}
