//! A broker on either bus: what both must do alike is tested on both.

use redis::aio::MultiplexedConnection;

use super::broker::{Broker, BrokerOptions};
use super::redis_server::{RedisServer, connect};
use super::{DEADLINE, eventually};

/// Where a broker's events come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    Embedded,
    Redis,
}

/// A broker and its bus.
#[derive(Debug)]
pub struct TestCluster {
    // Ends before its server does, so that its log is not about that.
    pub broker: Broker,
    server: Option<RedisServer>,
}

impl TestCluster {
    /// Starts a broker, and a Redis server where the bus wants one.
    pub async fn start(bus: Bus) -> Self {
        Self::start_with(bus, &[]).await
    }

    /// Starts a broker with keys of the configuration, such as `("ring.events", "10")`.
    pub async fn start_with(bus: Bus, settings: &[(&str, &str)]) -> Self {
        let server = match bus {
            Bus::Embedded => None,
            Bus::Redis => Some(RedisServer::start().await),
        };
        let options = server.as_ref().map_or_else(BrokerOptions::embedded, BrokerOptions::redis);
        let options = settings.iter().fold(options, |options, (key, value)| options.set(key, value));
        Self { broker: Broker::start(options).await, server }
    }

    /// The Redis server. Fails the test on the embedded bus, which has none.
    pub fn redis(&self) -> &RedisServer {
        self.server.as_ref().expect("a test on Redis")
    }

    /// A connection as a backend has it.
    pub async fn connection(&self) -> MultiplexedConnection {
        let url = match &self.server {
            Some(server) => server.url(),
            None => format!("redis://{}", self.broker.embedded()),
        };
        let client = redis::Client::open(url).expect("the address of the bus");
        connect(&client).await.expect("a connection to the bus")
    }

    /// Waits until a workspace's mark of live events is beside its log, where all nodes find it.
    pub async fn is_marked(&self, workspace: &str) {
        let key = format!("{{workspace:{workspace}}}/live");
        eventually("the mark of live events", DEADLINE, async || {
            self.redis().command::<u64>(&["EXISTS", &key]).await == 1
        })
        .await;
    }

    /// Waits until a workspace's log has ended by its expiry.
    pub async fn log_ends(&self, workspace: &str) {
        let mut connection = self.connection().await;
        eventually("the log has ended", DEADLINE, async || {
            let mut length = redis::cmd("XLEN");
            length.arg(format!("workspace:{workspace}"));
            length.query_async::<u64>(&mut connection).await.expect("ask for a log") == 0
        })
        .await;
    }

    /// Publishes to a workspace's channel, as a backend does, and returns how many subscribers the
    /// bus sent it to.
    pub async fn publish_live(&self, workspace: &str, payload: impl AsRef<[u8]>) -> u64 {
        publish_live(&mut self.connection().await, workspace, payload).await
    }
}

/// Publishes to a workspace's channel over a connection, which keeps the order of several messages.
pub async fn publish_live(
    connection: &mut MultiplexedConnection,
    workspace: &str,
    payload: impl AsRef<[u8]>,
) -> u64 {
    let mut publish = redis::cmd("PUBLISH");
    publish.arg(format!("workspace:{workspace}")).arg(payload.as_ref());
    publish.query_async(connection).await.expect("publish a message")
}

/// Makes tests of functions that take a [`Bus`], one for each bus.
#[macro_export]
macro_rules! on_both_buses {
    ($($test:ident),+ $(,)?) => {
        mod on_redis {
            $(#[tokio::test] async fn $test() { super::$test($crate::Bus::Redis).await })+
        }
        mod on_the_embedded_bus {
            $(#[tokio::test] async fn $test() { super::$test($crate::Bus::Embedded).await })+
        }
    };
}
pub use on_both_buses;
