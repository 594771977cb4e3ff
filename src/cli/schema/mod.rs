//! `tidings schema`: schemas of event types, without a broker.

mod check;
mod diff;

use clap::{Args, Subcommand};

use super::{CommandFailure, output};

/// Arguments of `tidings schema`.
#[derive(Debug, Args)]
pub(super) struct SchemaArgs {
    #[command(subcommand)]
    command: SchemaCommand,
}

#[derive(Debug, Subcommand)]
enum SchemaCommand {
    /// Check a directory of schemas, and print its version and its types
    Check(check::SchemaCheckArgs),
    /// Say for each event type whether pages that were built for OLD understand the events of NEW
    Diff(diff::DiffArgs),
}

pub(super) fn run(args: &SchemaArgs) -> Result<(), CommandFailure> {
    match &args.command {
        SchemaCommand::Check(args) => check::run(args),
        SchemaCommand::Diff(args) => diff::run(args),
    }
}

/// Writes lines until the reader has gone away.
fn print(lines: &[String]) -> Result<(), CommandFailure> {
    for line in lines {
        if output::result(line)?.is_break() {
            break;
        }
    }
    Ok(())
}
