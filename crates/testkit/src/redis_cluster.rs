//! A Redis Cluster: three primaries, each with a replica.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Pipeline, RedisResult, Value};

use super::namespace::Namespace;
use super::ports::Port;
use super::redis_server::{RedisOptions, RedisServer};
use super::tcp_proxy::TcpProxy;
use super::tls::Certificates;
use super::wait::{DEADLINE, eventually, eventually_some};

/// The number of hash slots.
const SLOTS: usize = 16_384;

/// The primaries at the start.
const PRIMARIES: usize = 3;

/// How long a failover may take: noticing, agreeing, promoting, on a busy machine.
const FAILOVER: Duration = Duration::from_secs(60);

/// The silence in milliseconds after which the servers count another one as failed. A busy machine
/// must not cause failovers by itself.
const NODE_TIMEOUT_MS: u64 = 5_000;

/// A cluster with TLS for clients, replicas, and among the servers.
const TLS: [&str; 4] = [
    "tls-cluster yes",
    "tls-replication yes",
    "cluster-announce-hostname localhost",
    "cluster-preferred-endpoint-type hostname",
];

/// The way in which the servers of a cluster are reached.
#[derive(Debug, Clone)]
pub enum ClusterNetwork {
    /// Each has a port of 127.0.0.1.
    Loopback,
    /// The same with TLS alone. The servers announce the name `localhost`.
    Tls(Arc<Certificates>),
    /// Each announces the port of a proxy, as servers behind a translation of addresses do.
    Proxied,
    /// The first server is in a namespace, whose link a test can interrupt.
    FirstInside(Arc<Namespace>),
}

/// Servers of one cluster. Server `n + 3` is the replica of server `n` at the start.
#[derive(Debug)]
pub struct RedisCluster {
    pub servers: Vec<RedisServer>,
    /// The proxies of [`ClusterNetwork::Proxied`], one for each server.
    pub proxies: Vec<TcpProxy>,
    /// The ports on which the servers talk to each other.
    bus_ports: Vec<Port>,
    network: ClusterNetwork,
}

impl RedisCluster {
    /// Starts a cluster and waits until it serves all slots and its replicas are linked.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a cluster whose servers have further lines in their configuration.
    pub async fn start_with(lines: &[&str]) -> Self {
        Self::start_for(lines, &[]).await
    }

    /// Starts a cluster with further lines and further users, as in [`RedisOptions::users`].
    pub async fn start_for(lines: &[&str], users: &[&str]) -> Self {
        Self::start_on(ClusterNetwork::Loopback, lines, users).await
    }

    /// Starts a cluster on another network.
    pub async fn start_in(network: ClusterNetwork) -> Self {
        Self::start_on(network, &[], &[]).await
    }

    async fn start_on(network: ClusterNetwork, lines: &[&str], users: &[&str]) -> Self {
        let mut cluster = Self { servers: Vec::new(), proxies: Vec::new(), bus_ports: Vec::new(), network };
        for _ in 0..2 * PRIMARIES {
            cluster.add_server(lines, users).await;
        }
        for (at, server) in cluster.servers.iter().enumerate() {
            server.command::<String>(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]).await;
        }
        for at in 0..PRIMARIES {
            let slots = Self::slots_at_start(at);
            let range = [slots.start().to_string(), slots.end().to_string()];
            cluster.servers[at].command::<String>(&["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]).await;
        }
        for at in 1..cluster.servers.len() {
            cluster.meet(at).await;
        }
        for at in 0..PRIMARIES {
            cluster.replicate(at + PRIMARIES, at).await;
        }
        cluster.is_whole().await;
        cluster
    }

    /// The slots of a primary at the start.
    pub fn slots_at_start(primary: usize) -> RangeInclusive<u16> {
        let bound = |at: usize| u16::try_from(at * SLOTS / PRIMARIES).expect("a slot");
        bound(primary)..=bound(primary + 1) - 1
    }

    /// Starts a further server, which does not know the others.
    async fn add_server(&mut self, lines: &[&str], users: &[&str]) {
        let bus = Port::claim();
        let mut configuration = vec![
            "cluster-enabled yes".to_owned(),
            format!("cluster-port {}", bus.number()),
            format!("cluster-node-timeout {NODE_TIMEOUT_MS}"),
            "cluster-replica-validity-factor 0".to_owned(),
            "repl-diskless-sync-delay 0".to_owned(),
        ];
        let mut options = RedisOptions { append_only: true, ..RedisOptions::default() };
        let mut proxy = None;
        match &self.network {
            ClusterNetwork::Loopback => {}
            ClusterNetwork::Tls(certificates) => {
                (options.tls, options.certificates) = (true, Some(Arc::clone(certificates)));
                configuration.extend(TLS.map(str::to_owned));
            }
            ClusterNetwork::Proxied => {
                // It leads to the server as soon as there is one.
                let new = TcpProxy::start(0).await;
                configuration.push(format!("cluster-announce-port {}", new.port()));
                proxy = Some(new);
            }
            ClusterNetwork::FirstInside(namespace) => {
                let is_first = self.servers.is_empty();
                let host = if is_first { namespace.inside() } else { namespace.outside() };
                options.host = Some(host);
                options.namespace = is_first.then(|| Arc::clone(namespace));
                configuration.push(format!("cluster-announce-ip {host}"));
                configuration.push("protected-mode no".to_owned());
            }
        }
        configuration.extend(lines.iter().map(|line| (*line).to_owned()));
        options.configuration = configuration;
        options.users = users.iter().map(|user| (*user).to_owned()).collect();
        let server = RedisServer::start_with(options).await;
        self.proxies.extend(proxy.inspect(|proxy| proxy.point_to(server.port())));
        self.servers.push(server);
        self.bus_ports.push(bus);
    }

    /// Has a server know the first one, and all others by it.
    async fn meet(&self, at: usize) {
        let first = &self.servers[0];
        let port = match &self.network {
            ClusterNetwork::Tls(_) => first.tls_port(),
            _ => first.port(),
        };
        let (host, port) = (first.address().ip().to_string(), port.to_string());
        let bus = self.bus_ports[0].number().to_string();
        self.servers[at].command::<String>(&["CLUSTER", "MEET", &host, &port, &bus]).await;
    }

    /// Has a server replicate another one.
    pub async fn replicate(&self, replica: usize, primary: usize) {
        let id = self.id(primary).await;
        eventually("the replica knows its primary", DEADLINE, async || {
            self.servers[replica].try_command::<String>(&["CLUSTER", "REPLICATE", &id]).await.is_ok()
        })
        .await;
    }

    /// Adds a primary without slots and waits until all know it. Returns its number.
    pub async fn add_primary(&mut self) -> usize {
        self.add_server(&[], &[]).await;
        let new = self.servers.len() - 1;
        self.meet(new).await;
        let id = self.id(new).await;
        for server in &self.servers {
            eventually("the servers know the new one", DEADLINE, async || {
                let nodes: String = server.command(&["CLUSTER", "NODES"]).await;
                nodes.lines().any(|line| line.contains(&id) && line.contains(" connected"))
                    && !nodes.contains("handshake")
            })
            .await;
        }
        new
    }

    /// Waits until each server that responds serves all slots, and each replica is linked.
    pub async fn is_whole(&self) {
        for server in &self.servers {
            eventually("the cluster serves all slots", FAILOVER, async || {
                let Ok(info) = server.try_command::<String>(&["CLUSTER", "INFO"]).await else { return false };
                let replication = server.info("replication").await;
                info.contains("cluster_state:ok")
                    && info.contains("cluster_slots_ok:16384")
                    && (replication.contains("role:master") || replication.contains("master_link_status:up"))
            })
            .await;
        }
    }

    /// The id of a server in the cluster.
    pub async fn id(&self, server: usize) -> String {
        self.servers[server].command(&["CLUSTER", "MYID"]).await
    }

    /// The URLs of the first three servers, as in `redis.cluster.nodes`.
    pub fn urls(&self) -> String {
        let url = |at: usize| match &self.network {
            ClusterNetwork::Tls(_) => self.servers[at].tls_url().0,
            ClusterNetwork::Proxied => self.proxies[at].url(""),
            _ => self.servers[at].url(),
        };
        let urls: Vec<_> = (0..PRIMARIES).map(url).collect();
        urls.join(",")
    }

    /// The slot of a key.
    pub async fn slot(&self, key: &str) -> u16 {
        for server in &self.servers {
            if let Ok(slot) = server.try_command(&["CLUSTER", "KEYSLOT", key]).await {
                return slot;
            }
        }
        panic!("no server of the cluster responds");
    }

    /// The server that owns a slot, by its own word. Waits until one does.
    pub async fn owner(&self, slot: u16) -> usize {
        eventually_some("a primary owns the slot", FAILOVER, async || {
            for (at, server) in self.servers.iter().enumerate() {
                if server.is_responsive().await && owns(server, slot).await {
                    return Some(at);
                }
            }
            None
        })
        .await
    }

    /// Begins to move slots: keys that do not exist at the source are at the target from now on.
    pub async fn begin_move(&self, slots: &[u16], from: usize, to: usize) {
        let (source, target) = (self.id(from).await, self.id(to).await);
        self.each(to, slots, |slot| set_slot(slot, "IMPORTING", &source)).await;
        self.each(from, slots, |slot| set_slot(slot, "MIGRATING", &target)).await;
    }

    /// Moves the keys of slots.
    pub async fn move_keys(&self, slots: &[u16], from: usize, to: usize) {
        let listed = self
            .each(from, slots, |slot| {
                let mut keys = redis::cmd("CLUSTER");
                keys.arg("GETKEYSINSLOT").arg(slot).arg(1_000);
                keys
            })
            .await;
        let port = self.servers[to].port();
        for keys in listed {
            let keys: Vec<String> = redis::from_redis_value(keys).expect("a list of keys");
            if keys.is_empty() {
                continue;
            }
            let mut migrate = redis::cmd("MIGRATE");
            migrate.arg(self.servers[to].address().ip().to_string()).arg(port).arg("").arg(0).arg(20_000);
            migrate.arg("AUTH2").arg("harness").arg("harness").arg("KEYS").arg(keys);
            let mut connection = self.servers[from].connection().await.expect("a connection");
            let _: Value = migrate.query_async(&mut connection).await.expect("move keys");
        }
    }

    /// Ends the move of slots, at the target first, as `redis-cli` does.
    pub async fn end_move(&self, slots: &[u16], from: usize, to: usize) {
        // A key that came meanwhile.
        self.move_keys(slots, from, to).await;
        let target = self.id(to).await;
        self.each(to, slots, |slot| set_slot(slot, "NODE", &target)).await;
        // A primary without slots becomes a replica, and rejects the command.
        let _ = self.try_each(from, slots, |slot| set_slot(slot, "NODE", &target)).await;
        for (at, _) in self.servers.iter().enumerate().filter(|(at, _)| ![from, to].contains(at)) {
            // A replica learns of it from its primary.
            let primary = self.servers[at].info("replication").await.contains("role:master");
            if primary {
                let _ = self.try_each(at, slots, |slot| set_slot(slot, "NODE", &target)).await;
            }
        }
    }

    /// Moves slots with their keys.
    pub async fn move_slots(&self, slots: &[u16], from: usize, to: usize) {
        for chunk in slots.chunks(50) {
            self.begin_move(chunk, from, to).await;
            self.move_keys(chunk, from, to).await;
            self.end_move(chunk, from, to).await;
        }
    }

    /// Sends a command for each slot to a server, and returns the replies.
    async fn each(&self, server: usize, slots: &[u16], command: impl Fn(u16) -> Cmd) -> Vec<Value> {
        self.try_each(server, slots, command).await.expect("commands of a move")
    }

    async fn try_each(
        &self,
        server: usize,
        slots: &[u16],
        command: impl Fn(u16) -> Cmd,
    ) -> RedisResult<Vec<Value>> {
        let mut pipeline = Pipeline::with_capacity(slots.len());
        for &slot in slots {
            pipeline.add_command(command(slot));
        }
        pipeline.query_async(&mut self.servers[server].connection().await?).await
    }

    /// Has a replica take over from its primary: `""`, `"FORCE"` or `"TAKEOVER"`. Waits until it
    /// has.
    pub async fn fail_over(&self, replica: usize, way: &str) {
        let words: Vec<_> =
            ["CLUSTER", "FAILOVER", way].into_iter().filter(|word| !word.is_empty()).collect();
        eventually("the replica takes over", FAILOVER, async || {
            // A server that is busy with another failover ignores the command.
            let _ = self.servers[replica].try_command::<String>(&words).await;
            let until = tokio::time::Instant::now() + Duration::from_secs(5);
            while tokio::time::Instant::now() < until {
                if self.servers[replica].info("replication").await.contains("role:master") {
                    return true;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            false
        })
        .await;
    }

    /// Waits until a server is a primary with slots.
    pub async fn is_primary(&self, server: usize) {
        eventually("the server is a primary", FAILOVER, async || {
            let info = self.servers[server].info("replication").await;
            let state: String = self.servers[server].command(&["CLUSTER", "INFO"]).await;
            info.contains("role:master") && state.contains("cluster_state:ok")
        })
        .await;
    }
}

async fn owns(server: &RedisServer, slot: u16) -> bool {
    let Ok(nodes) = server.try_command::<String>(&["CLUSTER", "NODES"]).await else { return false };
    let Some(myself) = nodes.lines().find(|line| line.contains("myself,master")) else { return false };
    myself.split(' ').skip(8).filter(|field| !field.starts_with('[')).any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let bounds = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
        bounds.is_some_and(|(first, last)| (first..=last).contains(&slot))
    })
}

fn set_slot(slot: u16, what: &str, id: &str) -> Cmd {
    let mut set = redis::cmd("CLUSTER");
    set.arg("SETSLOT").arg(slot).arg(what).arg(id);
    set
}
