//! `tidings trace`.

use clap::Args;

use super::history::bus;
use super::{CommandFailure, FAILURE, GlobalOptions, block_on, output};
use crate::nodes::{self, EventTrace, EventTraceError, StreamRow};
use tidings_event::workspace::WorkspaceId;

/// Arguments of `tidings trace`.
#[derive(Debug, Args)]
#[command(after_help = "\
Counts are of streams that are open now; streams that have ended are not counted. The payload is never
shown. The exit code is 1 if the event was not found, or a node did not reply within a second.")]
pub(super) struct TraceArgs {
    /// The event id, such as 1795373098811-0
    #[arg(value_name = "EVENT_ID")]
    event: String,
    /// The workspace; without it the nodes that have the event in memory name it
    #[arg(long, value_name = "WORKSPACE")]
    workspace: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &GlobalOptions, args: &TraceArgs) -> Result<(), CommandFailure> {
    let config = options.load()?.config;
    let workspace = args.workspace.as_deref().map(WorkspaceId::parse).transpose();
    let workspace = workspace.map_err(|error| CommandFailure::Usage(error.to_string()))?;
    block_on(async {
        let bus = bus(config)?;
        let traced =
            nodes::trace(&*bus, None, &args.event, workspace).await.map_err(|error| match error {
                EventTraceError::NotAnEvent(_) => CommandFailure::Usage(error.to_string()),
                _ => CommandFailure::Failed(error.to_string()),
            })?;
        let text = if args.json {
            serde_json::to_string(&traced).map_err(|error| CommandFailure::Failed(error.to_string()))?
        } else {
            text(&traced)
        };
        let _ = output::result(&text)?;
        if traced.is_found() && traced.silent.is_empty() && traced.error.is_none() {
            Ok(())
        } else {
            Err(CommandFailure::Silent(FAILURE))
        }
    })
}

fn text(traced: &EventTrace) -> String {
    let mut lines = vec![format!("event      {} ({}) of {}", traced.event, traced.kind, traced.workspace)];
    lines.extend(traced.at_ms.map(|at| format!("came       {} by the clock of the bus", time(at))));
    if let Some(log) = &traced.log {
        let private = if log.private == Some(true) { "private" } else { "for all users" };
        lines.push(match (log.held, &log.error) {
            (Some(true), _) => {
                format!("log        has it: {} bytes, {private}", log.bytes.unwrap_or_default())
            }
            (Some(false), _) => "log        does not have it".to_owned(),
            (None, error) => format!("log        not read: {}", error.as_deref().unwrap_or_default()),
        });
    }
    for node in &traced.nodes {
        let trace = &node.trace;
        let place = match trace.place {
            None => "does not hold the workspace".to_owned(),
            Some(place) => {
                let name = serde_json::to_value(place).unwrap_or_default();
                let received =
                    trace.received_ms.map_or_else(String::new, |at| format!(", received {}", time(at)));
                format!(
                    "{}{received}; written {}, behind {}, hidden {}, past {}",
                    name.as_str().unwrap_or_default(),
                    trace.written,
                    trace.behind,
                    trace.hidden,
                    trace.past
                )
            }
        };
        lines.push(format!("{:<8}   {place}", node.node));
        lines.extend(trace.slowest.iter().map(row));
    }
    lines.extend(traced.silent.iter().map(|node| format!("{node:<8}   no reply within a second")));
    lines.extend(traced.error.as_ref().map(|error| format!("error      {error}")));
    if traced.unreadable > 0 {
        lines.push(format!("note       {} texts in Redis are no announcement or reply", traced.unreadable));
    }
    lines.push(traced.summary.clone());
    lines.join("\n")
}

/// A line for a stream.
pub(super) fn row(stream: &StreamRow) -> String {
    let count = |number: Option<u64>, unit| {
        number.map_or_else(String::new, |number| format!(", lacks {number} {unit}"))
    };
    let types = match &stream.types {
        Some(types) => format!(", types {}", types.join(",")),
        None if stream.filtered => ", some types alone".to_owned(),
        None => String::new(),
    };
    format!(
        "           {} user {} at {} for {} s, {}{}{}{types}",
        stream.connection,
        stream.user.as_deref().unwrap_or("-"),
        stream.client,
        stream.seconds,
        stream.phase,
        count(stream.events_behind, "events"),
        count(stream.bytes_behind, "bytes")
    )
}

/// A time as RFC 3339.
pub(super) fn time(milliseconds: u64) -> String {
    let milliseconds = i64::try_from(milliseconds).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(milliseconds).map(|time| format!("{time:.3}")).unwrap_or_default()
}
