//! The harness of the tests: programs that end with their test, and clients without code of the
//! product.

#![allow(dead_code, unused_imports, reason = "the harness offers more than each test needs")]

pub mod app;
pub mod broker;
pub mod browser;
pub mod chaos;
pub mod commands;
pub mod directory;
pub mod http;
pub mod names;
pub mod nginx_host;
pub mod ports;
pub mod programs;
pub mod proxies;
pub mod raw;
pub mod redis_server;
pub mod sentinel;
pub mod sse;
pub mod tcp_proxy;
pub mod test_cluster;
pub mod tls;
pub mod token;
pub mod wait;

pub use broker::{Broker, BrokerOptions};
pub use redis_server::{RedisOptions, RedisServer};
pub use sse::{Connect, End, Event, EventSource, SseClient};
pub use tcp_proxy::{Flood, TcpProxy};
pub use test_cluster::{Bus, TestCluster};
pub use wait::{DEADLINE, eventually, eventually_some, median, some_round_within};
