//! `tidings config`.

use clap::Args;

use super::{Failure, Options, output};

/// Arguments of `tidings config`.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options, args: &ShowArgs) -> Result<(), Failure> {
    let loaded = options.load()?;
    let text = if args.json {
        loaded
            .json()
            .map_err(|error| Failure::Failed(format!("cannot write the settings as JSON: {error}")))?
    } else {
        loaded.table()
    };
    output::result(text.trim_end()).map(|_| ())
}
