//! The parts of `tidings bench` that need no network: what is published and how it is read back,
//! the account of every client, what the figures come to, and how they are shown.
//!
//! | module | is |
//! | --- | --- |
//! | [`command`] | the command line, fit to be shown |
//! | [`tag`] | what each event carries |
//! | [`answer`], [`sse`] | reading a stream as it comes |
//! | [`ledger`] | who received what |
//! | [`latency`] | how long it took |
//! | [`host`] | what the server uses, when it runs on this machine |
//! | [`outcome`] | all figures of a run, and its verdict |
//! | [`table`], [`report`] | showing them |

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
