//! Waiting for conditions.

use std::time::{Duration, Instant};

/// Long enough for anything that happens at once, on a machine that is busy with other tests. A
/// test that passes never waits this long.
pub const DEADLINE: Duration = Duration::from_secs(40);

/// The pause between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until a condition holds. Fails the test, with `what` was awaited, when it does not within
/// the time.
pub async fn eventually(what: &str, within: Duration, mut condition: impl AsyncFnMut() -> bool) {
    eventually_some(what, within, async || condition().await.then_some(())).await;
}

/// Waits until there is a value, and returns it. Fails the test when there is none within the time.
///
/// The last look is after the deadline, so that a machine that froze does not fail a test by
/// itself.
pub async fn eventually_some<T>(
    what: &str,
    within: Duration,
    mut value: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        let last = Instant::now() >= deadline;
        if let Some(value) = value().await {
            return value;
        }
        assert!(!last, "not within {within:?}: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// How often a time is measured at most.
const ROUNDS: usize = 5;

/// Measures a time until one is below a bound. Fails the test if none of five is.
///
/// A busy machine delays some rounds. The fault that a test looks for delays each of them.
pub async fn some_round_within(what: &str, bound: Duration, mut round: impl AsyncFnMut() -> Duration) {
    let mut times = Vec::new();
    while times.len() < ROUNDS {
        times.push(round().await);
        if times.last().is_some_and(|time| *time < bound) {
            return;
        }
    }
    panic!("not within {bound:?}: {what}: {times:?}");
}

/// The middle one of some times, which a machine that is busy for a moment leaves as it is.
pub fn median(mut times: Vec<Duration>) -> Duration {
    assert!(!times.is_empty(), "nothing was measured");
    times.sort_unstable();
    times[times.len() / 2]
}
