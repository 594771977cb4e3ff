//! A real Redis server, for comparison.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::net::UnixStream;

use super::DEADLINE;

/// A server of its own, which only a socket file leads to. It is killed when this is dropped.
pub(super) struct RedisServer {
    child: Child,
    directory: TempDir,
}

impl RedisServer {
    pub(super) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub(super) async fn start_with(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket", "socket"])
            .args(arguments)
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is not installed; scripts/test installs it");
        let server = Self { child, directory };
        let wait = async {
            while UnixStream::connect(server.socket()).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.expect("redis-server does not answer");
        server
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
