//! The servers of a cluster, each with its link for commands.

use std::sync::Arc;

use parking_lot::Mutex;

use super::super::commands::Commands;
use super::super::connect::Connector;
use super::topology::{ServerPlace, Topology};
use crate::settings::RedisConfig;

/// Limits the servers that are known only from redirections, beside those of the topology.
const STRANGERS_MAX: usize = 64;

/// All servers with which the node has a link, or had one.
pub(super) struct Servers {
    connector: Arc<Connector>,
    config: RedisConfig,
    known: Mutex<Vec<Arc<ClusterServer>>>,
}

/// One server of a cluster.
pub(super) struct ClusterServer {
    pub(super) hosts: Vec<String>,
    pub(super) port: u16,
    pub(super) connector: Arc<Connector>,
    pub(super) commands: Commands,
}

impl Servers {
    /// The way to open connections, with the current passwords.
    pub(super) fn connector(&self) -> Arc<Connector> {
        Arc::clone(&self.connector)
    }

    pub(super) fn new(connector: Arc<Connector>, config: &RedisConfig) -> Self {
        Self { connector, config: config.clone(), known: Mutex::default() }
    }

    /// Replaces the password of all servers, for new connections.
    pub(super) fn set_password(&self, config: &RedisConfig) {
        self.connector.set_password(config);
    }

    /// Returns the server at a place of the topology.
    pub(super) fn at(&self, place: &ServerPlace) -> Arc<ClusterServer> {
        self.find(|server| server.port == place.port && server.hosts == place.hosts, &place.hosts, place.port)
    }

    /// Returns the server at one address, perhaps one of several. An address without a host is at
    /// the host of the server that named it (Redis Cluster specification, "MOVED Redirection").
    pub(super) fn redirected(&self, from: &ClusterServer, address: &str) -> Option<Arc<ClusterServer>> {
        let (host, port) = address.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let hosts = match host {
            "" | "?" => from.hosts.clone(),
            host => vec![host.trim_start_matches('[').trim_end_matches(']').to_owned()],
        };
        let is_at = |server: &ClusterServer| {
            server.port == port && hosts.first().is_some_and(|host| server.hosts.contains(host))
        };
        Some(self.find(is_at, &hosts, port))
    }

    fn find(
        &self,
        is_wanted: impl Fn(&ClusterServer) -> bool,
        hosts: &[String],
        port: u16,
    ) -> Arc<ClusterServer> {
        let mut known = self.known.lock();
        if let Some(server) = known.iter().find(|server| is_wanted(server)) {
            return Arc::clone(server);
        }
        let connector = Arc::new(self.connector.at(hosts, port));
        let commands = Commands::new(Arc::clone(&connector), &self.config);
        let server = Arc::new(ClusterServer { hosts: hosts.to_vec(), port, connector, commands });
        known.push(Arc::clone(&server));
        server
    }

    /// Forgets the servers that are not of the cluster any more. Their links close.
    pub(super) fn retain(&self, topology: &Topology) {
        let mut known = self.known.lock();
        let mut strangers = 0;
        known.retain(|server| {
            let is_of = |place: &ServerPlace| place.port == server.port && place.hosts == server.hosts;
            topology.servers.values().any(is_of) || {
                strangers += 1;
                Arc::strong_count(server) > 1 && strangers <= STRANGERS_MAX
            }
        });
    }
}

impl std::fmt::Display for ClusterServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.hosts.first().map_or("?", String::as_str), self.port)
    }
}
