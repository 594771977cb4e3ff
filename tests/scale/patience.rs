//! How long a test waits before it is given up.

use std::time::{Duration, Instant};

/// How long anything may take. It is no measure of anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A wait that fails the test when it takes too long.
#[derive(Debug)]
pub(crate) struct Patience {
    what: &'static str,
    until: Instant,
}

impl Patience {
    /// From now on, for what is awaited.
    pub(crate) fn waiting_for(what: &'static str) -> Self {
        Self { what, until: Instant::now() + PATIENCE }
    }

    /// Fails the test when it is over.
    pub(crate) fn check(&self) {
        assert!(Instant::now() < self.until, "never: {}", self.what);
    }
}
