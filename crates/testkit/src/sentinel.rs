//! A primary, a replica, and three Sentinels that watch them.

use std::process::Command;
use std::time::Duration;

use redis::Client;

use super::directory::Directory;
use super::ports::Port;
use super::programs::Program;
use super::redis_server::{RedisOptions, RedisServer};
use super::wait::{DEADLINE, eventually};

/// The name under which the primary is watched.
pub const NAME: &str = "tidings-test";

/// How long a failover may take: noticing, agreeing, promoting. A Sentinel that a busy machine
/// froze for 2 s does nothing for 30 s. A failed try is repeated after 10 s.
const FAILOVER: Duration = Duration::from_secs(75);

/// Two servers of which one replicates the other, and three Sentinels.
#[derive(Debug)]
pub struct SentinelGroup {
    /// The first one is the primary at the start.
    pub servers: [RedisServer; 2],
    sentinels: Vec<Sentinel>,
}

/// A Sentinel. It ends with the value.
pub struct Sentinel {
    port: Port,
    program: Program,
    _directory: Directory,
}

impl SentinelGroup {
    /// Starts all and waits until the Sentinels know the replica and each other. The first server
    /// is the primary.
    pub async fn start() -> Self {
        let options = || RedisOptions { append_only: true, ..RedisOptions::default() };
        let servers = [RedisServer::start_with(options()).await, RedisServer::start_with(options()).await];
        let port = servers[0].port().to_string();
        servers[1].command::<String>(&["REPLICAOF", "127.0.0.1", &port]).await;
        eventually("the replica is linked", DEADLINE, async || {
            servers[1].info("replication").await.contains("master_link_status:up")
        })
        .await;
        let sentinels: Vec<_> = (0..3).map(|_| Sentinel::start(servers[0].port())).collect();
        let group = Self { servers, sentinels };
        for sentinel in &group.sentinels {
            eventually("a Sentinel knows the others", FAILOVER, async || {
                let Ok(text) = sentinel.master().await else { return false };
                let field = |name: &str| {
                    text.iter().position(|word| word == name).and_then(|at| text.get(at + 1).cloned())
                };
                field("num-slaves").as_deref() == Some("1")
                    && field("num-other-sentinels").as_deref() == Some("2")
            })
            .await;
        }
        group
    }

    /// The ports of the Sentinels.
    pub fn sentinel_ports(&self) -> Vec<u16> {
        self.sentinels.iter().map(|sentinel| sentinel.port.number()).collect()
    }

    /// The settings that a broker needs.
    pub fn settings(&self) -> [(&'static str, String); 2] {
        let nodes: Vec<_> = self.sentinels.iter().map(|sentinel| sentinel.url()).collect();
        [("redis.sentinel.nodes", nodes.join(",")), ("redis.sentinel.primary", NAME.to_owned())]
    }

    /// Sets the silence of the primary before it counts as down, in place of 1 s. A replica that
    /// was disconnected before for more than ten times this is never promoted.
    pub async fn set_patience(&self, patience: Duration) {
        let milliseconds = patience.as_millis().to_string();
        for sentinel in &self.sentinels {
            let set = sentinel.set("down-after-milliseconds", &milliseconds).await;
            set.expect("a Sentinel that takes a setting");
        }
    }

    /// Waits until all Sentinels name this server as the primary.
    pub async fn wait_for_primary(&self, server: usize) {
        let port = self.servers[server].port().to_string();
        for sentinel in &self.sentinels {
            eventually("the Sentinels name the other server", FAILOVER, async || {
                sentinel.master().await.is_ok_and(|text| text.contains(&port))
            })
            .await;
        }
    }
}

impl Sentinel {
    /// Starts a Sentinel that watches the server on a port.
    pub fn start(primary: u16) -> Self {
        Self::start_with(primary, &[])
    }

    /// Starts one with further lines in its configuration.
    pub fn start_with(primary: u16, lines: &[&str]) -> Self {
        let (port, directory) = (Port::claim(), Directory::new());
        let configuration = directory.write(
            "sentinel.conf",
            format!(
                "bind 127.0.0.1\nport {}\nsentinel monitor {NAME} 127.0.0.1 {primary} 2\n\
                 sentinel down-after-milliseconds {NAME} 1000\nsentinel failover-timeout {NAME} 5000\n{}\n",
                port.number(),
                lines.join("\n")
            ),
        );
        let mut command = Command::new("redis-sentinel");
        command.arg(configuration).current_dir(directory.path());
        let program = Program::start("redis-sentinel", command);
        Self { port, program, _directory: directory }
    }

    /// Its address, as in `redis.sentinel.nodes`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.port.address())
    }

    /// Changes a setting of the primary.
    async fn set(&self, name: &str, value: &str) -> redis::RedisResult<()> {
        let mut connection = Client::open(self.url())?.get_multiplexed_async_connection().await?;
        let mut set = redis::cmd("SENTINEL");
        set.arg("SET").arg(NAME).arg(name).arg(value).query_async(&mut connection).await
    }

    /// What it says of the primary, as names and values in turn.
    pub async fn master(&self) -> redis::RedisResult<Vec<String>> {
        let mut connection = Client::open(self.url())?.get_multiplexed_async_connection().await?;
        redis::cmd("SENTINEL").arg("MASTER").arg(NAME).query_async(&mut connection).await
    }
}

impl std::fmt::Debug for Sentinel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sentinel {} ({})", self.port.number(), self.program.pid())
    }
}
