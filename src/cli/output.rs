//! Writing to the terminal. `println!` panics when the reader of a pipe has gone away; here that ends the command.

use std::io::{self, Write};
use std::ops::ControlFlow;

use super::Failure;

/// Writes a line that is what a command is for. `Break`: the reader has gone away, as `head` does, which ends the command
/// quietly.
///
/// # Errors
///
/// When the line is lost, for example on a full disk.
pub(super) fn result(text: &str) -> Result<ControlFlow<()>, Failure> {
    match line(text) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(Failure::Failed(format!("cannot write to standard output: {error}"))),
    }
}

/// Writes a line to standard output.
pub(super) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Writes a line to standard error. There is nobody left to tell when that fails.
pub(super) fn error(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
