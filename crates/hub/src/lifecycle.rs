//! The stream lifecycle: one state machine without I/O and without a clock, which both writers
//! drive.
//!
//! A stream begins with `retry:`. It is held until its workspace is confirmed. Then it gets the
//! `connected` event, a replay where it resumes, and events as they arrive. Heartbeats fill the
//! pauses.
//!
//! The stream ends when the node drains, when it reaches the age limit, or when its authorization
//! expires. It also ends when it is revoked, when it lags, or when its workspace is not available.
//!
//! Times are [`Tick`]s of the writer. The writer draws every random part (spread of `retry:`,
//! heartbeats and ends) and passes it in.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::connected::connected;
use super::subscriber::{Next, Subscriber};
use tidings_event::control;
use tidings_event::control::ReconnectReason;
use tidings_event::{ConnectionId, EventWatch, SchemaVersion};

/// Milliseconds since a start that the writer chooses.
pub type Tick = u64;

/// A time that never comes.
pub const NEVER: Tick = Tick::MAX;

/// The time after which a held stream gets a heartbeat. So a client distinguishes a workspace that
/// is not confirmed from a proxy that withholds the stream.
const HELD_HEARTBEAT_MS: Tick = 1_000;

/// The times at which a stream ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamEnds {
    /// The age limit or the end that a drain sets, whichever is earlier.
    at: Tick,
    /// The end of the authorization, such as the `exp` of a token (RFC 7519 section 4.1.4).
    expires: Tick,
    /// The reason for `at`.
    reason: ReconnectReason,
}

impl StreamEnds {
    /// Creates the ends of a stream that reaches the age limit at `aged` and loses its
    /// authorization at `expires`. [`NEVER`] means that there is no such time.
    #[must_use]
    pub fn new(aged: Tick, expires: Tick) -> Self {
        Self { at: aged, expires, reason: ReconnectReason::Aged }
    }

    /// Ends the stream at `at` because the node drains, unless it ends before.
    pub fn drain(&mut self, at: Tick) {
        if at < self.at {
            (self.at, self.reason) = (at, ReconnectReason::Draining);
        }
    }

    /// The end of the authorization; [`NEVER`] if it has none.
    #[must_use]
    pub fn expires(&self) -> Tick {
        self.expires
    }

    /// Moves the end of the authorization, because the wall clock was set.
    pub fn set_expires(&mut self, expires: Tick) {
        self.expires = expires;
    }

    /// Returns the reason for which the stream has to have ended by `now`, if it has to.
    #[must_use]
    pub fn due(&self, now: Tick) -> Option<ReconnectReason> {
        if self.expires <= now {
            return Some(ReconnectReason::Expired);
        }
        (self.at <= now).then_some(self.reason)
    }

    /// The earliest end; [`NEVER`] if there is none.
    #[must_use]
    pub fn next(&self) -> Tick {
        self.at.min(self.expires)
    }
}

/// The stage that a stream has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LifecycleStage {
    /// The writer has sent nothing yet.
    Opening,
    /// The workspace is not confirmed yet.
    Held,
    /// The writer has sent the `connected` event.
    Joined,
}

/// The state of one stream until a broadcast serves it or until it ends.
#[derive(Debug)]
pub struct StreamLifecycle {
    stage: LifecycleStage,
    /// The time at which a held stream ends.
    held_until: Tick,
    /// The time of the next heartbeat; [`NEVER`] if the writer has a schedule of its own.
    heartbeat_at: Tick,
    /// The time of the one heartbeat that a stream gets because it is held.
    held_heartbeat_at: Tick,
}

/// The state of a stream at one time, as its writer knows it.
#[derive(Debug, Clone, Copy)]
pub struct StreamMoment<'a> {
    /// The current time.
    pub now: Tick,
    /// The times at which the stream ends by itself.
    pub ends: &'a StreamEnds,
    /// The reason for which the node closes the stream, if it does.
    pub revoked: Option<ReconnectReason>,
    /// The interval of heartbeats, in milliseconds, which the client learns.
    pub heartbeat_ms: u64,
    /// The version of the schemas of the node, which the client learns.
    pub schemas: Option<SchemaVersion>,
}

/// The next action of a writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamStep {
    /// Send these bytes: one frame, or several in a row.
    Write(Bytes),
    /// Send these bytes, an event of the application.
    Deliver(Bytes),
    /// The same for a sampled event. The writer notes its delivery.
    DeliverWatched(Bytes, Arc<EventWatch>),
    /// Send these bytes, and set the next heartbeat.
    Heartbeat(Bytes),
    /// Poll again at this time or when the task is woken. [`NEVER`]: only when it is woken.
    Wait(Tick),
    /// Send `tidings.reconnect` with this reason, and nothing after it.
    End(ReconnectReason),
}

impl StreamLifecycle {
    /// Creates a stream that is held until `held_until` at most and has its first heartbeat at
    /// `heartbeat_at`.
    #[must_use]
    pub fn new(held_until: Tick, heartbeat_at: Tick) -> Self {
        Self { stage: LifecycleStage::Opening, held_until, heartbeat_at, held_heartbeat_at: NEVER }
    }

    /// Whether the writer has sent nothing yet.
    #[must_use]
    pub fn is_opening(&self) -> bool {
        self.stage == LifecycleStage::Opening
    }

    /// Sets the time of the next heartbeat.
    pub fn set_heartbeat(&mut self, at: Tick) {
        self.heartbeat_at = at;
    }

    /// The earliest time at which a step is due without an event.
    #[must_use]
    pub fn next_at(&self, ends: &StreamEnds) -> Tick {
        // A stream that is opening is polled at once, and most are confirmed by then.
        let held = match self.stage {
            LifecycleStage::Held => self.held_until.min(self.held_heartbeat_at),
            LifecycleStage::Opening | LifecycleStage::Joined => NEVER,
        };
        ends.next().min(held).min(self.heartbeat_at)
    }

    /// Returns the reason for which the stream has to end by `now`, without polling its subscriber.
    #[must_use]
    pub fn due(&self, now: Tick, ends: &StreamEnds) -> Option<ReconnectReason> {
        let is_over = self.stage == LifecycleStage::Held && self.held_until <= now;
        ends.due(now).or(is_over.then_some(ReconnectReason::Unavailable))
    }

    /// Returns the next step. `retry_ms` draws the `retry:` value. An end precedes every event that
    /// waits, so a client without authorization gets none. The writer does not call it again after
    /// [`StreamStep::End`].
    pub fn poll(
        &mut self,
        moment: StreamMoment<'_>,
        connection: ConnectionId,
        retry_ms: impl FnOnce() -> u64,
        subscriber: &mut Subscriber,
        context: &Context<'_>,
    ) -> StreamStep {
        let StreamMoment { now, ends, revoked, heartbeat_ms, schemas } = moment;
        if self.stage == LifecycleStage::Opening {
            self.stage = LifecycleStage::Held;
            self.held_heartbeat_at = now.saturating_add(HELD_HEARTBEAT_MS);
            return StreamStep::Write(control::retry(retry_ms()));
        }
        if let Some(reason) = ends.due(now).or(revoked) {
            return StreamStep::End(reason);
        }
        match subscriber.poll_next(context) {
            Poll::Ready(Next::Joined(joined)) => {
                self.stage = LifecycleStage::Joined;
                let workspace = subscriber.workspace();
                StreamStep::Write(connected(joined, workspace, connection, heartbeat_ms, schemas))
            }
            Poll::Ready(Next::Event(bytes)) => StreamStep::Deliver(bytes),
            Poll::Ready(Next::Watched(bytes, watch)) => StreamStep::DeliverWatched(bytes, watch),
            Poll::Ready(Next::Notice(bytes)) => StreamStep::Write(bytes),
            Poll::Ready(Next::Lagging) => StreamStep::End(ReconnectReason::Lagging),
            Poll::Ready(Next::Unavailable) => StreamStep::End(ReconnectReason::Unavailable),
            Poll::Pending => match self.due(now, ends) {
                Some(reason) => StreamStep::End(reason),
                None if self.heartbeat_at <= now => StreamStep::Heartbeat(Self::heartbeat(subscriber)),
                None if self.stage == LifecycleStage::Held && self.held_heartbeat_at <= now => {
                    self.held_heartbeat_at = NEVER;
                    StreamStep::Write(Self::heartbeat(subscriber))
                }
                None => StreamStep::Wait(self.next_at(ends)),
            },
        }
    }

    /// Encodes a heartbeat at the position of a subscriber.
    #[must_use]
    pub fn heartbeat(subscriber: &Subscriber) -> Bytes {
        control::heartbeat(subscriber.position(), subscriber.is_live())
    }
}
