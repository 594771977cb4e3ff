//! Writing to the terminal. `println!` panics when the reader of a pipe has gone away; here that
//! ends the command.
//!
//! Payloads and errors hold bytes that others chose, and a terminal acts on control characters: on
//! one they are escaped.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;

use super::CommandFailure;

/// Writes a line that is what a command is for. `Break`: the reader has gone away, as `head` does,
/// which ends the command quietly.
///
/// # Errors
///
/// When the line is lost, for example on a full disk.
pub(super) fn result(text: &str) -> Result<ControlFlow<()>, CommandFailure> {
    match line(text) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(CommandFailure::Failed(format!("cannot write to standard output: {error}"))),
    }
}

/// Writes a line to standard output.
pub(super) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let text = shown(text, out.is_terminal());
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Writes a line to standard error. A failure has no reader, so it is ignored.
pub(super) fn error(text: &str) {
    let mut err = io::stderr().lock();
    let text = shown(text, err.is_terminal());
    let _ = writeln!(err, "{text}");
}

/// The text with control characters other than line feeds and tabs as `\u001b`, the way JSON writes
/// them, for a terminal.
fn shown(text: &str, is_terminal: bool) -> Cow<'_, str> {
    let acts = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !is_terminal || !text.contains(acts) {
        return text.into();
    }
    let escape = |c: char| if acts(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn control_characters_are_escaped_on_a_terminal_alone() {
        let text = "\u{1b}]0;title\u{7}\u{9b}2J\r größer\n\tnext";
        assert_eq!(shown(text, false), text);
        assert_eq!(shown(text, true), "\\u001b]0;title\\u0007\\u009b2J\\u000d größer\n\tnext");
    }
}
