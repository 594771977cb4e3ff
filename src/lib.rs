//! Tidings, a standalone Server-Sent Events broker. `docs/architecture.md` is the map of this house.
//!
//! Events flow one way: [`bus`] (Redis or embedded) → [`hub`] (workspaces, rings, cursors; no I/O) → [`delivery`]
//! (what a connection gets). [`http`], [`config`] and [`cli`] stand around it.

pub mod auth;
pub mod bench;
pub mod bus;
pub mod cli;
pub mod config;
pub mod delivery;
pub mod event;
pub mod feed;
pub mod files;
pub mod fingerprint;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod http;
pub mod hub;
pub mod limits;
pub mod live_marks;
pub mod log_reader;
pub mod memory;
pub mod metrics;
pub mod node;
pub mod rate;
pub mod server;
pub mod telemetry;
pub mod workspace;
