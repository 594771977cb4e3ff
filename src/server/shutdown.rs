//! How a server stops, and how it ended.

use std::time::Duration;

/// How long connections may take to end after the last stream has ended. With the default delay and
/// window, the process ends within ten seconds, after which container runtimes kill.
pub(super) const DRAIN_GRACE: Duration = Duration::from_millis(1500);

/// The times of a drain.
#[derive(Debug, Clone, Copy)]
pub(super) struct DrainSettings {
    /// The time for which a node that is not ready any more still accepts connections.
    pub(super) delay: Duration,
    /// The time over which streams end.
    pub(super) window: Duration,
}

/// How a server stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// After the delay, with the ends of streams spread over the window.
    Drain,
    /// Without either: every stream gets a reconnect and ends now.
    AtOnce,
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Every connection ended by itself.
    Drained,
    /// The server closed connections that were still open after the drain.
    Cut,
    /// A part that never ends did.
    Broken,
}
