//! Budgets: how much memory things may take. They are on counts and sizes, not on times, so they hold on any machine.

#![expect(clippy::unwrap_used, reason = "a failed step ends the test, with a backtrace")]

mod allocations;
mod idle;

use parking_lot::Mutex;

/// The tests run one after the other: they count what the whole process does.
static ALONE: Mutex<()> = Mutex::new(());
