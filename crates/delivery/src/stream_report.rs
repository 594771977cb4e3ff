//! The state of open streams, for operators. The writers are asked for it, so an idle stream
//! stores nothing for it.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use slab::Slab;

use super::event_trace::{EventStreams, TracedEvent};
use super::stream_stats::StreamStats;
use tidings_event::workspace::WorkspaceId;
use tidings_event::{ConnectionId, Position, UserId, UserKey};
use tidings_hub::{Subscriber, SubscriptionFilter, TypeFilter};

/// The writer of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamWriter {
    /// A thread of the engine.
    Engine,
    /// The HTTP server.
    Body,
}

/// The part of its events that a stream has received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamPhase {
    /// It waits for the subscription of its workspace, or reads the log.
    CatchingUp,
    /// It gets events as they arrive.
    Following,
    /// It ends.
    Ending,
}

/// The state of one open stream.
#[derive(Debug, Clone)]
pub struct StreamReport {
    /// Its id.
    pub connection: ConnectionId,
    /// The user, if authentication found one.
    pub user: Option<UserId>,
    /// The other end of the connection.
    pub address: SocketAddr,
    /// The client address, as trusted proxies report it.
    pub client: IpAddr,
    /// The time since it was opened.
    pub age: Duration,
    /// The position up to which the client has everything, if it is known.
    pub position: Option<Position>,
    /// The events that the client lacks, if they are known.
    pub events_behind: Option<u64>,
    /// The bytes that the client lacks, if they are known.
    pub bytes_behind: Option<u64>,
    /// The events that were written to it.
    pub events: u64,
    /// The bytes that were written to it.
    pub bytes: u64,
    /// Its writer.
    pub writer: StreamWriter,
    /// Its phase.
    pub phase: StreamPhase,
    /// The event types that the client asks for; `None` for all.
    pub types: Option<Vec<String>>,
}

/// Streams of a workspace.
#[derive(Debug, Default)]
pub struct StreamList {
    /// The state of some of them.
    pub streams: Vec<StreamReport>,
    /// The number of all.
    pub count: usize,
}

impl StreamList {
    /// Counts a stream, and adds its report if there are fewer than `most`.
    pub(super) fn add(&mut self, most: usize, report: impl FnOnce() -> Option<StreamReport>) {
        self.count += 1;
        if self.streams.len() < most {
            self.streams.extend(report());
        }
    }

    /// Adds the streams of another writer, at most `most` of all.
    pub fn join(&mut self, other: Self, most: usize) {
        self.count += other.count;
        let free = most.saturating_sub(self.streams.len());
        self.streams.extend(other.streams.into_iter().take(free));
    }
}

/// The types of a filter.
pub(super) fn types_of(filter: &SubscriptionFilter) -> Option<Vec<String>> {
    filter.types.as_ref().map(|types| types.types().map(str::to_owned).collect())
}

/// The streams that the HTTP server writes. Each has an entry for as long as it exists.
#[derive(Debug, Default)]
pub struct BodyStreams(Mutex<Slab<Weak<BodyStream>>>);

/// The place of a stream in the list.
pub(super) type BodyKey = usize;

/// The part of a stream of the HTTP server that others read.
#[derive(Debug)]
pub(super) struct BodyStream {
    stats: Mutex<StreamStats>,
    place: Mutex<BodyPlace>,
    types: Option<TypeFilter>,
}

/// The place of a stream of the HTTP server.
#[derive(Debug, Clone, Copy, Default)]
struct BodyPlace {
    has_ended: bool,
    /// The number of the next frame in the ring; `None` while the stream waits for its subscription
    /// or reads the log.
    cursor: Option<u64>,
    /// The position up to which it has everything.
    position: Option<Position>,
}

impl BodyStreams {
    /// Adds a stream.
    pub(super) fn add(&self, stats: StreamStats, subscriber: &Subscriber) -> (BodyKey, Arc<BodyStream>) {
        let types = subscriber.filter().types.clone();
        let stream = BodyStream { stats: Mutex::new(stats), place: Mutex::default(), types };
        let stream = Arc::new(stream);
        let key = self.0.lock().insert(Arc::downgrade(&stream));
        (key, stream)
    }

    /// Removes a stream.
    pub(super) fn remove(&self, key: BodyKey) {
        self.0.lock().try_remove(key);
    }

    /// Returns the streams of a workspace, at most `most` of them. The ring of the workspace has
    /// its next frame at `head`, after the position `at`.
    #[must_use]
    pub fn list(&self, workspace: &WorkspaceId, head: u64, at: Option<Position>, most: usize) -> StreamList {
        self.list_of(workspace, None, head, at, most)
    }

    /// The same for the streams of one user; `None` for all users.
    #[must_use]
    pub fn list_of(
        &self,
        workspace: &WorkspaceId,
        user: Option<UserKey>,
        head: u64,
        at: Option<Position>,
        most: usize,
    ) -> StreamList {
        let mut list = StreamList::default();
        self.each_in(workspace, |stream, stats| {
            if user.is_none() || stats.user().map(UserId::key) == user {
                list.add(most, || Some(stream.report(stats, head, at)));
            }
        });
        list
    }

    /// Returns the streams of a workspace that have an event, and those that lack it. The ring of
    /// the workspace has its next frame at `head`, after the position `at`.
    #[must_use]
    pub fn trace(&self, event: &TracedEvent, head: u64, at: Option<Position>) -> EventStreams {
        let mut streams = EventStreams::default();
        self.each_in(&event.workspace, |stream, stats| {
            let place = *stream.place.lock();
            if place.has_ended {
                return;
            }
            let (types, user) = (stream.types.clone(), stats.user().map(UserId::key));
            let filter = SubscriptionFilter { types, user, ..SubscriptionFilter::default() };
            let is_past = event.is_past(place.cursor, place.position.as_ref());
            streams.add(event, &filter, stats.age(), is_past, || Some(stream.report(stats, head, at)));
        });
        streams
    }

    fn each_in(&self, workspace: &WorkspaceId, mut visit: impl FnMut(&BodyStream, &StreamStats)) {
        // Outside of the lock, because each stream takes it when it opens.
        let all: Vec<_> = self.0.lock().iter().map(|(_, stream)| Weak::clone(stream)).collect();
        for stream in all.iter().filter_map(Weak::upgrade) {
            let stats = stream.stats.lock();
            if stats.stream_guard.workspace().as_ref() == Some(workspace) {
                visit(&stream, &stats);
            }
        }
    }
}

impl BodyStreams {
    /// Returns a stream of a workspace that lacks the frame with this number, the one that lacks
    /// most.
    #[must_use]
    pub fn most_behind(&self, workspace: &WorkspaceId, number: u64) -> Option<ConnectionId> {
        let all: Vec<_> = self.0.lock().iter().map(|(_, stream)| Weak::clone(stream)).collect();
        let behind = all.iter().filter_map(Weak::upgrade).filter_map(|stream| {
            let cursor = stream.place.lock().cursor?;
            let stats = stream.stats.lock();
            let is_behind = cursor <= number && stats.stream_guard.workspace().as_ref() == Some(workspace);
            is_behind.then(|| (cursor, stats.stream_guard.id()))
        });
        behind.min_by_key(|(cursor, _)| *cursor).map(|(_, id)| id)
    }
}

impl BodyStream {
    /// The statistics of the stream. The lock is held for a moment only.
    pub(super) fn stats(&self) -> MutexGuard<'_, StreamStats> {
        self.stats.lock()
    }

    /// Notes the place of the stream.
    pub(super) fn note(&self, subscriber: &Subscriber, has_ended: bool) {
        let cursor = subscriber.ring_cursor().filter(|_| !has_ended);
        *self.place.lock() = BodyPlace { has_ended, cursor, position: subscriber.position().copied() };
    }

    fn report(&self, stats: &StreamStats, head: u64, at: Option<Position>) -> StreamReport {
        let (address, client) = stats.addresses();
        let BodyPlace { has_ended, cursor, .. } = *self.place.lock();
        let phase = match cursor {
            _ if has_ended => StreamPhase::Ending,
            None => StreamPhase::CatchingUp,
            Some(_) => StreamPhase::Following,
        };
        StreamReport {
            connection: stats.stream_guard.id(),
            user: stats.user().cloned(),
            address,
            client,
            age: stats.age(),
            position: at.filter(|_| cursor == Some(head)),
            events_behind: cursor.map(|cursor| head.saturating_sub(cursor)),
            bytes_behind: None,
            events: stats.events,
            bytes: stats.bytes,
            writer: StreamWriter::Body,
            phase,
            types: self.types.as_ref().map(|types| types.types().map(str::to_owned).collect()),
        }
    }
}
