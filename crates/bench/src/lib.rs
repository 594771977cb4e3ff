//! The parts of `tidings bench` that need no network. They make and read payloads, keep the account
//! of every client, and compute and show the figures.
//!
//! | module | content |
//! | --- | --- |
//! | [`command`] | the command line without its secrets |
//! | [`tag`] | the tag in each event |
//! | [`answer`], [`sse`] | reading a stream as it arrives |
//! | [`ledger`] | the events that each client received |
//! | [`latency`] | latencies |
//! | [`host`] | the resources of a server on this machine |
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
