//! Events that cannot be delivered, and when subscribers are told of them.

use std::time::Duration;

use tidings_event::Position;
use tidings_event::control::ResetReason;

/// The shortest time between two resets for dropped events where nothing is delivered between them.
const TELLING_INTERVAL: Duration = Duration::from_secs(1);

/// Events that were dropped and that subscribers were not told of yet. They are told before anything later is delivered;
/// otherwise at most once a second, so that a flood of them is no flood of resets to every subscriber.
#[derive(Debug, Default)]
pub(super) struct Drops {
    untold: Option<UnreportedDrops>,
    told: Option<Duration>,
}

/// What has to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnreportedDrops {
    /// Why the last one was dropped.
    pub(super) reason: ResetReason,
    /// The place of the last one that has one.
    pub(super) position: Option<Position>,
}

impl Drops {
    /// An event was dropped.
    pub(super) fn add(&mut self, reason: ResetReason, position: Option<Position>) {
        let earlier = self.untold.and_then(|untold| untold.position);
        self.untold = Some(UnreportedDrops { reason, position: position.or(earlier) });
    }

    /// Whether something has to be told.
    pub(super) fn is_pending(&self) -> bool {
        self.untold.is_some()
    }

    /// Whether something has to be told, and it is time to.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.is_pending() && self.told.is_none_or(|told| now.saturating_sub(told) >= TELLING_INTERVAL)
    }

    /// What has to be told, which counts as told then.
    pub(super) fn tell(&mut self, now: Duration) -> Option<UnreportedDrops> {
        let untold = self.untold.take()?;
        self.told = Some(now);
        Some(untold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_drop_is_due_at_once_and_the_next_after_a_second() {
        let mut drops = Drops::default();
        let second = Duration::from_secs(1);
        assert!(!drops.is_due(second));
        drops.add(ResetReason::TooLarge, None);
        assert!(drops.is_due(second));
        assert_eq!(
            drops.tell(second),
            Some(UnreportedDrops { reason: ResetReason::TooLarge, position: None })
        );
        let position = Position::logged("7-0".parse().unwrap());
        drops.add(ResetReason::NotUtf8, Some(position));
        drops.add(ResetReason::TooLarge, None);
        assert!(!drops.is_due(second * 2 - Duration::from_millis(1)));
        assert!(drops.is_due(second * 2));
        assert_eq!(
            drops.tell(second * 2),
            Some(UnreportedDrops { reason: ResetReason::TooLarge, position: Some(position) })
        );
        assert!(!drops.is_pending());
    }
}
