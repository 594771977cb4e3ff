//! `tidings schema check`.

use std::path::PathBuf;

use clap::Args;

use super::print;
use crate::cli::CommandFailure;
use tidings_schemas::SchemaSet;

/// Arguments of `tidings schema check`.
#[derive(Debug, Args)]
pub(super) struct SchemaCheckArgs {
    /// The directory with a file for each event type, such as CHANNEL_UPDATED.json
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(super) fn run(args: &SchemaCheckArgs) -> Result<(), CommandFailure> {
    let set = SchemaSet::read(&args.directory).map_err(|error| CommandFailure::Failed(error.to_string()))?;
    let mut lines = vec![format!("version {}", set.version())];
    lines.extend(set.types().map(str::to_owned));
    print(&lines)
}
