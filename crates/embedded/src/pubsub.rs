//! Channels, patterns and their subscribers: the core of the bus. No I/O.

use std::collections::btree_map::Entry as PatternEntry;
use std::collections::hash_map::Entry as ChannelEntry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::listener::output_buffer::OutputBuffer;
use crate::protocol::reply::{Reply, SharedReply};
use tidings_event::BusHandler;
use tidings_event::workspace::WorkspaceId;

pub(crate) mod glob;
pub(crate) mod subscriber;

/// Channels, patterns, and the node's own subscriptions.
///
/// One lock holds a message until its last receiver has it. So all messages have one order, the
/// same for the node and for every Redis client. No step waits under the lock: an [`OutputBuffer`]
/// takes bytes or disconnects its client, a [`BusHandler`] returns quickly. The handler must not
/// call back.
pub(crate) struct PubSub {
    prefix: String,
    control: String,
    clients: AtomicU64,
    state: Mutex<PubSubState>,
}

#[derive(Default)]
struct PubSubState {
    bus_handler: Option<Arc<dyn BusHandler>>,
    /// The workspaces whose subscription was confirmed to the handler.
    confirmed: HashSet<WorkspaceId>,
    channels: HashMap<Bytes, Vec<PubSubClient>>,
    patterns: BTreeMap<Bytes, Vec<PubSubClient>>,
}

/// A Redis client, as `PubSub` knows it.
#[derive(Debug, Clone)]
pub(crate) struct PubSubClient {
    pub(crate) id: ClientId,
    pub(crate) output_buffer: Arc<OutputBuffer>,
}

/// The number of a Redis client, from 1, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientId(pub(crate) u64);

/// The two kinds of subscriptions of a Redis client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubscriptionKind {
    /// One channel.
    Channel,
    /// All channels whose names match.
    Pattern,
}

impl PubSub {
    /// Creates it without subscribers. A workspace's channel is the prefix and its id; the handler
    /// gets the messages of the control channel as commands.
    pub(crate) fn new(channel_prefix: &str, control: &str) -> Self {
        Self {
            prefix: channel_prefix.to_owned(),
            control: control.to_owned(),
            clients: AtomicU64::new(1),
            state: Mutex::default(),
        }
    }

    /// The next client's number.
    pub(crate) fn next_client(&self) -> ClientId {
        ClientId(self.clients.fetch_add(1, Ordering::Relaxed))
    }

    /// The prefix of a workspace's channel.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The workspace that a channel belongs to, if it is a workspace's.
    pub(crate) fn workspace(&self, channel: &[u8]) -> Option<WorkspaceId> {
        self.workspace_text(channel).and_then(|text| WorkspaceId::parse(text).ok())
    }

    fn workspace_text<'a>(&self, channel: &'a [u8]) -> Option<&'a str> {
        std::str::from_utf8(channel.strip_prefix(self.prefix.as_bytes())?).ok()
    }

    /// Delivers messages of confirmed workspaces to this handler from now on.
    pub(crate) fn attach(&self, bus_handler: Arc<dyn BusHandler>) {
        let mut state = self.state.lock();
        bus_handler.control_confirmed();
        state.bus_handler = Some(bus_handler);
    }

    /// Ends all delivery to the handler.
    pub(crate) fn detach(&self) {
        let mut state = self.state.lock();
        state.confirmed.clear();
        let bus_handler = state.bus_handler.take();
        drop(state);
        drop(bus_handler);
    }

    /// Subscribes the node to a workspace, or confirms an existing subscription again.
    pub(crate) fn confirm(&self, workspace: &WorkspaceId) {
        let mut state = self.state.lock();
        state.confirmed.insert(workspace.clone());
        if let Some(bus_handler) = &state.bus_handler {
            bus_handler.confirmed(workspace);
        }
    }

    /// Ends the node's subscription to a workspace.
    pub(crate) fn release(&self, workspace: &WorkspaceId) {
        self.state.lock().confirmed.remove(workspace);
    }

    /// Delivers a message to all subscribers of a channel. Returns their number: Redis clients,
    /// each once for each way in which it is subscribed, and the node itself.
    pub(crate) fn publish(&self, channel: &Bytes, message: &Bytes) -> usize {
        self.deliver(&self.state.lock(), channel, message)
    }

    /// The number of receivers of a message on a channel now.
    pub(crate) fn receivers(&self, channel: &Bytes) -> usize {
        let state = self.state.lock();
        let node =
            self.confirmed(&state, channel).is_some() || self.control_handler(&state, channel).is_some();
        let patterns = state.patterns.iter().filter(|(pattern, _)| glob::matches(pattern, channel));
        let by_pattern: usize = patterns.map(|(_, members)| members.len()).sum();
        usize::from(node) + state.channels.get(channel).map_or(0, Vec::len) + by_pattern
    }

    /// Reports an interruption to the handler, and confirms its subscriptions again.
    pub(crate) fn interrupt(&self) {
        let state = self.state.lock();
        if let Some(bus_handler) = &state.bus_handler {
            bus_handler.interrupted();
            for workspace in &state.confirmed {
                bus_handler.confirmed(workspace);
            }
        }
    }

    /// The handler and the workspace, if the handler gets the messages of the channel.
    fn confirmed<'a>(
        &self,
        state: &'a PubSubState,
        channel: &[u8],
    ) -> Option<(&'a Arc<dyn BusHandler>, &'a WorkspaceId)> {
        Some((state.bus_handler.as_ref()?, state.confirmed.get(self.workspace_text(channel)?)?))
    }

    /// The handler, if the channel is the control channel.
    fn control_handler<'a>(&self, state: &'a PubSubState, channel: &[u8]) -> Option<&'a Arc<dyn BusHandler>> {
        state.bus_handler.as_ref().filter(|_| channel == self.control.as_bytes())
    }

    fn deliver(&self, state: &PubSubState, channel: &Bytes, message: &Bytes) -> usize {
        let mut receivers = 0;
        if let Some((bus_handler, workspace)) = self.confirmed(state, channel) {
            bus_handler.message(workspace, message.clone());
            receivers += 1;
        }
        if let Some(bus_handler) = self.control_handler(state, channel) {
            bus_handler.control(message.clone());
            receivers += 1;
        }
        let data = || [Reply::Bulk(channel.clone()), Reply::Bulk(message.clone())];
        if let Some(members) = state.channels.get(channel) {
            let mut parts = vec![Reply::name("message")];
            parts.extend(data());
            receivers += send(members, parts);
        }
        for (pattern, members) in &state.patterns {
            if glob::matches(pattern, channel) {
                let mut parts = vec![Reply::name("pmessage"), Reply::Bulk(pattern.clone())];
                parts.extend(data());
                receivers += send(members, parts);
            }
        }
        receivers
    }

    /// Subscribes a client that is not subscribed yet, and confirms it before any message can
    /// follow.
    pub(crate) fn enter(
        &self,
        kind: SubscriptionKind,
        name: &Bytes,
        member: &PubSubClient,
        confirmation: &Reply,
    ) {
        let mut state = self.state.lock();
        member.output_buffer.reply(confirmation);
        match kind {
            SubscriptionKind::Channel => state.channels.entry(name.clone()).or_default().push(member.clone()),
            SubscriptionKind::Pattern => state.patterns.entry(name.clone()).or_default().push(member.clone()),
        }
    }

    /// Ends a client's subscription. No message of it follows.
    pub(crate) fn leave(&self, kind: SubscriptionKind, name: &Bytes, client: ClientId) {
        let mut state = self.state.lock();
        match kind {
            SubscriptionKind::Channel => {
                if let ChannelEntry::Occupied(mut entry) = state.channels.entry(name.clone())
                    && is_empty_without(entry.get_mut(), client)
                {
                    entry.remove();
                }
            }
            SubscriptionKind::Pattern => {
                if let PatternEntry::Occupied(mut entry) = state.patterns.entry(name.clone())
                    && is_empty_without(entry.get_mut(), client)
                {
                    entry.remove();
                }
            }
        }
    }

    /// The channels with subscribers by name, the node included, that match the pattern. `None` if
    /// a reply with their names takes more than so many bytes.
    pub(crate) fn channels(&self, pattern: Option<&[u8]>, bytes_max: usize) -> Option<Vec<Bytes>> {
        let state = self.state.lock();
        let clients = state.channels.keys().cloned();
        let node = state
            .confirmed
            .iter()
            .map(|workspace| Bytes::from(format!("{}{workspace}", self.prefix)))
            .filter(|channel| !state.channels.contains_key(channel));
        let wanted = |channel: &Bytes| pattern.is_none_or(|pattern| glob::matches(pattern, channel));
        let mut bytes = 0;
        let within = |channel: Bytes| {
            bytes += size_of::<Reply>() + channel.len();
            (bytes <= bytes_max).then_some(channel)
        };
        clients.chain(node).filter(wanted).map(within).collect()
    }

    /// The number of subscribers of a channel by name, the node included.
    pub(crate) fn listeners(&self, channel: &[u8]) -> usize {
        let state = self.state.lock();
        let node = self.workspace_text(channel).is_some_and(|text| state.confirmed.contains(text))
            || self.control_handler(&state, channel).is_some();
        state.channels.get(channel).map_or(0, Vec::len) + usize::from(node)
    }

    /// The number of patterns with subscribers.
    pub(crate) fn patterns(&self) -> usize {
        self.state.lock().patterns.len()
    }
}

impl fmt::Debug for PubSub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubSub").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

fn send(members: &[PubSubClient], parts: Vec<Reply>) -> usize {
    let broadcast = SharedReply::new(Reply::Push(parts));
    for member in members {
        member.output_buffer.broadcast(&broadcast);
    }
    members.len()
}

fn is_empty_without(members: &mut Vec<PubSubClient>, client: ClientId) -> bool {
    members.retain(|member| member.id != client);
    members.is_empty()
}

#[cfg(test)]
mod tests;
