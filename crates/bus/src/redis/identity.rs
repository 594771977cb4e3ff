//! The identity of a server: its kind, and which server it is.

use std::collections::HashMap;

use redis::aio::ConnectionLike;
use redis::{ErrorKind, RedisResult, Value};

/// A kind of server that cannot be the bus of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", self.kind(), self.remedy())]
pub enum Unfit {
    /// A replica, which rejects writes.
    Replica,
    /// A node of a Redis Cluster, which has a part of the keys.
    ClusterNode,
    /// A server outside of a Redis Cluster.
    NoClusterNode,
    /// A Sentinel, which watches servers and has no data.
    Sentinel,
    /// A server before Redis 6.2, or one without RESP3.
    Old,
}

/// The oldest version with which a node works.
const OLDEST: (u32, u32) = (6, 2);

impl Unfit {
    /// Returns the kind of the server, as a clause.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Replica => "the server is a replica, which rejects events",
            Self::ClusterNode => "the server is a node of a Redis Cluster",
            Self::NoClusterNode => "the server is no node of a Redis Cluster",
            Self::Sentinel => "the server is a Sentinel",
            Self::Old => "the server is older than Redis 6.2",
        }
    }

    /// Returns the fix.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Replica => "name its primary in redis.url, or its Sentinels in redis.sentinel.nodes",
            Self::ClusterNode => "name nodes of the cluster in redis.cluster.nodes, in place of redis.url",
            Self::NoClusterNode => "name it in redis.url, or name nodes of a cluster in redis.cluster.nodes",
            Self::Old => "use Redis 6.2 or later, or Valkey",
            Self::Sentinel => {
                "name it in redis.sentinel.nodes, and the primary that it watches in redis.sentinel.primary"
            }
        }
    }
}

/// The identity of a server; `None` for each part that the server does not report or that the user
/// may not read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ServerIdentity {
    /// The name and version, such as `redis 7.0.15`.
    pub(super) server: Option<String>,
    mode: Option<String>,
    role: Option<String>,
    /// A server draws it at each start.
    run_id: Option<String>,
    /// A primary and its replicas share it; a promotion changes it.
    replication_id: Option<String>,
}

impl ServerIdentity {
    /// Reads the whole identity. The ids require the right to `INFO`.
    ///
    /// Only an error of the connection is an error. A part for which the server replies with an
    /// error is `None`.
    pub(super) async fn ask(connection: &mut (impl ConnectionLike + Send)) -> RedisResult<Self> {
        let mut identity = Self::ask_role(connection).await?;
        if let Some(server) = info(connection, "server").await? {
            identity.run_id = field(&server, "run_id");
            let replication = info(connection, "replication").await?.unwrap_or_default();
            identity.replication_id = field(&replication, "master_replid");
        }
        Ok(identity)
    }

    /// Reads the parts that can change during a connection: mode and role.
    ///
    /// Every user may run `HELLO`. The command names the version, because Redis 6.0 rejects it
    /// without arguments.
    pub(super) async fn ask_role(connection: &mut (impl ConnectionLike + Send)) -> RedisResult<Self> {
        let mut hello = redis::cmd("HELLO");
        hello.arg(3);
        let reply = optional::<Value>(hello.query_async(connection).await)?;
        Ok(reply.map(Self::of_hello).unwrap_or_default())
    }

    /// Returns the parts that are in a reply to `HELLO`.
    pub(super) fn of_hello(reply: Value) -> Self {
        let reply: HashMap<String, Value> = redis::from_redis_value(reply).unwrap_or_default();
        let text = |name| reply.get(name).and_then(|value| redis::from_redis_value_ref::<String>(value).ok());
        let server =
            text("server").zip(text("version")).map(|(server, version)| format!("{server} {version}"));
        Self { server, mode: text("mode"), role: text("role"), ..Self::default() }
    }

    /// Returns the reason for which the server cannot be the bus. A server without this data counts
    /// as suitable.
    pub(super) fn unfit(&self) -> Option<Unfit> {
        if self.version().is_some_and(|version| version < OLDEST) {
            return Some(Unfit::Old);
        }
        match (self.mode.as_deref(), self.role.as_deref()) {
            (Some("sentinel"), _) => Some(Unfit::Sentinel),
            (Some("cluster"), _) => Some(Unfit::ClusterNode),
            (_, Some("slave" | "replica")) => Some(Unfit::Replica),
            _ => None,
        }
    }

    /// Returns the reason for which the server cannot be a node of the cluster that is the bus. A
    /// server without this data counts as suitable. A replica redirects commands.
    pub(super) fn unfit_for_cluster(&self) -> Option<Unfit> {
        match (self.unfit(), self.mode.as_deref()) {
            (Some(Unfit::Old), _) => Some(Unfit::Old),
            (_, Some("sentinel")) => Some(Unfit::Sentinel),
            (_, Some("cluster") | None) => None,
            (_, Some(_)) => Some(Unfit::NoClusterNode),
        }
    }

    /// Returns whether the server is a replica. A replica of a cluster accepts sharded
    /// subscriptions to the slots of its primary.
    pub(super) fn is_replica(&self) -> bool {
        matches!(self.role.as_deref(), Some("slave" | "replica"))
    }

    /// Returns the first two numbers of the version. Compatible servers report the version of
    /// Redis, or one of their own that is never older.
    fn version(&self) -> Option<(u32, u32)> {
        let (_, version) = self.server.as_ref()?.rsplit_once(' ')?;
        let mut numbers = version.split('.').map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }

    /// Returns whether two connections are known to lead to two servers.
    pub(super) fn differs_from(&self, other: &Self) -> bool {
        let differ = |one: &Option<String>, other: &Option<String>| {
            one.as_ref().zip(other.as_ref()).map(|(one, other)| one != other)
        };
        differ(&self.run_id, &other.run_id)
            .or_else(|| differ(&self.replication_id, &other.replication_id))
            .unwrap_or(false)
    }
}

async fn info(connection: &mut (impl ConnectionLike + Send), section: &str) -> RedisResult<Option<String>> {
    let mut info = redis::cmd("INFO");
    info.arg(section);
    optional(info.query_async(connection).await)
}

/// Returns the value of a line `name:value` of `INFO`.
fn field(info: &str, name: &str) -> Option<String> {
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// Returns the reply; `None` for an error of the server or a reply of another type.
fn optional<T>(outcome: RedisResult<T>) -> RedisResult<Option<T>> {
    match outcome {
        Ok(reply) => Ok(Some(reply)),
        Err(error) => match error.kind() {
            ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::UnexpectedReturnType => Ok(None),
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests;
