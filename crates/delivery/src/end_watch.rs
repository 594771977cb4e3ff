//! The end of a stream that the HTTP server writes, watched from beside it. The server asks a
//! stream for bytes only while its client takes some, so that of a client that does not read the
//! stream itself learns nothing.

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

/// Watches the stream that a task writes, for the same task. Without a stream it watches nothing.
#[derive(Default)]
pub struct EndWatch {
    state: Mutex<EndWatchState>,
}

#[derive(Default)]
struct EndWatchState {
    stream: Option<Box<WatchedEnd>>,
    /// Until when a part of the answer may wait for the peer, while one does.
    waiting_until: Option<Instant>,
    /// Why the stream was cut, once it was.
    why: Option<&'static str>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// What ends a stream, as its body sees it.
pub(super) struct WatchedEnd {
    pub(super) close_signal: Arc<CloseSignal>,
    pub(super) until: Until,
    pub(super) settings: Arc<StreamSettings>,
    /// Why it is to end, and when it has to have ended.
    pub(super) ending: Option<(ReconnectReason, Instant)>,
}

impl WatchedEnd {
    /// The next moment at which something is to be done, if any is known.
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
        // The wall clock is looked at as often as the stream itself would.
        let look = self.until.expires.map(|_| now + self.settings.heartbeat);
        own.map(|(at, _)| at).into_iter().chain(look).min()
    }
}

impl EndWatch {
    /// A stream begins.
    pub(super) fn begin(&self, stream: WatchedEnd) {
        self.state.lock().stream = Some(Box::new(stream));
    }

    /// The stream is over.
    pub(super) fn finish(&self) {
        self.state.lock().stream = None;
    }

    /// Why the stream was cut, if it was.
    pub(super) fn why(&self) -> Option<&'static str> {
        self.state.lock().why
    }

    /// A part of the answer waits for the peer, which may let it wait for a time; or none does
    /// (`None`).
    pub fn set_waiting(&self, limit: Option<Duration>) {
        self.state.lock().waiting_until = limit.map(|limit| Instant::now() + limit);
    }

    /// Waits until the stream has to be cut: it was to end a while ago, or a part of it has waited
    /// for too long. Only for the task that writes the stream, which polls the stream first.
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
            // One that fires too early costs a look; one for each part of the stream would cost
            // more.
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
