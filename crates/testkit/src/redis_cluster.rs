//! A Redis Cluster: three primaries, each with a replica.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Pipeline, RedisResult, Value};

use super::namespace::Namespace;
use super::ports::Port;
use super::redis_server::{RedisOptions, RedisServer};
use super::slot_claims::{SlotClaims, owner_of_most};
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

/// The epochs of two servers that both call themselves the primary of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitEpochs {
    /// Both have one, unless one of them learns too early of that of the other.
    One,
    /// The former replica has the higher one.
    Two,
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
            cluster.meet(at, 0).await;
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
            // For the ledger, which reads what servers had before they lost it.
            "aof-disable-auto-gc yes".to_owned(),
            "rdbcompression no".to_owned(),
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

    /// Has a server know another one, and all others by it.
    pub async fn meet(&self, at: usize, other: usize) {
        let known = &self.servers[other];
        let port = match &self.network {
            ClusterNetwork::Tls(_) => known.tls_port(),
            _ => known.port(),
        };
        let (host, port) = (known.address().ip().to_string(), port.to_string());
        let bus = self.bus_ports[other].number().to_string();
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
        self.meet(new, 0).await;
        let id = self.id(new).await;
        for server in &self.servers {
            eventually("the servers know the new one", DEADLINE, async || {
                let nodes: String = server.command(&["CLUSTER", "NODES"]).await;
                nodes.lines().any(|line| line.contains(&id) && line.contains(" connected"))
                    && !nodes.contains("handshake")
            })
            .await;
        }
        // It rejects keys until most primaries have replied to it.
        eventually("the new server serves", FAILOVER, async || {
            self.servers[new].command::<String>(&["CLUSTER", "INFO"]).await.contains("cluster_state:ok")
        })
        .await;
        new
    }

    /// Waits until each server serves all slots, each replica is linked, and all servers name the
    /// same owners with the same epochs.
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
        eventually("the servers agree on the owners", FAILOVER, async || {
            let mut agreed = None;
            for server in &self.servers {
                let Ok(nodes) = server.try_command::<String>(&["CLUSTER", "NODES"]).await else {
                    return false;
                };
                let claims = SlotClaims::read(&nodes);
                if *agreed.get_or_insert_with(|| claims.clone()) != claims {
                    return false;
                }
            }
            true
        })
        .await;
    }

    /// The epoch of a primary's slots, by its own word; `None` if it has no slots.
    pub async fn own_epoch(&self, server: usize) -> Option<u64> {
        let id = self.id(server).await;
        let nodes: String = self.servers[server].command(&["CLUSTER", "NODES"]).await;
        SlotClaims::read(&nodes).epoch(&id)
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

    /// The server that owns a slot, by its own word and that of most servers that respond. Waits
    /// until one does.
    ///
    /// A second failover within seconds can make a server call itself the owner, while no other
    /// server names it.
    pub async fn owner(&self, slot: u16) -> usize {
        eventually_some("a primary owns the slot", FAILOVER, async || {
            let (mut claims, mut ids) = (BTreeMap::new(), Vec::new());
            for (at, server) in self.servers.iter().enumerate() {
                if !server.is_responsive().await {
                    continue;
                }
                let id = server.try_command::<String>(&["CLUSTER", "MYID"]).await.ok()?;
                let nodes = server.try_command::<String>(&["CLUSTER", "NODES"]).await.ok()?;
                claims.insert(id.clone(), SlotClaims::read(&nodes));
                ids.push((id, at));
            }
            let owner = owner_of_most(&claims, slot)?;
            ids.iter().find(|(id, _)| id == owner).map(|(_, at)| *at)
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

    /// Sends a command for each slot to a server, and returns the replies. Valkey replicates each
    /// of these commands, and rejects them while its replica is behind; all can be repeated.
    async fn each(&self, server: usize, slots: &[u16], command: impl Fn(u16) -> Cmd) -> Vec<Value> {
        eventually_some("the server takes the commands of a move", DEADLINE, async || {
            match self.try_each(server, slots, &command).await {
                Err(error) if error.to_string().contains("NOREPLICAS") => None,
                replies => Some(replies.expect("commands of a move")),
            }
        })
        .await
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

    /// Has the replica of a primary take over, while the two have forgotten each other for a
    /// minute. Both call themselves the primary of the same slots, with one epoch or with two. All
    /// clients reach both. [`Self::meet`] ends it.
    pub async fn split(&self, primary: usize, replica: usize, epochs: SplitEpochs) {
        let (id, replica_id) = (self.id(primary).await, self.id(replica).await);
        let forget = |id: &str| {
            let mut forget = redis::cmd("CLUSTER");
            forget.arg("FORGET").arg(id);
            forget
        };
        let mut links = Vec::new();
        for at in [primary, replica] {
            links.push(self.servers[at].connection().await.expect("a connection"));
        }
        let mut takeover = redis::pipe();
        takeover.cmd("CLUSTER").arg("FAILOVER").arg("TAKEOVER").ignore();
        takeover.add_command(forget(&id)).ignore();
        forget(&replica_id).query_async::<()>(&mut links[0]).await.expect("forget the replica");
        let [at_primary, at_replica] = &mut links[..] else { unreachable!("two links") };
        // Both raise the epoch before they learn of the other's.
        let (raised, taken) = tokio::join!(
            async {
                match epochs {
                    SplitEpochs::One => redis::cmd("CLUSTER").arg("BUMPEPOCH").query_async(at_primary).await,
                    SplitEpochs::Two => Ok(()),
                }
            },
            takeover.query_async::<()>(at_replica)
        );
        raised.and(taken).expect("two primaries");
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

fn set_slot(slot: u16, what: &str, id: &str) -> Cmd {
    let mut set = redis::cmd("CLUSTER");
    set.arg("SETSLOT").arg(slot).arg(what).arg(id);
    set
}
