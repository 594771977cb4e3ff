//! `tidings token`.

mod explain;
mod new;

use clap::{Args, Subcommand};

use super::{CommandFailure, GlobalOptions};
pub(super) use explain::standard_input;

/// Arguments of `tidings token`.
#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token for development and print it alone
    New(new::NewArgs),
    /// Report whether a token gives access to a workspace, with each check on the way
    Explain(explain::ExplainArgs),
}

pub(super) fn run(options: &GlobalOptions, args: &TokenArgs) -> Result<(), CommandFailure> {
    match &args.command {
        TokenCommand::New(args) => new::run(options, args),
        TokenCommand::Explain(args) => explain::run(options, args),
    }
}
