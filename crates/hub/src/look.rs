//! The second look at the mark of live events. A node that receives a live event writes the mark a
//! moment later. A client that resumes here before that would miss the reset.
//!
//! So after each confirmation of the subscription the node reads the mark again. Events from before
//! the confirmation are marked by then, and later ones arrive here.

use std::time::Duration;

use tidings_event::log::LiveMark;

/// The time from the confirmation of a subscription to the second look at the mark.
pub(super) const LOOK_PAUSE: Duration = Duration::from_secs(2);

/// The look of a workspace; each confirmation begins one.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// The number of looks so far.
    number: u64,
    done: Option<MarkFound>,
}

/// The result of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MarkFound {
    pub(super) mark: LiveMark,
    /// The end of the ring at that time.
    pub(super) cursor: u64,
}

impl Look {
    /// Begins a look for a new confirmation; returns its number.
    pub(super) fn begin(&mut self) -> u64 {
        self.done = None;
        self.number += 1;
        self.number
    }

    /// Whether no confirmation came after the one of this look.
    pub(super) fn is_latest(&self, number: u64) -> bool {
        number == self.number
    }

    /// Stores the result of the look with this number. Returns whether it is the latest one.
    pub(super) fn store(&mut self, number: u64, found: MarkFound) -> bool {
        let is_latest = self.is_latest(number);
        if is_latest {
            self.done = Some(found);
        }
        is_latest
    }

    /// The result of the latest look; `None` while it is not known.
    pub(super) fn found(&self) -> Option<MarkFound> {
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_look_of_the_latest_confirmation_counts() {
        let mut look = Look::default();
        let (first, second) = (look.begin(), look.begin());
        let found = MarkFound { mark: LiveMark::Until(7), cursor: 3 };
        assert!(!look.store(first, found));
        assert_eq!(look.found(), None);
        assert!(look.store(second, found));
        assert_eq!(look.found(), Some(found));
        look.begin();
        assert_eq!(look.found(), None);
    }
}
