//! The streams of one workspace on a shard, for operators.

use tokio::sync::oneshot;

use super::Engine;
use super::client::{EngineClient, Phase};
use super::shard::Shard;
use super::shard_sender::ShardMessage;
use crate::stream_report::types_of;
use crate::stream_stats::StreamStats;
use crate::{StreamList, StreamPhase, StreamReport, StreamWriter};
use tidings_event::workspace::WorkspaceId;
use tidings_event::{UserId, UserKey};

/// A request for the streams of a workspace.
#[derive(Debug)]
pub(super) struct ListRequest {
    workspace: WorkspaceId,
    /// The user of the streams; `None` for all.
    user: Option<UserKey>,
    most: usize,
    reply: oneshot::Sender<StreamList>,
}

impl Engine {
    /// Returns the streams of a workspace, at most `most` of them. Each shard looks once at each of
    /// its streams, within one turn; so the caller bounds how often it asks. Cancellation safe.
    pub async fn list(&self, workspace: &WorkspaceId, most: usize) -> StreamList {
        self.list_of(workspace, None, most).await
    }

    /// The same for the streams of one user; `None` for all users.
    pub async fn list_of(&self, workspace: &WorkspaceId, user: Option<UserKey>, most: usize) -> StreamList {
        let replies: Vec<_> = self
            .shards
            .iter()
            .map(|shard| {
                let (reply, received) = oneshot::channel();
                let request = ListRequest { workspace: workspace.clone(), user, most, reply };
                shard.send(ShardMessage::List(Box::new(request)));
                received
            })
            .collect();
        let mut all = StreamList::default();
        for received in replies {
            // A shard that has ended has no streams.
            all.join(received.await.unwrap_or_default(), most);
        }
        all
    }
}

impl Shard {
    /// Replies to a request for the streams of a workspace.
    pub(super) fn list(&self, request: ListRequest) {
        let ListRequest { workspace, user, most, reply } = request;
        let mut list = StreamList::default();
        for (_, client) in &self.clients {
            let is_user = |stats: &StreamStats| stats.user().map(UserId::key) == user;
            let is_of_user = user.is_none() || client.stream_stats.as_ref().is_some_and(is_user);
            if is_of_user && is_in(client, &workspace) {
                list.add(most, || self.report(client));
            }
        }
        // The reader may have given up.
        let _ = reply.send(list);
    }

    /// The state of a stream; `None` once its last byte is sent.
    pub(super) fn report(&self, client: &EngineClient) -> Option<StreamReport> {
        let stats = client.stream_stats.as_ref()?;
        let (address, forwarded_for) = stats.addresses();
        let report = StreamReport {
            connection: stats.stream_guard.id(),
            user: stats.user().cloned(),
            address,
            client: forwarded_for,
            age: stats.age(),
            position: None,
            events_behind: None,
            bytes_behind: None,
            events: stats.events,
            bytes: stats.bytes,
            writer: StreamWriter::Engine,
            phase: StreamPhase::Ending,
            types: None,
        };
        Some(match &client.phase {
            Phase::CatchingUp(catching_up) => {
                let subscriber = &catching_up.subscriber;
                let behind = subscriber.frames_behind();
                let own = client.outgoing.as_ref().map(|outgoing| outgoing.len() as u64);
                StreamReport {
                    position: subscriber.position().copied(),
                    events_behind: behind,
                    bytes_behind: own.filter(|_| behind == Some(0)),
                    // A client with `types` follows the ring by itself.
                    phase: behind.map_or(StreamPhase::CatchingUp, |_| StreamPhase::Following),
                    types: types_of(subscriber.filter()),
                    ..report
                }
            }
            Phase::Broadcasting(cursor) => {
                let broadcast = self.broadcasts.get(cursor.broadcast as usize)?;
                let buffer = &broadcast.buffer;
                let missing = buffer.given(cursor.cursor, buffer.head(), cursor.user);
                StreamReport {
                    position: (cursor.cursor == buffer.head()).then(|| broadcast.position()),
                    events_behind: Some(missing.events),
                    bytes_behind: Some(missing.bytes),
                    phase: StreamPhase::Following,
                    ..report
                }
            }
            Phase::Ending { .. } | Phase::Closing(_) => report,
        })
    }
}

/// Whether a stream is one of a workspace.
pub(super) fn is_in(client: &EngineClient, workspace: &WorkspaceId) -> bool {
    match &client.phase {
        Phase::CatchingUp(catching_up) => catching_up.subscriber.workspace() == workspace,
        Phase::Broadcasting(cursor) => cursor.subscription_guard.workspace() == workspace,
        Phase::Ending { _guard: Some(guard), .. } => guard.workspace() == workspace,
        Phase::Ending { .. } | Phase::Closing(_) => false,
    }
}
