//! Channels, patterns and their subscribers: the core of the bus. No I/O.

use std::collections::{HashMap, HashSet};
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
    /// The subscribers of each channel, and those of each pattern.
    members: [HashMap<Bytes, Vec<PubSubClient>>; 2],
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
        self.deliver(channel, Some(message))
    }

    /// Delivers a message to all subscribers of the control channel.
    pub(crate) fn publish_control(&self, message: &Bytes) {
        self.deliver(&Bytes::from(self.control.clone()), Some(message));
    }

    /// The number of receivers of a message on a channel now.
    pub(crate) fn receivers(&self, channel: &Bytes) -> usize {
        self.deliver(channel, None)
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

    /// Delivers a message, if there is one, to all receivers. Returns their number.
    fn deliver(&self, channel: &Bytes, message: Option<&Bytes>) -> usize {
        let state = self.state.lock();
        let mut receivers = 0;
        if let Some(bus_handler) = &state.bus_handler {
            let workspace = self.workspace_text(channel).and_then(|text| state.confirmed.get(text));
            let is_control = channel == self.control.as_bytes();
            receivers += usize::from(workspace.is_some()) + usize::from(is_control);
            if let (Some(workspace), Some(message)) = (workspace, message) {
                bus_handler.message(workspace, message.clone());
            }
            if let (true, Some(message)) = (is_control, message) {
                bus_handler.control(message.clone());
            }
        }
        let [channels, patterns] = &state.members;
        let by_name = channels.get(channel).map(|members| (vec![Reply::name("message")], members));
        let by_pattern = patterns
            .iter()
            .filter(|(pattern, _)| glob::matches(pattern, channel))
            .map(|(pattern, members)| (vec![Reply::name("pmessage"), Reply::Bulk(pattern.clone())], members));
        for (mut parts, members) in by_name.into_iter().chain(by_pattern) {
            receivers += members.len();
            if let Some(message) = message {
                parts.extend([Reply::Bulk(channel.clone()), Reply::Bulk(message.clone())]);
                let broadcast = SharedReply::new(Reply::Push(parts));
                members.iter().for_each(|member| member.output_buffer.broadcast(&broadcast));
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
        state.members[kind as usize].entry(name.clone()).or_default().push(member.clone());
    }

    /// Ends a client's subscription. No message of it follows.
    pub(crate) fn leave(&self, kind: SubscriptionKind, name: &Bytes, client: ClientId) {
        let members = &mut self.state.lock().members[kind as usize];
        if let Some(of_name) = members.get_mut(name) {
            of_name.retain(|member| member.id != client);
            if of_name.is_empty() {
                members.remove(name);
            }
        }
    }

    /// The channels with subscribers by name, the node included, that match the pattern. `None` if
    /// a reply with their names takes more than so many bytes.
    pub(crate) fn channels(&self, pattern: &[u8], bytes_max: usize) -> Option<Vec<Bytes>> {
        let state = self.state.lock();
        let [channels, _] = &state.members;
        let of_node =
            state.confirmed.iter().map(|workspace| Bytes::from(format!("{}{workspace}", self.prefix)));
        let mut bytes = 0;
        channels
            .keys()
            .cloned()
            .chain(of_node.filter(|channel| !channels.contains_key(channel)))
            .filter(|channel| glob::matches(pattern, channel))
            .map(|channel| {
                bytes += size_of::<Reply>() + channel.len();
                (bytes <= bytes_max).then_some(channel)
            })
            .collect()
    }
}

impl fmt::Debug for PubSub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubSub").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
