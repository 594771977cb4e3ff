//! `tidings nodes`.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use serde_json::json;

use super::history::bus;
use super::{CommandFailure, FAILURE, GlobalOptions, block_on, output};
use crate::nodes::{self, NodeReport};

/// Arguments of `tidings nodes`.
#[derive(Debug, Args)]
#[command(after_help = "\
The nodes of the configured Redis, or the node on this machine. The exit code is 1 if a node does not
reply within a second, if none is there, or if Redis cannot be reached.")]
pub(super) struct NodesArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &GlobalOptions, args: &NodesArgs) -> Result<(), CommandFailure> {
    let config = options.load()?.config;
    block_on(async {
        let bus = bus(config)?;
        let (reports, inquiry) = nodes::list(&*bus, None).await;
        if args.json {
            let document = json!({
                "nodes": reports,
                "silent": inquiry.silent,
                "unreadable": inquiry.unreadable,
                "error": inquiry.error,
            });
            let _ = output::result(&document.to_string())?;
        } else {
            print(&reports, &inquiry.silent)?;
        }
        if let Some(error) = inquiry.error {
            return Err(CommandFailure::Failed(error));
        }
        if inquiry.unreadable > 0 {
            output::error(&format!("{} texts in Redis are no announcement or reply", inquiry.unreadable));
        }
        if reports.is_empty() {
            return Err(CommandFailure::Failed("no node has announced itself".to_owned()));
        }
        if inquiry.silent.is_empty() { Ok(()) } else { Err(CommandFailure::Silent(FAILURE)) }
    })
}

fn print(reports: &[NodeReport], silent: &[String]) -> Result<(), CommandFailure> {
    let heading = ["node", "version", "up", "connections", "streams", "workspaces", "state"];
    let mut lines = vec![heading.map(str::to_owned)];
    for report in reports {
        let state = if silent.contains(&report.node) {
            "no reply within a second".to_owned()
        } else if report.ready {
            "ready".to_owned()
        } else {
            format!("not ready: {}", report.not_ready_because.join("; "))
        };
        lines.push([
            report.node.clone(),
            report.version.clone(),
            age(report.started_ms),
            report.connections.to_string(),
            report.subscribers.to_string(),
            report.workspaces.to_string(),
            state,
        ]);
    }
    for [node, version, up, connections, streams, workspaces, state] in lines {
        let line = format!(
            "{node:<8}  {version:<8}  {up:>9}  {connections:>11}  {streams:>8}  {workspaces:>10}  {state}"
        );
        if output::result(&line)?.is_break() {
            return Ok(());
        }
    }
    Ok(())
}

/// The time since a start, such as `2h 5m`.
fn age(started_ms: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let seconds = now.saturating_sub(started_ms / 1000);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}
