//! One client's stream as the body of an HTTP answer: polled by the connection when the socket takes bytes, so a slow
//! client asks for less and nobody waits for it.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use tokio::time::Sleep;

use super::drain::Drain;
use super::jitter::spread;
use crate::event::control::{self, ReconnectReason};
use crate::hub::{Joined, Next, Subscriber};
use crate::limits::{AddressPlace, Lease};
use crate::metrics::Metrics;

/// How far heartbeats are spread, as a share of their interval.
const HEARTBEAT_SPREAD: f64 = 0.1;

/// How far `retry:` values are spread, as a share of the configured one.
const RETRY_SPREAD: f64 = 0.25;

/// How long before the end of its token a stream ends, so that nobody reads on afterwards, and who comes back with the
/// same one a little later finds that it has ended.
const EXPIRY_LEAD: Duration = Duration::from_secs(1);

/// How far the lead is spread, as a share of it.
const EXPIRY_SPREAD: f64 = 0.5;

/// How far the age at which streams end is spread, as a share of it.
const AGE_SPREAD: f64 = 0.2;

/// What all streams of a node have in common.
#[derive(Debug)]
pub struct StreamSettings {
    /// The heartbeat's interval, before it is spread.
    pub heartbeat: Duration,
    /// What clients are told to wait before they reconnect, before it is spread.
    pub retry: Duration,
    /// How long a client is held while its workspace is not confirmed.
    pub confirm: Duration,
    /// How long a stream may be open, before it is spread; `None` for as long as one likes.
    pub age: Option<Duration>,
    /// The end of all streams.
    pub drain: Drain,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl StreamSettings {
    /// A `retry:` value of its own for a stream, in milliseconds.
    #[must_use]
    pub fn draw_retry_ms(&self) -> u64 {
        u64::try_from(spread(self.retry, RETRY_SPREAD).as_millis()).unwrap_or(u64::MAX)
    }

    /// When a stream that is opened now ends by itself: a moment before what proves its right to be open does, or when
    /// it has been open for as long as streams may be.
    #[must_use]
    pub fn draw_until(&self, expires: Option<SystemTime>) -> Option<(Instant, ReconnectReason)> {
        let now = Instant::now();
        let expiry = expires.map(|at| {
            let left = at.duration_since(SystemTime::now()).unwrap_or_default();
            (now + left.saturating_sub(spread(EXPIRY_LEAD, EXPIRY_SPREAD)), ReconnectReason::Expired)
        });
        let aged = self.age.map(|age| (now + spread(age, AGE_SPREAD), ReconnectReason::Aged));
        expiry.into_iter().chain(aged).min_by_key(|(at, _)| *at)
    }

    /// A whole stream that only says to come back later.
    #[must_use]
    pub fn refusal(&self, reason: ReconnectReason) -> Bytes {
        self.metrics.count_reconnect(reason);
        control::reconnect(reason, self.draw_retry_ms())
    }
}

/// On what terms a stream is open.
#[derive(Debug)]
pub struct Terms {
    /// Its place among the open ones.
    pub lease: Lease,
    /// Its place among those of its client's address, where that is counted by streams.
    pub place: Option<AddressPlace>,
    /// When it ends by itself, and what the client is told then.
    pub until: Option<(Instant, ReconnectReason)>,
}

/// Whom a stream goes to.
#[derive(Debug, Clone)]
pub struct Recipient {
    /// The other end of the connection.
    pub address: SocketAddr,
    /// The client behind it, as far as trusted proxies tell.
    pub client: IpAddr,
    /// Why the connection was cut, if it was; set by whoever cuts it.
    pub cut: EndNote,
}

/// Why a connection was cut from outside its stream, if it was; shared by the two.
pub type EndNote = Arc<OnceLock<&'static str>>;

/// The stream of one client.
///
/// Its items are whole frames. It ends after a `tidings.reconnect`, or is dropped when the client goes away; either way
/// it writes the connection's log line.
pub struct StreamBody {
    subscriber: Subscriber,
    terms: Terms,
    settings: Arc<StreamSettings>,
    stage: Stage,
    /// Fires at the earliest of the moments below.
    timer: Pin<Box<Sleep>>,
    heartbeat_at: Instant,
    held_until: Instant,
    drained_at: Option<Instant>,
    account: Account,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was sent yet.
    Opening,
    /// Waiting for the workspace to be confirmed.
    Held,
    /// Reading.
    Live,
    /// The last frame is out.
    Ended,
}

/// What the log line at the end says.
struct Account {
    recipient: Recipient,
    began: Instant,
    events: u64,
    bytes: u64,
    ended: Option<ReconnectReason>,
}

impl StreamBody {
    /// The stream of a subscriber that has just joined.
    #[must_use]
    pub fn new(
        subscriber: Subscriber,
        terms: Terms,
        settings: Arc<StreamSettings>,
        recipient: Recipient,
    ) -> Self {
        let now = Instant::now();
        let heartbeat_at = now + spread(settings.heartbeat, HEARTBEAT_SPREAD);
        let held_until = now + settings.confirm;
        let timer = Box::pin(tokio::time::sleep_until(heartbeat_at.min(held_until).into()));
        let account = Account { recipient, began: now, events: 0, bytes: 0, ended: None };
        Self {
            subscriber,
            terms,
            settings,
            stage: Stage::Opening,
            timer,
            heartbeat_at,
            held_until,
            drained_at: None,
            account,
        }
    }

    /// The stream's last frame.
    fn end(&mut self, reason: ReconnectReason) -> Bytes {
        self.stage = Stage::Ended;
        self.account.ended = Some(reason);
        self.settings.metrics.count_reconnect(reason);
        control::reconnect(reason, self.settings.draw_retry_ms())
    }

    /// The hello, and what the client must know at once.
    fn hello(&mut self, joined: Joined) -> Bytes {
        self.stage = Stage::Live;
        let (workspace, connection) = (self.subscriber.workspace(), self.terms.lease.id());
        match joined {
            Joined::Fresh { position } => control::connected(workspace, Some(&position), false, connection),
            Joined::Resumed { position } => {
                control::connected(workspace, position.as_ref(), true, connection)
            }
            Joined::Newest => control::connected(workspace, None, false, connection),
            Joined::Unproven { reason, from, head } => {
                // The hello has no id: a client whose connection breaks between the two must not take the head for a
                // place it has been at.
                let mut both = BytesMut::from(&control::connected(workspace, None, false, connection)[..]);
                both.extend_from_slice(&control::reset(reason, from.as_deref(), &head));
                both.freeze()
            }
        }
    }

    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self.stage {
            Stage::Opening => {
                self.stage = Stage::Held;
                return Poll::Ready(Some(control::retry(self.settings.draw_retry_ms())));
            }
            Stage::Ended => return Poll::Ready(None),
            Stage::Held | Stage::Live => {}
        }
        if self.drained_at.is_none() {
            self.drained_at = self.settings.drain.draw_end();
        }
        let now = Instant::now();
        if self.drained_at.is_some_and(|at| at <= now) {
            return Poll::Ready(Some(self.end(ReconnectReason::Draining)));
        }
        // Before any event: who may not read any more gets none of those that wait.
        if let Poll::Ready(ending) = self.terms.lease.poll_ending(context) {
            return Poll::Ready(Some(self.end(ending.reason())));
        }
        if let Some((at, reason)) = self.terms.until
            && at <= now
        {
            return Poll::Ready(Some(self.end(reason)));
        }
        match self.subscriber.poll_next(context) {
            Poll::Ready(Next::Joined(joined)) => return Poll::Ready(Some(self.hello(joined))),
            Poll::Ready(Next::Event(bytes)) => {
                self.account.events += 1;
                self.settings.metrics.deliveries.inc();
                return Poll::Ready(Some(bytes));
            }
            Poll::Ready(Next::Notice(bytes)) => return Poll::Ready(Some(bytes)),
            Poll::Ready(Next::Lagging) => return Poll::Ready(Some(self.end(ReconnectReason::Lagging))),
            Poll::Ready(Next::Unavailable) => {
                return Poll::Ready(Some(self.end(ReconnectReason::Unavailable)));
            }
            Poll::Pending => {}
        }
        self.poll_timer(context)
    }

    /// Acts on the moments that have come, and sets the timer for the next one.
    fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            let now = Instant::now();
            if self.stage == Stage::Held && self.held_until <= now {
                return Poll::Ready(Some(self.end(ReconnectReason::Unavailable)));
            }
            if self.heartbeat_at <= now {
                self.heartbeat_at = now + spread(self.settings.heartbeat, HEARTBEAT_SPREAD);
                let live = self.subscriber.is_live();
                return Poll::Ready(Some(control::heartbeat(self.subscriber.position(), live)));
            }
            let mut next = self.heartbeat_at;
            if let Some((at, reason)) = self.terms.until {
                if at <= now {
                    return Poll::Ready(Some(self.end(reason)));
                }
                next = next.min(at);
            }
            if self.stage == Stage::Held {
                next = next.min(self.held_until);
            }
            if let Some(drained_at) = self.drained_at {
                if drained_at <= now {
                    return Poll::Ready(Some(self.end(ReconnectReason::Draining)));
                }
                next = next.min(drained_at);
            }
            if self.timer.deadline() != next.into() {
                self.timer.as_mut().reset(next.into());
            }
            match self.timer.as_mut().poll(context) {
                Poll::Ready(()) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Stream for StreamBody {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let bytes = std::task::ready!(this.poll_bytes(context));
        if let Some(bytes) = &bytes {
            this.account.bytes += bytes.len() as u64;
            this.settings.metrics.delivered_bytes.inc_by(bytes.len() as u64);
        }
        Poll::Ready(bytes.map(Ok))
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        let why = match (self.account.ended, self.account.recipient.cut.get()) {
            (Some(reason), _) => reason.as_str(),
            (None, Some(cut)) => cut,
            (None, None) => "client left",
        };
        tracing::info!(
            workspace = %self.subscriber.workspace(),
            connection = %self.terms.lease.id(),
            address = %self.account.recipient.address,
            client = %self.account.recipient.client,
            seconds = self.account.began.elapsed().as_secs_f64(),
            events = self.account.events,
            bytes = self.account.bytes,
            why,
            "stream ended"
        );
    }
}

impl fmt::Debug for StreamBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamBody")
            .field("subscriber", &self.subscriber)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(age: Option<Duration>) -> StreamSettings {
        let second = Duration::from_secs(1);
        let (drain, metrics) = (Drain::new(second), Arc::new(Metrics::new()));
        StreamSettings { heartbeat: second, retry: second, confirm: second, age, drain, metrics }
    }

    #[test]
    fn a_stream_ends_before_what_proves_its_right_and_at_its_age_if_that_is_sooner() {
        let (now, minute) = (Instant::now(), Duration::from_secs(60));
        let until = |age, expires: Option<Duration>| {
            let drawn = settings(age).draw_until(expires.map(|left| SystemTime::now() + left));
            drawn.map(|(at, reason)| (at.saturating_duration_since(now).as_secs_f64(), reason))
        };
        assert_eq!(until(None, None), None);
        for _ in 0..100 {
            let Some((seconds, ReconnectReason::Expired)) = until(Some(2 * minute), Some(minute)) else {
                panic!()
            };
            assert!((58.4..59.6).contains(&seconds), "{seconds}");
        }
        let Some((seconds, ReconnectReason::Aged)) = until(Some(minute), Some(2 * minute)) else { panic!() };
        assert!((47.9..72.1).contains(&seconds), "{seconds}");
        let Some((seconds, _)) = until(None, Some(Duration::ZERO)) else { panic!() };
        assert!(seconds < 1.0, "what has ended already ends the stream at once: {seconds}");
    }
}
