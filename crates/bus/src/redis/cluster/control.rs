//! Control commands in a cluster.
//!
//! Backends publish commands with PUBLISH, which a server passes on to all others over the bus of
//! the cluster. That bus loses messages. So a node listens at each primary, and the copy of the
//! server that got the command is certain. The node passes each command on once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use super::view::ServerId;

/// The time in which the copies of a command arrive.
const COPIES: Duration = Duration::from_secs(10);

/// Limits the commands whose copies are counted. Beyond it the node passes on each copy.
const COMMANDS_MAX: usize = 10_000;

/// Counts the copies of recent commands.
#[derive(Default)]
pub(super) struct ControlCopies(Mutex<HashMap<Bytes, Copies>>);

struct Copies {
    /// The copies of each server.
    of: HashMap<ServerId, u32>,
    passed: u32,
    at: Instant,
}

impl ControlCopies {
    /// Counts a copy; returns whether it is the first one of a command.
    pub(super) fn is_first(&self, server: &ServerId, command: &Bytes, now: Instant) -> bool {
        let mut commands = self.0.lock();
        commands.retain(|_, copies| now.saturating_duration_since(copies.at) < COPIES);
        if commands.len() >= COMMANDS_MAX && !commands.contains_key(command) {
            return true;
        }
        let copies = commands.entry(command.clone()).or_insert_with(|| Copies {
            of: HashMap::new(),
            passed: 0,
            at: now,
        });
        copies.at = now;
        let count = copies.of.entry(server.clone()).or_default();
        *count += 1;
        let is_first = *count > copies.passed;
        copies.passed = copies.passed.max(*count);
        is_first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_is_passed_on_once_for_all_its_copies() {
        let (copies, now) = (ControlCopies::default(), Instant::now());
        let (a, b) = (ServerId::from("a"), ServerId::from("b"));
        let command = Bytes::from_static(b"{}");
        let seen = [&a, &b, &b, &a, &a].map(|server| copies.is_first(server, &command, now));
        assert_eq!(seen, [true, false, true, false, true], "a backend sent it three times");
        assert!(copies.is_first(&b, &Bytes::from_static(b"other"), now));
        assert!(copies.is_first(&b, &command, now + COPIES), "the copies of the first time are over");
    }

    /// Each copy extends the time, so the copies of a command that is sent often stay together.
    #[test]
    fn late_copy_of_a_repeated_command_is_not_passed_on() {
        let (copies, start) = (ControlCopies::default(), Instant::now());
        let (a, b) = (ServerId::from("a"), ServerId::from("b"));
        let command = Bytes::from_static(b"{}");
        let seconds = |seconds| start + Duration::from_secs(seconds);
        let seen = [(&a, 0), (&b, 0), (&a, 9), (&b, 11)]
            .map(|(server, at)| copies.is_first(server, &command, seconds(at)));
        assert_eq!(seen, [true, false, true, false]);
    }

    /// A node that carries a command out twice is better than one that leaves it out.
    #[test]
    fn commands_beyond_the_bound_are_passed_on_and_not_stored() {
        let (copies, now) = (ControlCopies::default(), Instant::now());
        let (a, b) = (ServerId::from("a"), ServerId::from("b"));
        let command = |number: usize| Bytes::from(number.to_string());
        assert!((0..COMMANDS_MAX).all(|number| copies.is_first(&a, &command(number), now)));
        let beyond = command(COMMANDS_MAX);
        assert!(copies.is_first(&a, &beyond, now) && copies.is_first(&b, &beyond, now));
        assert_eq!(copies.0.lock().len(), COMMANDS_MAX);
        assert!(!copies.is_first(&b, &command(0), now), "the stored ones still count");
    }
}
