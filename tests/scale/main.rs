//! Tests with as many connections as a process may have, against the real program: what holds for
//! ten clients must hold for ten thousand.
//!
//! Each test takes the whole machine, so they run one after the other. What they assert are counts,
//! and ratios of times within one run; no time has a bound that a slow machine would pass. What was
//! measured goes to stderr past the test harness, a line for each test.
//!
//! | part | what it is |
//! | --- | --- |
//! | [`clients`], [`client`] | many clients on one thread, and what one of them has seen |
//! | [`backend`] | publishes numbered events through the embedded bus |
//! | [`following`] | whether each client of a crowd gets each event |
//! | [`figures`], [`patience`] | percentiles and printing; how long to wait |

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failed step ends the test, with a backtrace")]

mod backend;
mod client;
mod clients;
mod console;
mod drain;
mod fairness;
mod figures;
mod following;
mod heartbeats;
mod leaving;
mod patience;
mod replay;
mod storm;

use patience::PATIENCE;
use support::BrokerOptions;
use tidings_testkit as support;
use tokio::sync::Mutex;

/// The tests run one after the other.
static ALONE: Mutex<()> = Mutex::const_new(());

/// The most clients of a test: the broker and the test may each have 20,000 files open.
const CLIENTS_MAX: usize = 18_000;

/// A broker that accepts every client and sends nothing by itself.
fn quiet() -> BrokerOptions {
    BrokerOptions::embedded()
        .set("limits.connections", CLIENTS_MAX + 500)
        .set("sse.heartbeat_seconds", 3600)
        .set("server.header_timeout_seconds", PATIENCE.as_secs())
        .set("server.drain_delay_seconds", 0)
        .set("log.level", "warn")
}
