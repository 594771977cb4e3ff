//! Commands of the `tidings` program, and what they write.

use std::process::Stdio;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::task::JoinHandle;

use super::broker::{tidings, variable};
use super::wait::{DEADLINE, eventually};

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

/// Runs a command to its end, with keys of the configuration in its environment and nothing on
/// stdin. Fails the test when it does not end.
pub async fn run_tidings(arguments: &[&str], settings: &[(&str, &str)]) -> Finished {
    run_tidings_with_input(arguments, settings, "").await
}

/// Runs a command to its end, with text on stdin.
pub async fn run_tidings_with_input(arguments: &[&str], settings: &[(&str, &str)], input: &str) -> Finished {
    let mut command = tidings();
    // `check` binds the addresses, which any program of the machine may have.
    if arguments == ["check"] {
        let free = |key: &str| (variable(key), "127.0.0.1:0");
        command.envs(["server.listen", "admin.listen", "embedded.listen"].map(free));
    }
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

/// A command that goes on until it has what it wants, or until the value goes out of scope.
#[derive(Debug)]
pub struct RunningCommand {
    child: Child,
    stdout: Option<Lines<BufReader<ChildStdout>>>,
    stderr: Arc<Mutex<String>>,
    stderr_reader: JoinHandle<()>,
}

impl RunningCommand {
    /// Starts a command of the `tidings` program.
    pub fn tidings(arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let mut command = tidings();
        command.args(arguments).envs(settings.iter().map(|(key, value)| (variable(key), value)));
        Self::start(command)
    }

    /// Starts any command.
    pub fn start(command: std::process::Command) -> Self {
        let mut child = tokio::process::Command::from(command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("start the command");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let stderr = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&stderr);
        let stderr_reader = tokio::spawn(async move {
            while let Some(line) = lines.next_line().await.expect("read stderr") {
                written.lock().push_str(&format!("{line}\n"));
            }
        });
        Self { child, stdout: Some(stdout), stderr, stderr_reader }
    }

    /// The next line on stdout. Fails the test when there is none in time.
    pub async fn line(&mut self) -> String {
        let lines = self.stdout.as_mut().expect("stdout is open");
        let line = tokio::time::timeout(DEADLINE, lines.next_line()).await.expect("a line in time");
        line.expect("read stdout").expect("a line before the end")
    }

    /// Waits until stderr has a text so many times.
    pub async fn said(&self, text: &str, times: usize) {
        eventually(text, DEADLINE, async || self.stderr.lock().matches(text).count() >= times).await;
    }

    /// Closes the reading end of stdout, as `head` does when it has enough.
    pub fn close_stdout(&mut self) {
        self.stdout = None;
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the state of the command").is_some()
    }

    /// Waits for the end by itself, and returns what it left behind; of stdout what was not read
    /// before.
    pub async fn finished(mut self) -> Finished {
        let status = tokio::time::timeout(DEADLINE, self.child.wait()).await.expect("the command ends");
        let mut stdout = String::new();
        if let Some(mut lines) = self.stdout.take() {
            while let Some(line) = lines.next_line().await.expect("read stdout") {
                stdout.push_str(&line);
                stdout.push('\n');
            }
        }
        self.stderr_reader.await.expect("read stderr");
        let stderr = std::mem::take(&mut *self.stderr.lock());
        Finished { code: status.expect("the exit status").code(), stdout, stderr }
    }
}
