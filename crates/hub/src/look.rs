//! Looking at the mark of live events once more. A node that hears a live event writes the mark a moment later; a client that
//! has come here meanwhile from there could not be told. So after each confirmation of the subscription the mark is looked at
//! again: what came before the confirmation is marked by then, and what comes after it is heard here.

use std::time::Duration;

use tidings_event::log::LiveMark;

/// How long after the confirmation of a subscription the mark is looked at once more.
pub(super) const LOOK_PAUSE: Duration = Duration::from_secs(2);

/// The look of a workspace, of which there is one for each confirmation.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// How many there were.
    number: u64,
    done: Option<MarkFound>,
}

/// What a look has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MarkFound {
    pub(super) mark: LiveMark,
    /// Where the ring ended then.
    pub(super) cursor: u64,
}

impl Look {
    /// The subscription is confirmed. Returns the number of the look that is wanted.
    pub(super) fn begin(&mut self) -> u64 {
        self.done = None;
        self.number += 1;
        self.number
    }

    /// Whether no confirmation came after that of this look.
    pub(super) fn is_latest(&self, number: u64) -> bool {
        number == self.number
    }

    /// The mark was read for the look of this number, at this end of the ring. Returns whether that is the latest one.
    pub(super) fn land(&mut self, number: u64, found: MarkFound) -> bool {
        let is_latest = self.is_latest(number);
        if is_latest {
            self.done = Some(found);
        }
        is_latest
    }

    /// What was found; `None` while it is not.
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
        assert!(!look.land(first, found));
        assert_eq!(look.found(), None);
        assert!(look.land(second, found));
        assert_eq!(look.found(), Some(found));
        look.begin();
        assert_eq!(look.found(), None);
    }
}
