//! The end of all streams of a node that is going away.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// Whether and since when the node's streams are being ended. Set once, read by every stream when
/// it is woken.
#[derive(Debug, Default)]
pub struct Drain {
    /// When it began, and over what time the ends of streams are spread.
    begun: OnceLock<(Instant, Duration)>,
    told: CancellationToken,
}

impl Drain {
    /// Streams end from now on, spread over `window`. The caller wakes them too.
    pub fn begin(&self, window: Duration) {
        let _ = self.begun.set((Instant::now(), window));
        self.told.cancel();
    }

    /// Waits until the end begins: for what is not a stream yet. Cancellation safe.
    pub async fn begun(&self) {
        self.told.cancelled().await;
    }

    /// When a stream shall end: a moment of its own within the window. `None` while nothing is
    /// being ended. Each call draws anew; a stream calls until it gets an answer and keeps that.
    #[must_use]
    pub fn draw_end(&self) -> Option<Instant> {
        self.begun.get().map(|(begun, window)| *begun + window.mul_f64(fastrand::f64()))
    }
}
