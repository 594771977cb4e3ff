//! `tidings config`.

mod init;
mod show;

use clap::{Args, Subcommand};

use super::{CommandFailure, GlobalOptions};

/// Arguments of `tidings config`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct ConfigArgs {
    #[command(flatten)]
    show: show::ShowArgs,
    #[command(subcommand)]
    command: Option<ConfigCommand>,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Write a file with each setting, its default and its meaning, commented out
    Init(init::InitArgs),
}

pub(super) fn run(options: &GlobalOptions, args: &ConfigArgs) -> Result<(), CommandFailure> {
    match &args.command {
        None => show::run(options, &args.show),
        Some(ConfigCommand::Init(args)) => init::run(args),
    }
}
