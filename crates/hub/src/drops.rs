//! Events that cannot be delivered, and the times of their resets.

use std::time::Duration;

use tidings_event::Position;
use tidings_event::control::ResetReason;

/// The shortest time between two resets for dropped events if no event is delivered between them.
const RESET_INTERVAL: Duration = Duration::from_secs(1);

/// Dropped events without a reset so far. The reset precedes any later event. Otherwise there is
/// one a second at most, so a flood of bad events causes no flood of resets.
#[derive(Debug, Default)]
pub(super) struct Drops {
    unreported: Option<UnreportedDrops>,
    last_reset: Option<Duration>,
}

/// The dropped events that the next reset reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnreportedDrops {
    /// The reason for which the last one was dropped.
    pub(super) reason: ResetReason,
    /// The position of the last one that has one.
    pub(super) position: Option<Position>,
}

impl Drops {
    /// Records a dropped event.
    pub(super) fn add(&mut self, reason: ResetReason, position: Option<Position>) {
        let earlier = self.unreported.and_then(|unreported| unreported.position);
        self.unreported = Some(UnreportedDrops { reason, position: position.or(earlier) });
    }

    /// Whether a reset is pending.
    pub(super) fn is_pending(&self) -> bool {
        self.unreported.is_some()
    }

    /// Whether a reset is pending and due.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.is_pending()
            && self.last_reset.is_none_or(|last_reset| now.saturating_sub(last_reset) >= RESET_INTERVAL)
    }

    /// Takes the dropped events; their reset counts as sent.
    pub(super) fn take_unreported(&mut self, now: Duration) -> Option<UnreportedDrops> {
        let unreported = self.unreported.take()?;
        self.last_reset = Some(now);
        Some(unreported)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_resets_come_at_once_then_once_a_second() {
        let mut drops = Drops::default();
        let second = Duration::from_secs(1);
        assert!(!drops.is_due(second));
        drops.add(ResetReason::TooLarge, None);
        assert!(drops.is_due(second));
        assert_eq!(
            drops.take_unreported(second),
            Some(UnreportedDrops { reason: ResetReason::TooLarge, position: None })
        );
        let position = Position::logged("7-0".parse().unwrap());
        drops.add(ResetReason::NotUtf8, Some(position));
        drops.add(ResetReason::TooLarge, None);
        assert!(!drops.is_due(second * 2 - Duration::from_millis(1)));
        assert!(drops.is_due(second * 2));
        assert_eq!(
            drops.take_unreported(second * 2),
            Some(UnreportedDrops { reason: ResetReason::TooLarge, position: Some(position) })
        );
        assert!(!drops.is_pending());
    }
}
