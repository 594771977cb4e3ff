//! Commands of the `tidings` program that end by themselves.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;

use super::broker::{tidings, variable};
use super::wait::DEADLINE;

/// What a command left behind.
#[derive(Debug)]
pub struct Finished {
    /// `None` when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// What it wrote to stdout. Fails the test when the command failed.
    pub fn success(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// What it wrote to stderr. Fails the test when the command ended with another code.
    pub fn failure(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        self.stderr
    }
}

/// Runs a command to its end, with keys of the configuration in its environment and nothing on stdin. Fails the test
/// when it does not end.
pub async fn run_tidings(arguments: &[&str], settings: &[(&str, &str)]) -> Finished {
    run_tidings_with_input(arguments, settings, "").await
}

/// Runs a command to its end, with text on stdin.
pub async fn run_tidings_with_input(arguments: &[&str], settings: &[(&str, &str)], input: &str) -> Finished {
    let mut command = tidings();
    command.args(arguments).envs(settings.iter().map(|(key, value)| (variable(key), value)));
    let mut child = tokio::process::Command::from(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("start tidings");
    // The command may end without reading.
    let mut stdin = child.stdin.take().expect("a pipe");
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = tokio::time::timeout(DEADLINE, child.wait_with_output()).await;
    let output = output.unwrap_or_else(|_| panic!("`tidings {}` does not end", arguments.join(" ")));
    let output = output.expect("the output of a command");
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}
