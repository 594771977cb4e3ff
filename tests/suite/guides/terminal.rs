//! A terminal in which a reader runs what a document shows.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::support::broker::variable;
use crate::support::commands::{Finished, RunningCommand};
use crate::support::directory::{Directory, repository};
use crate::support::programs::installed;
use crate::support::{Broker, RedisServer};

/// A directory with `tidings` and `redis-cli` on the path. The addresses of the servers of a test
/// replace those of the documents.
#[derive(Debug)]
pub(crate) struct Terminal {
    directory: Directory,
    addresses: Vec<(&'static str, String)>,
    environment: Vec<(String, String)>,
}

impl Terminal {
    /// A terminal without a node.
    pub(crate) fn new() -> Self {
        let directory = Directory::new();
        std::fs::create_dir(directory.file("bin")).unwrap();
        symlink(env!("CARGO_BIN_EXE_tidings"), directory.file("bin/tidings")).unwrap();
        symlink(repository().join("scripts"), directory.file("scripts")).unwrap();
        Self { directory, addresses: Vec::new(), environment: Vec::new() }
    }

    /// A terminal on the machine of a node.
    pub(crate) fn beside(broker: &Broker) -> Self {
        let port = broker.embedded().port();
        let mut terminal = Self::new();
        terminal.addresses = vec![
            ("127.0.0.1:8080", broker.address().to_string()),
            ("127.0.0.1:8081", broker.admin().to_string()),
            ("redis-cli -p 6380", format!("redis-cli -p {port}")),
            ("port=6380", format!("port={port}")),
            ("port: 6380", format!("port: {port}")),
            ("new Redis(6380)", format!("new Redis({port})")),
            ("'127.0.0.1', 6380", format!("'127.0.0.1', {port}")),
            ("127.0.0.1:6380", format!("127.0.0.1:{port}")),
        ];
        terminal
            .set("server.listen", &broker.address().to_string())
            .set("admin.listen", &broker.admin().to_string())
            .set("embedded.listen", &broker.embedded().to_string())
    }

    /// Has the Redis of documents be this server.
    pub(crate) fn with_redis(mut self, server: &RedisServer) -> Self {
        self.addresses.push(("127.0.0.1:6379", format!("127.0.0.1:{}", server.port())));
        self
    }

    /// Sets a key of the configuration for commands of `tidings`.
    pub(crate) fn set(self, key: &str, value: &str) -> Self {
        self.variable(&variable(key), value)
    }

    /// Sets a variable of the environment.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The text of a document with the addresses of this terminal.
    pub(crate) fn text(&self, text: &str) -> String {
        self.addresses.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }

    /// Starts lines of a shell.
    pub(crate) fn start(&self, lines: &str) -> RunningCommand {
        let mut shell = self.command("bash");
        shell.args(["-euo", "pipefail", "-c", &self.text(lines)]);
        RunningCommand::start(shell)
    }

    /// Runs lines of a shell to their end, and returns what they wrote. Fails the test when they
    /// fail.
    pub(crate) async fn run(&self, lines: &str) -> String {
        self.finish(lines).await.success()
    }

    /// Runs lines of a shell to their end.
    pub(crate) async fn finish(&self, lines: &str) -> Finished {
        self.start(lines).finished().await
    }

    /// Writes a program that a document shows, and returns its name.
    pub(crate) fn write(&self, name: &str, program: &str) -> String {
        self.directory.write(name, self.text(program));
        name.to_owned()
    }

    /// Runs a program that a document shows with its interpreter, and returns what it wrote.
    pub(crate) async fn program(&self, interpreter: &str, name: &str, program: &str) -> String {
        let file = self.write(name, program);
        let mut command = match interpreter {
            "python" => self.command(&installed("python/bin/python").display().to_string()),
            "node" => {
                let libraries = self.directory.file("node_modules");
                if !libraries.exists() {
                    symlink(installed("node/node_modules"), libraries).unwrap();
                }
                self.command("node")
            }
            "go" => {
                let mut command = self.go();
                command.arg("run");
                command
            }
            other => self.command(other),
        };
        command.arg(file);
        RunningCommand::start(command).finished().await.success()
    }

    /// A command of Go, with the libraries that Debian packages.
    pub(crate) fn go(&self) -> Command {
        let mut command = self.command("go");
        command.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode");
        command
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TIDINGS_") {
                command.env_remove(name);
            }
        }
        let path = std::env::var("PATH").unwrap();
        command.current_dir(self.directory.path());
        command.env("PATH", format!("{}:{path}", self.directory.file("bin").display()));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}
