//! Durable events: published in every way, replayed on any node, and filled in where the channel
//! lost them.

mod crowd;
mod position;
mod publishing;
mod resuming;

use crate::support::{Broker, BrokerOptions, RedisServer, SseClient};

/// A second broker on the same Redis.
async fn broker_on(server: &RedisServer) -> Broker {
    let broker = Broker::start(BrokerOptions::redis(server)).await;
    broker.ready().await;
    broker
}

/// Reads application events until as many have come.
async fn read(client: &mut SseClient, count: usize) -> Vec<String> {
    let mut got = Vec::new();
    for _ in 0..count {
        got.push(client.application_event().await.data);
    }
    got
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}
