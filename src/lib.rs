//! Tidings, a standalone Server-Sent Events broker. `docs/architecture.md` is the map of the code.
//!
//! Events flow one way: [`bus`] (Redis or embedded) → [`hub`] (workspaces, rings, cursors; no I/O)
//! → [`delivery`] (streams to clients). [`http`], [`config`] and [`cli`] surround them.

pub mod admin;
pub mod bus_handler;
pub mod cli;
pub mod config;
pub mod files;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod http;
pub mod live_marks;
pub mod log_reader;
pub mod memory;
pub mod server;
pub mod telemetry;
