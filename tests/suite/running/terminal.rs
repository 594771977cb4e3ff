//! A node that was started on a terminal, and SIGHUP when it closes.

use std::fs::File;
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::broker::tidings;
use crate::support::directory::Directory;
use crate::support::programs::Sink;
use crate::support::{DEADLINE, eventually, eventually_some};

/// A node whose session has a terminal of its own.
struct TerminalNode {
    node: Child,
    /// The other end of the terminal; `None` once it has closed.
    terminal: Option<File>,
    directory: Directory,
}

impl TerminalNode {
    /// Starts a node behind the words of `prefix`.
    async fn start(prefix: &[&str]) -> Self {
        let (directory, (sink, terminal)) = (Directory::new(), Sink::terminal());
        let of_node = tidings();
        let mut command = Command::new("setsid");
        // The tests may run under nohup themselves.
        command
            .args(["--ctty", "env", "--default-signal=HUP"])
            .args(prefix)
            .arg(of_node.get_program())
            .arg("serve");
        for (key, value) in
            [("SERVER__LISTEN", "127.0.0.1:0"), ("ADMIN__LISTEN", "127.0.0.1:0"), ("EMBEDDED__LISTEN", "")]
        {
            command.env(format!("TIDINGS__{key}"), value);
        }
        let log = File::create(directory.file("log")).unwrap();
        let node = command.stdin(sink.stdio()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let node = Self { node, terminal: Some(terminal), directory };
        node.logged("listening").await;
        node
    }

    async fn logged(&self, text: &str) {
        eventually(text, DEADLINE, async || {
            std::fs::read_to_string(self.directory.file("log")).unwrap().contains(text)
        })
        .await;
    }

    fn hang_up(&self) {
        kill(Pid::from_raw(self.node.id().cast_signed()), Signal::SIGHUP).unwrap();
    }

    async fn ended(&mut self) -> ExitStatus {
        eventually_some("the node ends", DEADLINE, async || self.node.try_wait().unwrap()).await
    }
}

impl Drop for TerminalNode {
    fn drop(&mut self) {
        let _ = self.node.kill();
        let _ = self.node.wait();
    }
}

#[tokio::test]
async fn node_on_a_terminal_ends_with_it() {
    let mut node = TerminalNode::start(&[]).await;
    node.hang_up();
    node.logged("the configuration was read again").await;
    assert!(node.node.try_wait().unwrap().is_none(), "the terminal is still open");
    node.terminal = None;
    assert_eq!(node.ended().await.code(), Some(0));
    node.logged("draining").await;
}

#[tokio::test]
async fn nohup_keeps_a_node_over_the_end_of_its_terminal() {
    let mut node = TerminalNode::start(&["nohup"]).await;
    node.terminal = None;
    node.logged("the configuration was read again").await;
    node.hang_up();
    assert!(node.node.try_wait().unwrap().is_none());
    kill(Pid::from_raw(node.node.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(node.ended().await.code(), Some(0));
}
