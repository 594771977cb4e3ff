//! The registry of a node's open streams.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::hash::Hash;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use slab::Slab;

use super::selector::Selector;
use super::stream_guard::{Ending, OnClose, StreamGuard};
use tidings_event::workspace::WorkspaceId;
use tidings_event::{ConnectionId, NodeId};
use tidings_event::{Identity, Keys, UserKey};

/// Limits the open streams of a node; 0 means no limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct StreamLimits {
    /// On the node.
    pub per_node: usize,
    /// To one workspace.
    pub per_workspace: usize,
    /// Of one user.
    pub per_user: usize,
}

/// The limit that a new stream would exceed. A registry ends no stream to admit another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamBound {
    /// The streams of the node.
    #[error("this node has as many streams as limits.connections allows")]
    Node,
    /// The streams of a workspace.
    #[error("this workspace has as many streams on this node as limits.connections_per_workspace allows")]
    Workspace,
    /// The streams of a user.
    #[error("this user has as many streams on this node as limits.connections_per_user allows")]
    User,
}

impl StreamBound {
    /// All limits, in the order of declaration.
    pub const ALL: [Self; 3] = [Self::Node, Self::Workspace, Self::User];

    /// Returns the label in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "connections",
            Self::Workspace => "connections-per-workspace",
            Self::User => "connections-per-user",
        }
    }
}

/// A stream to register.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The identity of its client.
    pub identity: Identity,
}

/// Registers all open streams of a node.
#[derive(Debug)]
pub struct StreamRegistry {
    node: NodeId,
    state: Mutex<RegistryState>,
}

#[derive(Debug, Default)]
struct RegistryState {
    limits: StreamLimits,
    streams: Slab<OpenStream>,
    numbers: u64,
    /// Counted even without a limit, so that all streams of a workspace share the text of its id.
    by_workspace: HashMap<WorkspaceId, usize>,
    by_user: HashMap<UserKey, usize>,
}

#[derive(Debug)]
struct OpenStream {
    workspace: WorkspaceId,
    keys: Keys,
    number: u64,
    began: UnixMilliseconds,
    /// The receiver of the stream's ending.
    close_signal: Option<Arc<dyn OnClose>>,
    /// The number of the stream at its receiver.
    number_at_signal: u32,
    /// The first ending counts.
    ending: Option<Ending>,
}

/// The index of a stream in the registry.
pub(super) type StreamSlot = u32;

/// A time in half the bytes of `SystemTime`, because each stream has one.
type UnixMilliseconds = u64;

fn unix_milliseconds(at: SystemTime) -> UnixMilliseconds {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl StreamRegistry {
    /// Creates a registry without streams.
    #[must_use]
    pub fn new(node: NodeId, limits: StreamLimits) -> Self {
        Self { node, state: Mutex::new(RegistryState { limits, ..RegistryState::default() }) }
    }

    /// Replaces the limits. Open streams remain, also those beyond the new limits, and count.
    pub fn set_limits(&self, limits: StreamLimits) {
        let mut state = self.state.lock();
        let RegistryState { limits: current, streams, by_user, .. } = &mut *state;
        // Without a limit, users were not counted, or are no longer.
        by_user.clear();
        if limits.per_user > 0 {
            for user in streams.iter().filter_map(|(_, stream)| stream.keys.user) {
                *by_user.entry(user).or_default() += 1;
            }
        }
        *current = limits;
    }

    /// Registers a stream until its guard is dropped.
    ///
    /// # Errors
    ///
    /// Returns the [`StreamBound`] that the stream would exceed.
    pub fn register(self: &Arc<Self>, candidate: Candidate) -> Result<StreamGuard, StreamBound> {
        let mut state = self.state.lock();
        let RegistryState { limits, streams, numbers, by_workspace, by_user } = &mut *state;
        // The limit of connections does not cover this: one HTTP/2 connection carries many streams.
        if limits.per_node > 0 && streams.len() >= limits.per_node {
            return Err(StreamBound::Node);
        }
        if is_full(by_workspace, &candidate.workspace, limits.per_workspace) {
            return Err(StreamBound::Workspace);
        }
        let Candidate { workspace, identity } = candidate;
        let keys = identity.keys();
        if let Some(user) = &keys.user
            && is_full(by_user, user, limits.per_user)
        {
            return Err(StreamBound::User);
        }
        let workspace = increment(by_workspace, workspace);
        // Without a limit, users are not counted.
        if limits.per_user > 0
            && let Some(user) = keys.user
        {
            *by_user.entry(user).or_default() += 1;
        }
        let entry = streams.vacant_entry();
        // A node never has 2^32 open streams, so this error does not happen.
        let slot = StreamSlot::try_from(entry.key()).map_err(|_| StreamBound::Node)?;
        *numbers += 1;
        entry.insert(OpenStream {
            workspace,
            keys,
            number: *numbers,
            began: unix_milliseconds(SystemTime::now()),
            close_signal: None,
            number_at_signal: 0,
            ending: None,
        });
        Ok(StreamGuard::new(Arc::clone(self), slot))
    }

    pub(super) fn remove(&self, slot: StreamSlot) {
        let mut state = self.state.lock();
        let Some(stream) = state.streams.try_remove(slot as usize) else { return };
        decrement(&mut state.by_workspace, &stream.workspace);
        if let Some(user) = &stream.keys.user {
            decrement(&mut state.by_user, user);
        }
    }

    /// Returns the id of the stream in a slot; number 0, which no stream has, if the slot is free.
    pub(super) fn id(&self, slot: StreamSlot) -> ConnectionId {
        let number = self.state.lock().streams.get(slot as usize).map_or(0, |stream| stream.number);
        ConnectionId { node: self.node, number }
    }

    pub(super) fn workspace(&self, slot: StreamSlot) -> Option<WorkspaceId> {
        self.state.lock().streams.get(slot as usize).map(|stream| stream.workspace.clone())
    }

    pub(super) fn notify_on_close(
        &self,
        slot: StreamSlot,
        close_signal: Arc<dyn OnClose>,
        number: u32,
    ) -> Option<Ending> {
        let mut state = self.state.lock();
        let stream = state.streams.get_mut(slot as usize)?;
        (stream.close_signal, stream.number_at_signal) = (Some(close_signal), number);
        stream.ending
    }

    pub(super) fn ending(&self, slot: StreamSlot) -> Option<Ending> {
        self.state.lock().streams.get(slot as usize)?.ending
    }

    pub(super) fn end_one(&self, slot: StreamSlot, id: ConnectionId, ending: Ending) {
        let mut state = self.state.lock();
        let stream = state.streams.get_mut(slot as usize).filter(|stream| stream.number == id.number);
        let signal = stream.and_then(|stream| stream.end(ending));
        drop(state);
        if let Some((close_signal, number)) = signal {
            close_signal.on_close(number, ending);
        }
    }

    /// Ends the streams that match and were opened before a time; returns the count.
    pub fn end_opened_before(&self, selector: &Selector, before: SystemTime, ending: Ending) -> usize {
        // A stream from the future was opened before the clock was set back.
        let (now, before) = (unix_milliseconds(SystemTime::now()), unix_milliseconds(before));
        let is_old = |stream: &OpenStream| stream.began <= before || stream.began > now;
        self.end_streams(ending, |stream| is_old(stream) && self.is_selected(selector, stream))
    }

    /// Ends the streams that match, whenever they were opened; returns the count.
    pub fn end_matching(&self, selector: &Selector, ending: Ending) -> usize {
        self.end_streams(ending, |stream| self.is_selected(selector, stream))
    }

    /// Ends the streams that `predicate` matches; returns the count. `predicate` must not register
    /// or drop streams, because the registry is locked.
    pub fn end_where(&self, ending: Ending, predicate: impl Fn(&WorkspaceId, Keys) -> bool) -> usize {
        self.end_streams(ending, |stream| predicate(&stream.workspace, stream.keys))
    }

    fn is_selected(&self, selector: &Selector, stream: &OpenStream) -> bool {
        let id = ConnectionId { node: self.node, number: stream.number };
        selector.matches(&stream.workspace, stream.keys, Some(id))
    }

    fn end_streams(&self, ending: Ending, is_selected: impl Fn(&OpenStream) -> bool) -> usize {
        let (count, signals) = {
            let mut state = self.state.lock();
            let selected =
                state.streams.iter_mut().map(|(_, stream)| stream).filter(|stream| is_selected(stream));
            let (mut count, mut signals) = (0, Vec::new());
            for stream in selected {
                count += 1;
                signals.extend(stream.end(ending));
            }
            (count, signals)
        };
        // A receiver may drop its stream at once, which takes the lock.
        for (close_signal, number) in signals {
            close_signal.on_close(number, ending);
        }
        count
    }

    /// Returns the open streams of the node, of a workspace and of a user, and their limits.
    #[must_use]
    pub fn counts(&self, workspace: &WorkspaceId, user: Option<UserKey>) -> (StreamLimits, StreamLimits) {
        let state = self.state.lock();
        // Without a limit, users are not counted.
        let is_of_user = |stream: &OpenStream| stream.keys.user == user;
        let counts = StreamLimits {
            per_node: state.streams.len(),
            per_workspace: state.by_workspace.get(workspace).copied().unwrap_or_default(),
            per_user: match user {
                Some(_) => state.streams.iter().filter(|(_, stream)| is_of_user(stream)).count(),
                None => 0,
            },
        };
        (counts, state.limits)
    }

    /// Returns the number of open streams.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.lock().streams.len()
    }

    /// Returns whether no stream is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl OpenStream {
    /// Records the first ending; returns the receiver to notify, if there is one and it has not
    /// been notified.
    fn end(&mut self, ending: Ending) -> Option<(Arc<dyn OnClose>, u32)> {
        if self.ending.is_some() {
            return None;
        }
        self.ending = Some(ending);
        self.close_signal.clone().map(|close_signal| (close_signal, self.number_at_signal))
    }
}

fn is_full<K: Eq + Hash>(counts: &HashMap<K, usize>, key: &K, limit: usize) -> bool {
    limit > 0 && counts.get(key).is_some_and(|count| *count >= limit)
}

/// Counts one more; returns the key of the map.
fn increment<K: Eq + Hash + Clone>(counts: &mut HashMap<K, usize>, key: K) -> K {
    match counts.entry(key) {
        MapEntry::Occupied(mut entry) => {
            *entry.get_mut() += 1;
            entry.key().clone()
        }
        MapEntry::Vacant(entry) => {
            let key = entry.key().clone();
            entry.insert(1);
            key
        }
    }
}

fn decrement<K: Eq + Hash + Clone>(counts: &mut HashMap<K, usize>, key: &K) {
    if let MapEntry::Occupied(mut entry) = counts.entry(key.clone()) {
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests;
