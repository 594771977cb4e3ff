//! The difference of the clocks of this machine and of a server.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redis::Value;

use super::commands::Commands;

/// Returns the clock of this machine minus that of the server, in seconds. `None` without a reply
/// within a time, or without the right to ask. Cancellation safe.
pub(super) async fn difference(commands: &Commands, within: Duration) -> Option<f64> {
    let (asked, began) = (SystemTime::now(), Instant::now());
    let reply = commands.try_ask(&redis::cmd("TIME"), within).await.ok()?;
    difference_at(asked.duration_since(UNIX_EPOCH).ok()?, began.elapsed(), &reply)
}

/// Returns the difference for a command of this round trip. The server reads its clock in the
/// middle of it.
fn difference_at(asked: Duration, round_trip: Duration, reply: &Value) -> Option<f64> {
    let (seconds, microseconds) = redis::from_redis_value_ref::<(u64, u64)>(reply).ok()?;
    let read = Duration::from_secs(seconds) + Duration::from_micros(microseconds);
    Some((asked + round_trip / 2).as_secs_f64() - read.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difference_leaves_out_half_of_the_round_trip() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let reply = Value::Array(vec![text("1000"), text("500000")]);
        for (asked, expected) in [(1000.4, 0.0), (1002.4, 2.0), (995.4, -5.0)] {
            let (asked, round_trip) = (Duration::from_secs_f64(asked), Duration::from_millis(200));
            let difference = difference_at(asked, round_trip, &reply).unwrap();
            assert!((difference - expected).abs() < 1e-6, "{difference}");
        }
        assert_eq!(difference_at(Duration::ZERO, Duration::ZERO, &Value::Nil), None);
    }
}
