//! The parts of `tidings bench` that need no network.
//!
//! | part | contents |
//! | --- | --- |
//! | [`command`] | the command line in a form that may be printed |
//! | [`tag`] | the data that each event carries |
//! | [`answer`], [`sse`] | a response head and a stream, read as the bytes arrive |
//! | [`ledger`] | the events that each client received |
//! | [`latency`] | histograms of delays |
//! | [`host`] | CPU and memory of the server, if it runs on this machine |
//! | [`outcome`] | all figures of a run, and its verdict |
//! | [`table`], [`report`] | the output |
//!
//! Read first: [`ledger::Ledger`], [`outcome::Outcome`].
//!
//! This crate must never know the broker's own types: it measures a server from outside.

pub mod answer;
pub mod command;
pub mod host;
pub mod latency;
pub mod ledger;
pub mod outcome;
pub mod report;
pub mod sse;
pub mod table;
pub mod tag;
