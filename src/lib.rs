//! Tidings, a standalone Server-Sent Events broker. `docs/architecture.md` describes its parts.
//!
//! Events flow one way: [`tidings_bus`] (Redis) or [`tidings_embedded`], then [`tidings_hub`]
//! (workspaces, rings, cursors; no I/O), then [`tidings_delivery`] (sockets). This package builds the
//! node from them.
//!
//! Read first: [`server::Server`], [`config::Config`], [`http::PublicApi`].

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
