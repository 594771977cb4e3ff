//! Budgets: how much memory and how many writes things may take. They are on counts and sizes, not
//! on times, so they hold on any machine.

#![expect(clippy::unwrap_used, reason = "a failed step ends the test, with a backtrace")]

mod allocations;
mod body;
mod hyper;
mod idle;
mod process;
mod rings;
mod writes;

use std::alloc::System;

use parking_lot::Mutex;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tidings_testkit as support;

/// The tests run one after the other: they count what the whole process does.
static ALONE: Mutex<()> = Mutex::new(());

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How often memory is taken while something is done, by the whole process.
fn taken(work: impl FnOnce()) -> usize {
    let region = Region::new(ALLOCATOR);
    work();
    let change = region.change();
    change.allocations + change.reallocations
}

/// The least of some rounds. What others in the process take, such as the one that starts the
/// tests, only ever adds to it.
fn least(round: impl FnMut() -> usize) -> usize {
    std::iter::repeat_with(round).take(5).min().unwrap_or_default()
}
