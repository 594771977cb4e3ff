//! Watches the end of a stream that the HTTP server writes. The server polls a stream only while
//! its client takes bytes, so the stream of a client that does not read notices no end.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::time::Sleep;

use super::settings::{END_GRACE, StreamSettings};
use super::until::Until;
use tidings_event::control::ReconnectReason;
use tidings_limits::CloseSignal;

/// Watches the stream that a task writes, for the same task. Without a stream it does nothing.
#[derive(Default)]
pub struct EndWatch {
    state: Mutex<EndWatchState>,
}

#[derive(Default)]
struct EndWatchState {
    stream: Option<Box<WatchedEnd>>,
    /// The time until which a part of the response may wait for the client, while one does.
    waiting_until: Option<Instant>,
    /// The reason for which the stream was aborted.
    why: Option<&'static str>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// The conditions that end a stream.
pub(super) struct WatchedEnd {
    pub(super) close_signal: Arc<CloseSignal>,
    pub(super) until: Until,
    pub(super) settings: Arc<StreamSettings>,
    /// The reason of the end, and the time by which the stream has to have ended.
    pub(super) ending: Option<(ReconnectReason, Instant)>,
}

impl WatchedEnd {
    /// The next known time at which the watch has work.
    fn next(&mut self, context: &Context<'_>, now: Instant) -> Option<Instant> {
        if let Some((_, by)) = self.ending {
            return Some(by);
        }
        let ordered = match self.close_signal.poll_ending(context) {
            Poll::Ready(ending) => Some(ending.reason()),
            Poll::Pending => None,
        };
        let own = self.until.next(&self.settings.clock, now);
        let due = own.and_then(|(at, reason)| (at <= now).then_some(reason));
        if let Some(reason) = ordered.or(due) {
            let by = now + END_GRACE;
            self.ending = Some((reason, by));
            return Some(by);
        }
        // The wall clock is read as often as the stream itself would.
        let look = self.until.expires.map(|_| now + self.settings.heartbeat);
        own.map(|(at, _)| at).into_iter().chain(look).min()
    }
}

impl EndWatch {
    /// Begins to watch a stream.
    pub(super) fn begin(&self, stream: WatchedEnd) {
        self.state.lock().stream = Some(Box::new(stream));
    }

    /// Notes that the stream has ended.
    pub(super) fn finish(&self) {
        self.state.lock().stream = None;
    }

    /// The reason for which the stream was aborted, if it was.
    pub(super) fn why(&self) -> Option<&'static str> {
        self.state.lock().why
    }

    /// Notes that a part of the response waits for the client, for `limit` at most; `None` if none
    /// waits.
    pub fn set_waiting(&self, limit: Option<Duration>) {
        self.state.lock().waiting_until = limit.map(|limit| Instant::now() + limit);
    }

    /// Waits until the stream has to be aborted: its end is overdue, or a part of it has waited for
    /// too long. Only the task that writes the stream calls it, and polls the stream first.
    /// Cancellation safe.
    pub async fn overdue(&self) {
        std::future::poll_fn(|context| self.poll_overdue(context)).await;
    }

    /// As [`overdue`](Self::overdue).
    pub fn poll_overdue(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        let state = &mut *state;
        loop {
            let now = Instant::now();
            if state.waiting_until.is_some_and(|at| at <= now) {
                state.why = Some("takes no bytes");
                return Poll::Ready(());
            }
            let next = state.stream.as_mut().and_then(|stream| stream.next(context, now));
            if let Some(stream) = &state.stream
                && let Some((reason, by)) = stream.ending
                && by <= now
            {
                stream.settings.metrics.count_reconnect(reason.as_str());
                state.why = Some(reason.as_str());
                return Poll::Ready(());
            }
            let Some(next) = next.into_iter().chain(state.waiting_until).min() else { return Poll::Pending };
            let timer = state.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next.into())));
            // A timer that fires too early costs one poll; a timer for each part of the stream
            // would cost more.
            if timer.deadline() > next.into() || timer.is_elapsed() {
                timer.as_mut().reset(next.into());
            }
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl fmt::Debug for EndWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndWatch").finish_non_exhaustive()
    }
}
