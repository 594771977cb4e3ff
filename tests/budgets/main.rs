//! Budgets: how much memory things may take. They are on counts and sizes, not on times, so they hold on any machine.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failed step ends the test, with a backtrace")]
#![allow(unreachable_pub, reason = "`pub` in a test binary says what a module offers to the tests")]

mod allocations;
#[path = "../suite/transport/frames.rs"]
#[allow(dead_code, reason = "it offers more than this binary needs")]
mod frames;
mod hyper;
mod idle;
mod process;
#[path = "../suite/support/mod.rs"]
#[allow(unused_macros, reason = "the harness offers more than this binary needs")]
mod support;

use parking_lot::Mutex;

/// The tests run one after the other: they count what the whole process does.
static ALONE: Mutex<()> = Mutex::new(());
