//! The loss ledger: the proof that no event is lost without a reset.
//!
//! [`scenarios`] are the faults, each a test. [`tidings_testkit::ledger`] has the publishers, the
//! clients and the verdict. [`server`] is the server of a setup on either bus.

#![expect(clippy::expect_used, reason = "a failed step ends the test, with a backtrace")]

mod scenarios;
mod server;

use tidings_testkit as support;
