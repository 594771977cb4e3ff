//! The loss ledger: the proof that no event is lost without a reset.
//!
//! Publishers number their events and record the acknowledgements. Clients record their events and
//! resets. A scenario breaks something meanwhile. At the end [`verdict`] compares the two. A line
//! of sums for each scenario goes to stderr past the test harness, so that it shows for passing
//! tests too.
//!
//! | part | what it is |
//! | --- | --- |
//! | [`records`] | the records |
//! | [`facts`] | the knowledge of publishers, and the claims of a reset about it |
//! | [`verdict`] | the judgement, pure |
//! | [`publisher`] | publishes numbered events in every way there is |
//! | [`client`] | an EventSource that goes to another broker each time it reconnects |
//! | [`setup`] | a Redis server, brokers, publishers and listeners |
//! | [`server`] | the server of a setup on either bus |
//! | [`scenarios`] | the faults |

#![expect(clippy::expect_used, reason = "a failed step ends the test, with a backtrace")]
#![allow(unreachable_pub, reason = "`pub` in a test binary says what a module offers to the tests")]

mod client;
mod facts;
mod publisher;
mod records;
mod scenarios;
mod server;
mod setup;
#[path = "../suite/support/mod.rs"]
#[allow(unused_macros, reason = "the harness offers more than this binary needs")]
mod support;
mod verdict;
mod verdict_live_tests;
mod verdict_tests;
