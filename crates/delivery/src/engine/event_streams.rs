//! The streams of a shard that have an event, for operators.

use std::collections::HashMap;

use tokio::sync::oneshot;

use super::Engine;
use super::client::{EngineClient, Phase};
use super::listing::is_in;
use super::shard::Shard;
use super::shard_sender::ShardMessage;
use crate::{EventStreams, TracedEvent};
use tidings_hub::SubscriptionFilter;

/// A request for the streams that have an event.
#[derive(Debug)]
pub(super) struct TraceRequest {
    event: TracedEvent,
    reply: oneshot::Sender<EventStreams>,
}

impl Engine {
    /// Returns the streams that have an event, and those that lack it. Each shard looks once at
    /// each of its streams, within one turn; so the caller bounds how often it asks. Cancellation
    /// safe.
    pub async fn trace(&self, event: &TracedEvent) -> EventStreams {
        let replies: Vec<_> = self
            .shards
            .iter()
            .map(|shard| {
                let (reply, received) = oneshot::channel();
                let request = TraceRequest { event: event.clone(), reply };
                shard.send(ShardMessage::Trace(Box::new(request)));
                received
            })
            .collect();
        let mut all = EventStreams::default();
        for received in replies {
            // A shard that has ended has no streams.
            all.join(received.await.unwrap_or_default());
        }
        all
    }
}

impl Shard {
    /// Replies to a request for the streams that have an event.
    pub(super) fn trace(&self, request: TraceRequest) {
        let TraceRequest { event, reply } = request;
        let mut streams = EventStreams::default();
        let mut ends = HashMap::new();
        for (_, client) in &self.clients {
            if is_in(client, &event.workspace) {
                self.trace_client(client, &event, &mut ends, &mut streams);
            }
        }
        // The reader may have given up.
        let _ = reply.send(streams);
    }

    /// Counts a client. `ends` has the end of the event in the buffer of each broadcast, which all
    /// of its clients share.
    fn trace_client(
        &self,
        client: &EngineClient,
        event: &TracedEvent,
        ends: &mut HashMap<u32, u64>,
        streams: &mut EventStreams,
    ) {
        let Some(stats) = client.stream_stats.as_ref() else { return };
        let has_own = client.outgoing.as_ref().is_some_and(|outgoing| !outgoing.is_empty());
        let (filter, is_past) = match &client.phase {
            Phase::CatchingUp(catching_up) => {
                let subscriber = &catching_up.subscriber;
                let is_past = event.is_past(subscriber.ring_cursor(), subscriber.position());
                (subscriber.filter().clone(), is_past && !has_own)
            }
            Phase::Broadcasting(cursor) => {
                let Some(broadcast) = self.broadcasts.get(cursor.broadcast as usize) else { return };
                let filter = SubscriptionFilter { user: cursor.user, ..SubscriptionFilter::default() };
                let end = *ends.entry(cursor.broadcast).or_insert_with(|| broadcast.end_of_traced(event));
                (filter, cursor.cursor >= end && !has_own)
            }
            Phase::Ending { .. } | Phase::Closing(_) => return,
        };
        streams.add(event, &filter, stats.age(), is_past, || self.report(client));
    }
}
