//! The bus that runs in the process: for a first run, for tests, and for a single sidecar.
//!
//! | part | what it holds |
//! | --- | --- |
//! | `pubsub` | who gets what: channels, patterns and the node's own feed, under one lock; no I/O |
//! | `log` | the logs of workspaces, in memory; no I/O |
//! | `log_writer` | the thread that works with the logs, and stores what has come together as one |
//! | `disk`, `database` | when logs are written to disk, and in which form |
//! | `glob` | the patterns of `PSUBSCRIBE` |
//! | `budget` | what all Redis clients together take in memory |
//! | `output_buffer` | what waits to be written to one Redis client, bounded in bytes |
//! | `subscriber` | the subscriptions of one Redis client, which end with it |
//! | `request`, `reply` | the Redis protocol, inwards and outwards |
//! | `login`, `unauthenticated` | the password, what clients may do before they have given it, and how many of them there are |
//! | `commands`, `session` | what each command does, and what a client's connection remembers |
//! | `one_time_store` | values that are taken once, such as tickets |
//! | `connection`, `listener` | sockets and tasks |
//!
//! Replies are those of Redis 7.0, byte for byte, wherever a command exists in both. These differ: `~` in `XADD` and `XTRIM`
//! is exact; a log that nobody bounds or lets expire is bounded and expires all the same; and the two fields of `XINFO STREAM`
//! about memory are estimates.
//!
//! A plain `PUBLISH` is not logged, as on Redis: an event that is to be there later is published durably, in one of the ways
//! that do the same on either bus.

mod budget;
mod bus;
mod commands;
mod connection;
mod database;
mod disk;
mod glob;
mod listener;
mod log;
mod log_writer;
mod login;
mod one_time_store;
mod output_buffer;
mod pubsub;
mod reply;
pub mod request;
mod session;
pub mod settings;
mod subscriber;
mod unauthenticated;

pub use bus::{ChannelNames, EmbeddedBus};
pub use database::OpenError;
pub use listener::{BindError, bind};
