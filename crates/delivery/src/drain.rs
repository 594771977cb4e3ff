//! The end of all streams of a node that shuts down.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// Whether and since when the node ends its streams. Set once; every stream reads it when it is
/// woken.
#[derive(Debug, Default)]
pub struct Drain {
    /// Its start, and the window over which the ends of streams are spread.
    begun: OnceLock<(Instant, Duration)>,
    signal: CancellationToken,
}

impl Drain {
    /// Begins the drain; the streams end within `window`. The caller wakes them too.
    pub fn begin(&self, window: Duration) {
        let _ = self.begun.set((Instant::now(), window));
        self.signal.cancel();
    }

    /// Waits until the drain begins, for requests without a stream. Cancellation safe.
    pub async fn begun(&self) {
        self.signal.cancelled().await;
    }

    /// Draws the end of a stream within the window; `None` before the drain. Each call draws again,
    /// so a stream keeps the first result.
    #[must_use]
    pub fn draw_end(&self) -> Option<Instant> {
        self.begun.get().map(|(begun, window)| *begun + window.mul_f64(fastrand::f64()))
    }
}
