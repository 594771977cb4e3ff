//! How a server is told to stop, and how it ended.

use std::time::Duration;

/// How long connections may take to end after the last stream was told to. With the default delay
/// and window, all of it is over within the ten seconds after which container runtimes kill.
pub(super) const DRAIN_GRACE: Duration = Duration::from_millis(1500);

/// How a server is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// After the delay, with the ends of streams spread over the window.
    Drain,
    /// Without either: every stream is told to come back and ends now.
    AtOnce,
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Every connection ended by itself.
    Drained,
    /// Connections that were still open after the drain were cut.
    Cut,
    /// A part that never ends did.
    Broken,
}
