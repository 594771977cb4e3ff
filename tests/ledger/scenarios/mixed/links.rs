//! The links between two of the brokers and the server are as networks are. The first broker's
//! works.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tidings_testkit::ledger::{Setting, Setup, Way, tell};

use super::{WITHOUT_HTTP, setting, setting_with_residents};
use crate::support::chaos::{ChaosProxy, Toward, Transfer};
use crate::support::{Broker, BrokerOptions, DEADLINE, RedisOptions, RedisServer, eventually};

/// Longer than brokers here take to find that a link is dead.
const NOTICED: Duration = Duration::from_millis(2_500);
/// Shorter than that.
const UNNOTICED: Duration = Duration::from_millis(400);

/// A server, a proxy in front of it for each broker but the first, and a setup.
pub(super) async fn open(name: &str, mut setting: Setting) -> (RedisServer, Vec<ChaosProxy>, Setup) {
    let options = RedisOptions { append_only: setting.append_only, ..RedisOptions::default() };
    let redis = RedisServer::start_with(options).await;
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, redis.port()));
    let mut proxies = Vec::new();
    let mut options = vec![BrokerOptions::redis(&redis)];
    for _ in 1..setting.nodes {
        let proxy = ChaosProxy::start(server).await;
        options.push(BrokerOptions::embedded().set("redis.url", format!("redis://{}", proxy.address())));
        proxies.push(proxy);
    }
    // So that a dead link is found soon.
    let quick = [
        ("redis.ping_seconds", "0.5"),
        ("redis.ping_timeout_seconds", "1"),
        ("redis.command_timeout_seconds", "2"),
    ];
    setting.brokers.extend(quick.map(|(key, value)| (key, value.to_owned())));
    let setup = Setup::open_with(name, setting, options, &redis.url()).await;
    (redis, proxies, setup)
}

pub(super) async fn all_ready(brokers: &[Broker], within: Duration) {
    for broker in brokers {
        eventually("every broker is ready", within, async || broker.is_ready().await).await;
    }
}

/// The open connections take everything and pass on nothing; new ones work.
#[tokio::test]
async fn a_link_is_half_open() {
    let (_redis, proxies, setup) =
        open("mixed, half-open links", setting_with_residents(&WITHOUT_HTTP)).await;
    for round in 0..3 {
        setup.more(8).await;
        let proxy = &proxies[round % 2];
        proxy.set_open(Toward::Server, Transfer::Swallow);
        proxy.set_open(Toward::Client, Transfer::Swallow);
        tokio::time::sleep(NOTICED).await;
        proxy.heal();
        all_ready(&setup.brokers, DEADLINE).await;
    }
    setup.more(8).await;
    setup.close().await;
}

#[tokio::test]
async fn a_link_works_in_one_direction_only() {
    let (_redis, proxies, setup) = open("mixed, one-way links", setting_with_residents(&WITHOUT_HTTP)).await;
    for (round, toward) in [Toward::Client, Toward::Server, Toward::Client].into_iter().enumerate() {
        setup.more(8).await;
        let proxy = &proxies[round % 2];
        proxy.set(toward, Transfer::Swallow);
        tokio::time::sleep(NOTICED).await;
        proxy.heal();
        all_ready(&setup.brokers, DEADLINE).await;
    }
    setup.more(8).await;
    setup.close().await;
}

#[tokio::test]
async fn a_link_is_slow() {
    let (_redis, proxies, setup) = open("mixed, slow links", setting_with_residents(&WITHOUT_HTTP)).await;
    let delays = [0.1, 0.3, 0.7, 1.0, 3.0];
    for (round, seconds) in delays.into_iter().enumerate() {
        let proxy = &proxies[round % 2];
        let toward = if round % 3 == 2 { Toward::Server } else { Toward::Client };
        proxy.set(toward, Transfer::Delay(Duration::from_secs_f64(seconds)));
        tokio::join!(setup.more(15), tokio::time::sleep(Duration::from_secs_f64(seconds)));
        proxy.heal();
    }
    all_ready(&setup.brokers, DEADLINE).await;
    setup.more(8).await;
    setup.close().await;
}

/// What the server sent last does not arrive, and the connection ends.
#[tokio::test]
async fn a_link_ends_and_its_tail_is_lost() {
    let (_redis, proxies, setup) = open("mixed, lost tails", setting_with_residents(&Way::ALL)).await;
    for round in 0..6 {
        setup.more(4).await;
        proxies[round % 2].close_losing_tail(UNNOTICED).await;
        all_ready(&setup.brokers, DEADLINE).await;
    }
    setup.more(8).await;
    setup.close().await;
}

#[tokio::test]
async fn links_are_killed_by_the_server() {
    let (redis, setup) = Setup::open("mixed, CLIENT KILL", setting(&Way::ALL)).await;
    for round in 0..10 {
        setup.more(4).await;
        if round % 3 == 2 {
            tell(&redis, &["CLIENT", "KILL", "TYPE", "normal"]).await;
        } else {
            redis.kill_subscribers().await;
        }
        all_ready(&setup.brokers, DEADLINE).await;
    }
    setup.more(8).await;
    setup.close().await;
}
