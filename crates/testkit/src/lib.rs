//! The test harness: programs that end with their test, and clients without code of the broker.
//!
//! | part | contents |
//! | --- | --- |
//! | [`broker`], [`commands`] | the `tidings` program: brokers, and commands with their output |
//! | [`redis_server`] | servers of Redis |
//! | [`sentinel`], [`redis_cluster`] | a primary under Sentinels, a cluster |
//! | [`test_cluster`] | a broker on either bus |
//! | [`sse`], [`http`], [`raw`], [`http2_frames`] | clients: streams, requests, bytes, frames |
//! | [`browser`], [`app`], [`token`] | a browser, the app behind `auth.forward.url`, tokens |
//! | [`proxies`], [`nginx_host`], [`names`] | proxies with the files in `deploy/`, a name server |
//! | [`chaos`], [`tcp_proxy`] | proxies that delay, lose, close or flood connections |
//! | [`programs`], [`executable`] | child processes, and the path of the program under test |
//! | [`directory`], [`ports`], [`tls`] | places that no other test has, and certificates |
//! | [`wait`] | waiting for conditions |
//! | [`ledger`] | the loss ledger: publishers, clients, and a verdict on what they recorded |
//! | [`shard_harness`] | a hub and one shard of the engine, stepped by the test |
//!
//! Read first: [`Broker`] and [`BrokerOptions`], [`SseClient`], [`RedisServer`], [`TestCluster`],
//! [`eventually`].
//!
//! This crate must never know the package `tidings`: it starts the program, and talks to it over
//! sockets. Its clients are written from the standards, so that they share no fault with the
//! broker. Only [`shard_harness`] uses other crates of the workspace.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failed step ends the test, with a backtrace")]
#![expect(missing_docs, reason = "many fields say by their names what they hold")]

pub mod app;
pub mod broker;
pub mod browser;
pub mod chaos;
pub mod commands;
pub mod directory;
pub mod executable;
pub mod http;
pub mod http2_frames;
pub mod ledger;
pub mod names;
pub mod namespace;
pub mod nginx_host;
pub mod ports;
pub mod programs;
pub mod proxies;
pub mod raw;
pub mod redis_cluster;
pub mod redis_server;
pub mod sentinel;
pub mod shard_harness;
mod slot_claims;
pub mod sse;
pub mod tcp_proxy;
pub mod test_cluster;
pub mod tls;
pub mod token;
pub mod wait;

pub use broker::{Broker, BrokerOptions};
pub use namespace::Namespace;
pub use redis_cluster::{ClusterNetwork, RedisCluster, SplitEpochs};
pub use redis_server::{RedisOptions, RedisServer};
pub use sse::{Connect, End, Event, EventSource, SseClient};
pub use tcp_proxy::{Flood, TcpProxy};
pub use test_cluster::{Bus, TestCluster};
pub use wait::{DEADLINE, eventually, eventually_some, median, some_round_within};
