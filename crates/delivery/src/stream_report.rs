//! The state of open streams, for operators. The writers are asked for it, so an idle stream
//! stores nothing for it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use slab::Slab;

use super::stream_stats::StreamStats;
use tidings_event::workspace::WorkspaceId;
use tidings_event::{ConnectionId, Position, UserId};
use tidings_hub::{Subscriber, SubscriptionFilter};

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
pub struct BodyStreams(Mutex<Slab<Arc<BodyProgress>>>);

/// The place of a stream in the list; dropping it removes the stream.
#[derive(Debug)]
pub(super) struct BodyEntry {
    list: Arc<BodyStreams>,
    key: usize,
    progress: Arc<BodyProgress>,
}

/// The state of one stream of the HTTP server.
#[derive(Debug)]
struct BodyProgress {
    workspace: WorkspaceId,
    connection: ConnectionId,
    user: Option<UserId>,
    address: SocketAddr,
    client: IpAddr,
    began: Instant,
    types: Option<Vec<String>>,
    now: Mutex<BodyMoment>,
}

/// The state that changes.
#[derive(Debug, Clone, Copy, Default)]
struct BodyMoment {
    events: u64,
    bytes: u64,
    position: Option<Position>,
    /// The number of the next frame in the ring, once the stream reads the ring.
    cursor: Option<u64>,
    has_ended: bool,
}

impl BodyStreams {
    /// Adds a stream.
    pub(super) fn add(self: &Arc<Self>, stats: &StreamStats, subscriber: &Subscriber) -> BodyEntry {
        let (address, client) = stats.addresses();
        let progress = Arc::new(BodyProgress {
            workspace: subscriber.workspace().clone(),
            connection: stats.stream_guard.id(),
            user: stats.user().cloned(),
            address,
            client,
            began: Instant::now(),
            types: types_of(subscriber.filter()),
            now: Mutex::default(),
        });
        let key = self.0.lock().insert(Arc::clone(&progress));
        BodyEntry { list: Arc::clone(self), key, progress }
    }

    /// Returns the streams of a workspace, at most `most` of them. `head` is the number of the next
    /// frame of its ring.
    #[must_use]
    pub fn list(&self, workspace: &WorkspaceId, head: u64, most: usize) -> StreamList {
        // Outside of the lock, because each stream takes it when it opens.
        let all: Vec<_> = self.0.lock().iter().map(|(_, progress)| Arc::clone(progress)).collect();
        let mut list = StreamList::default();
        for progress in all.iter().filter(|progress| progress.workspace == *workspace) {
            list.add(most, || Some(progress.report(head)));
        }
        list
    }
}

impl BodyEntry {
    /// Notes the state of the stream.
    pub(super) fn note(&self, stats: &StreamStats, subscriber: &Subscriber, has_ended: bool) {
        let moment = BodyMoment {
            events: stats.events,
            bytes: stats.bytes,
            position: subscriber.position().copied(),
            cursor: subscriber.ring_cursor(),
            has_ended,
        };
        *self.progress.now.lock() = moment;
    }
}

impl Drop for BodyEntry {
    fn drop(&mut self) {
        self.list.0.lock().try_remove(self.key);
    }
}

impl BodyProgress {
    fn report(&self, head: u64) -> StreamReport {
        let now = *self.now.lock();
        StreamReport {
            connection: self.connection,
            user: self.user.clone(),
            address: self.address,
            client: self.client,
            age: self.began.elapsed(),
            position: now.position,
            events_behind: now.cursor.map(|cursor| head.saturating_sub(cursor)),
            bytes_behind: None,
            events: now.events,
            bytes: now.bytes,
            writer: StreamWriter::Body,
            phase: match now.cursor {
                _ if now.has_ended => StreamPhase::Ending,
                Some(_) => StreamPhase::Following,
                None => StreamPhase::CatchingUp,
            },
            types: self.types.clone(),
        }
    }
}
