//! The proof of progress: the watchdog of the service manager is fed while the runtime runs this
//! task and every shard of the engine receives its messages. A lost bus does not matter here: a
//! restart would not bring it back.

use std::sync::Arc;
use std::time::Duration;

use super::notify::{Notifier, ProcessState};
use crate::server::Monitor;

/// Parts of the watchdog's time between two looks. The last look before its end proves progress
/// for most of that time.
const LOOKS: u32 = 4;

/// How often the status is sent without a watchdog, and at most with one.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProgressLook {
    /// Everything makes progress.
    Progress,
    /// This many shards have not received their messages since the look before. They do again, or
    /// the service manager ends the process.
    Stalled {
        /// The shards.
        shards: usize,
        /// Whether the look before found progress.
        is_new: bool,
    },
}

/// Compares each look with the one before it.
#[derive(Debug, Default)]
struct ProgressCheck {
    was_stalled: bool,
}

impl ProgressCheck {
    /// Judges a look that found this many shards without progress.
    fn look(&mut self, stalled_shards: usize) -> ProgressLook {
        let is_new = !std::mem::replace(&mut self.was_stalled, stalled_shards > 0);
        match stalled_shards {
            0 => ProgressLook::Progress,
            shards => ProgressLook::Stalled { shards, is_new },
        }
    }
}

/// Feeds the watchdog, if there is one, and sends the number of connections as the status. Never
/// ends. Cancellation safe.
pub(crate) async fn run(
    notifier: Arc<Notifier>,
    monitor: Monitor,
    watchdog: Option<Duration>,
) -> std::convert::Infallible {
    let interval = interval(watchdog);
    let mut tick = tokio::time::interval(interval);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut progress = ProgressCheck::default();
    let mut since_status = STATUS_INTERVAL;
    loop {
        tick.tick().await;
        let state = match progress.look(monitor.ping_shards()) {
            ProgressLook::Progress => watchdog.map(|_| ProcessState::Watchdog),
            ProgressLook::Stalled { shards, is_new } => {
                if is_new {
                    tracing::error!(
                        shards,
                        "a thread that writes streams makes no progress: the watchdog is not fed until it does"
                    );
                }
                None
            }
        };
        since_status = since_status.saturating_add(interval);
        let status = (since_status >= STATUS_INTERVAL).then(|| {
            since_status = Duration::ZERO;
            monitor.status()
        });
        if state.is_some() || status.is_some() {
            notifier.send(state, status.as_deref()).await;
        }
    }
}

/// The time between two looks.
fn interval(watchdog: Option<Duration>) -> Duration {
    let of_watchdog = watchdog.map(|timeout| timeout / LOOKS);
    of_watchdog.unwrap_or(STATUS_INTERVAL).clamp(Duration::from_millis(10), STATUS_INTERVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stalled_shards_are_no_progress_until_all_move() {
        let mut progress = ProgressCheck::default();
        assert_eq!(progress.look(0), ProgressLook::Progress);
        assert_eq!(progress.look(1), ProgressLook::Stalled { shards: 1, is_new: true });
        assert_eq!(progress.look(2), ProgressLook::Stalled { shards: 2, is_new: false });
        assert_eq!(progress.look(0), ProgressLook::Progress);
        assert_eq!(progress.look(1), ProgressLook::Stalled { shards: 1, is_new: true });
    }

    #[test]
    fn several_looks_fit_into_the_time_of_the_watchdog() {
        assert_eq!(interval(Some(Duration::from_secs(20))), Duration::from_secs(5));
        assert_eq!(interval(Some(Duration::from_secs(600))), STATUS_INTERVAL);
        assert_eq!(interval(Some(Duration::from_micros(1))), Duration::from_millis(10));
        assert_eq!(interval(None), STATUS_INTERVAL);
    }
}
