//! The logs of the embedded bus over the end of the process: the events that remain, and the resets
//! without them.

mod crash;
mod disk;
mod restart;

use redis::aio::MultiplexedConnection;
use redis::streams::StreamRangeReply;

use crate::support::directory::Directory;
use crate::support::{Broker, BrokerOptions, DEADLINE};

/// A broker that keeps its logs in this directory.
fn options(directory: &Directory, sync: &str) -> BrokerOptions {
    let path = directory.file("log");
    BrokerOptions::embedded().set("embedded.path", path.display()).set("embedded.sync", sync)
}

async fn connection(broker: &Broker) -> MultiplexedConnection {
    let client = redis::Client::open(format!("redis://{}", broker.embedded())).unwrap();
    // The library's own timeout is half a second, and a busy machine can need that for a large
    // reply.
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(DEADLINE));
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

/// Ids and payloads of a workspace's log, from the oldest on.
async fn log(broker: &Broker, workspace: &str) -> Vec<(String, String)> {
    let mut read = redis::cmd("XRANGE");
    read.arg(format!("workspace:{workspace}")).arg("-").arg("+");
    let entries: StreamRangeReply = read.query_async(&mut connection(broker).await).await.unwrap();
    let entry = |entry: &redis::streams::StreamId| (entry.id.clone(), entry.get::<String>("data").unwrap());
    entries.ids.iter().map(entry).collect()
}

/// An id as numbers, which have an order.
fn place(id: &str) -> (u64, u64) {
    let (milliseconds, sequence) = id.split_once('-').unwrap();
    (milliseconds.parse().unwrap(), sequence.parse().unwrap())
}
