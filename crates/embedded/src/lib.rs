//! The bus that runs in the node: for a first run, for tests, and for a single sidecar.
//!
//! | part | contents |
//! | --- | --- |
//! | `bus` | [`EmbeddedBus`], the implementation of `tidings_bus::Bus` |
//! | `pubsub` | channels, patterns and their subscribers under one lock; no I/O |
//! | `log` | the logs of workspaces in memory, and the thread that writes them |
//! | `disk` | the logs in a file, and when they are synced |
//! | `one_time_store` | values that are taken once, such as tickets |
//! | `shared_sets` | sets whose members expire: announcements of nodes, and replies |
//! | `listener` | sockets of Redis clients, their password, their memory |
//! | `protocol` | the Redis protocol: requests and replies |
//! | `commands` | the table of commands, and the session of one client |
//!
//! Read first: [`EmbeddedBus`], `PubSub`, `LogWriter`, `Session`.
//!
//! This crate must never know the hub, delivery, authentication or HTTP: it delivers into a
//! `tidings_event::BusHandler`, as Redis does.
//!
//! A command that exists here and in Redis 7.0 returns the same values and codes of errors. The
//! texts of errors differ, and so do four things. `~` in `XADD` is exact. A log without a bound or
//! an expiry gets both. A pattern has `*` alone. The script counts the events of a millisecond from
//! 0: one process never has two primaries.
//!
//! A plain `PUBLISH` is not logged, as on Redis. A durable event is published in one of the ways
//! that work on both buses.

mod ban_list;
mod bus;
mod commands;
mod disk;
mod listener;
mod log;
mod one_time_store;
mod protocol;
mod pubsub;
pub mod settings;
mod shared_sets;

pub use bus::{ChannelNames, EmbeddedBus};
pub use disk::database::{OpenError, examine_log};
pub use listener::accept::{BindError, adopt, bind};
pub use protocol::request;
