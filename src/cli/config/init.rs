//! `tidings config init`.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

use clap::Args;

use crate::cli::{CommandFailure, output};
use crate::config::settings_file;

/// Arguments of `tidings config init`.
#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Write to this file, which must not exist; `-` writes to standard output
    #[arg(default_value = "tidings.toml")]
    file: PathBuf,
}

pub(super) fn run(args: &InitArgs) -> Result<(), CommandFailure> {
    let (path, text) = (&args.file, settings_file::text());
    if path.as_os_str() == "-" {
        return output::result(text.trim_end()).map(|_| ());
    }
    let written = File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        let name = path.display();
        CommandFailure::Failed(match error.kind() {
            ErrorKind::AlreadyExists => format!("{name} exists, and is unchanged: name another file"),
            _ => format!("cannot write {name}: {error}"),
        })
    })
}
