//! Tidings, a standalone Server-Sent Events broker. `docs/architecture.md` describes the crates.
//!
//! Events flow one way: `tidings_bus` and `tidings_embedded` → `tidings_hub` (workspaces, rings and
//! cursors; no I/O) → `tidings_delivery` (streams to clients). [`http`], [`config`] and [`cli`] of
//! this crate surround them.

pub mod admin;
pub mod build;
pub mod bus_handler;
pub mod cli;
pub mod config;
pub mod files;
pub mod http;
pub mod live_marks;
pub mod log_reader;
pub mod memory;
pub mod nodes;
pub mod server;
pub mod service_manager;
pub mod telemetry;
pub mod warnings;
