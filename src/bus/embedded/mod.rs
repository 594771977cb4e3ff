//! The bus that runs in the process: for a first run, for tests, and for a single sidecar.
//!
//! | part | what it holds |
//! | --- | --- |
//! | `exchange` | who gets what: channels, patterns and the node's own feed, under one lock; no I/O |
//! | `log` | ids of durable events |
//! | `glob` | the patterns of `PSUBSCRIBE` |
//! | `outbox` | what waits to be written to one Redis client, bounded in bytes |
//! | `subscriber` | the subscriptions of one Redis client, which end with it |
//! | `request`, `reply` | the Redis protocol, inwards and outwards |
//! | `commands`, `session` | what each command does, and what a client's connection remembers |
//! | `connection`, `listener` | sockets and tasks |
//!
//! Replies are those of Redis 7.0, byte for byte, wherever a command exists in both.

mod bus;
mod commands;
mod connection;
mod exchange;
mod glob;
mod listener;
mod log;
mod outbox;
mod reply;
mod request;
mod session;
mod subscriber;

pub use bus::EmbeddedBus;
pub use listener::{BindError, bind};
