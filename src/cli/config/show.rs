//! `tidings config` without a command of its own: each setting and its source.

use clap::Args;

use crate::cli::{CommandFailure, GlobalOptions, output};

/// Arguments of `tidings config`.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &GlobalOptions, args: &ShowArgs) -> Result<(), CommandFailure> {
    let loaded = options.load()?;
    let text = if args.json {
        loaded
            .json()
            .map_err(|error| CommandFailure::Failed(format!("cannot write the settings as JSON: {error}")))?
    } else {
        loaded.table()
    };
    output::result(text.trim_end()).map(|_| ())
}
