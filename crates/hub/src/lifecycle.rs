//! What a stream does over time, as one state machine without I/O and without a clock. Both writers drive it.
//!
//! A stream begins with `retry:`. It is held until its workspace is confirmed, gets the `connected` event, a replay
//! where it resumes, and then events as they arrive. Heartbeats fill silence. It ends when the node drains, when its
//! right to be open ends, when it has reached its age, when it is revoked, when it lags, or when its workspace is not
//! available.
//!
//! Moments are [`Tick`]s of the writer. The writer draws every random part (spread of `retry:`, heartbeats and ends)
//! and passes it in.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::connected::connected;
use super::subscriber::{Next, Subscriber};
use tidings_event::ConnectionId;
use tidings_event::control;
use tidings_event::control::ReconnectReason;

/// A moment: milliseconds since a start that the writer chooses.
pub type Tick = u64;

/// No moment.
pub const NEVER: Tick = Tick::MAX;

/// The moments at which a stream ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamEnds {
    /// The stream's age or its part of a drain, the sooner of the two.
    at: Tick,
    /// The end of the right to be open, such as the `exp` of a token (RFC 7519 section 4.1.4).
    expires: Tick,
    /// The reason for `at`.
    reason: ReconnectReason,
}

impl StreamEnds {
    /// The ends of a stream that reaches its age at `aged` and loses its right to be open at `expires`; [`NEVER`]
    /// where there is no such moment.
    #[must_use]
    pub fn new(aged: Tick, expires: Tick) -> Self {
        Self { at: aged, expires, reason: ReconnectReason::Aged }
    }

    /// The node drains, and this stream ends at `at`, unless it ends before.
    pub fn drain(&mut self, at: Tick) {
        if at < self.at {
            (self.at, self.reason) = (at, ReconnectReason::Draining);
        }
    }

    /// When the right to be open ends; [`NEVER`] without such an end.
    #[must_use]
    pub fn expires(&self) -> Tick {
        self.expires
    }

    /// Moves the end of the right to be open, as the wall clock has been set.
    pub fn set_expires(&mut self, expires: Tick) {
        self.expires = expires;
    }

    /// The reason for which the stream has to have ended by `now`, if it has to.
    #[must_use]
    pub fn due(&self, now: Tick) -> Option<ReconnectReason> {
        if self.expires <= now {
            return Some(ReconnectReason::Expired);
        }
        (self.at <= now).then_some(self.reason)
    }

    /// The sooner of the moments; [`NEVER`] where there is none.
    #[must_use]
    pub fn next(&self) -> Tick {
        self.at.min(self.expires)
    }
}

/// How far a stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LifecycleStage {
    /// Nothing was sent yet.
    Opening,
    /// The workspace is not confirmed yet.
    Held,
    /// The `connected` event is out.
    Live,
}

/// The state of one stream until it is a cursor of a broadcast, or until it ends.
#[derive(Debug)]
pub struct StreamLifecycle {
    stage: LifecycleStage,
    /// When a held stream ends.
    held_until: Tick,
    /// When the next heartbeat is due; [`NEVER`] where the writer has a schedule of its own.
    heartbeat_at: Tick,
}

/// What a writer knows of a stream at a moment.
#[derive(Debug, Clone, Copy)]
pub struct StreamMoment<'a> {
    /// The moment.
    pub now: Tick,
    /// When the stream ends by itself.
    pub ends: &'a StreamEnds,
    /// The reason for which the node closes the stream, if it does.
    pub revoked: Option<ReconnectReason>,
}

/// What a writer has to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamStep {
    /// Send these bytes: one frame, or several in a row.
    Write(Bytes),
    /// Send these bytes, an event of the application.
    Deliver(Bytes),
    /// Send these bytes, and set the next heartbeat.
    Heartbeat(Bytes),
    /// Poll again at this moment, or when the task is woken; [`NEVER`]: when it is woken.
    Wait(Tick),
    /// Send `tidings.reconnect` with this reason, and nothing after it.
    End(ReconnectReason),
}

impl StreamLifecycle {
    /// A stream that begins now: held until `held_until` at most, with its first heartbeat at `heartbeat_at`.
    #[must_use]
    pub fn new(held_until: Tick, heartbeat_at: Tick) -> Self {
        Self { stage: LifecycleStage::Opening, held_until, heartbeat_at }
    }

    /// Whether nothing was sent yet.
    #[must_use]
    pub fn is_opening(&self) -> bool {
        self.stage == LifecycleStage::Opening
    }

    /// Sets the moment of the next heartbeat.
    pub fn set_heartbeat(&mut self, at: Tick) {
        self.heartbeat_at = at;
    }

    /// The earliest moment at which something is due without an event.
    #[must_use]
    pub fn next_at(&self, ends: &StreamEnds) -> Tick {
        // A stream that is opening is polled at once, and most are confirmed by then.
        let held = if self.stage == LifecycleStage::Held { self.held_until } else { NEVER };
        ends.next().min(held).min(self.heartbeat_at)
    }

    /// The reason for which the stream has to end by `now` without a look at its subscriber.
    #[must_use]
    pub fn due(&self, now: Tick, ends: &StreamEnds) -> Option<ReconnectReason> {
        let is_over = self.stage == LifecycleStage::Held && self.held_until <= now;
        ends.due(now).or(is_over.then_some(ReconnectReason::Unavailable))
    }

    /// The next step. `retry_ms` draws the `retry:` value. An end precedes every event that waits: a client without
    /// the right to read gets none. Not to be called again after [`StreamStep::End`].
    pub fn poll(
        &mut self,
        moment: StreamMoment<'_>,
        connection: ConnectionId,
        retry_ms: impl FnOnce() -> u64,
        subscriber: &mut Subscriber,
        context: &Context<'_>,
    ) -> StreamStep {
        let StreamMoment { now, ends, revoked } = moment;
        if self.stage == LifecycleStage::Opening {
            self.stage = LifecycleStage::Held;
            return StreamStep::Write(control::retry(retry_ms()));
        }
        if let Some(reason) = ends.due(now).or(revoked) {
            return StreamStep::End(reason);
        }
        match subscriber.poll_next(context) {
            Poll::Ready(Next::Joined(joined)) => {
                self.stage = LifecycleStage::Live;
                StreamStep::Write(connected(joined, subscriber.workspace(), connection))
            }
            Poll::Ready(Next::Event(bytes)) => StreamStep::Deliver(bytes),
            Poll::Ready(Next::Notice(bytes)) => StreamStep::Write(bytes),
            Poll::Ready(Next::Lagging) => StreamStep::End(ReconnectReason::Lagging),
            Poll::Ready(Next::Unavailable) => StreamStep::End(ReconnectReason::Unavailable),
            Poll::Pending => match self.due(now, ends) {
                Some(reason) => StreamStep::End(reason),
                None if self.heartbeat_at <= now => StreamStep::Heartbeat(Self::heartbeat(subscriber)),
                None => StreamStep::Wait(self.next_at(ends)),
            },
        }
    }

    /// A heartbeat at the position of a subscriber.
    #[must_use]
    pub fn heartbeat(subscriber: &Subscriber) -> Bytes {
        control::heartbeat(subscriber.position(), subscriber.is_live())
    }
}
