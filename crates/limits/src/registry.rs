//! Every open stream of this node.

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

/// How many streams may be open at a time; 0 is no bound.
#[derive(Debug, Clone, Copy, Default)]
pub struct StreamLimits {
    /// On the node in all.
    pub in_all: usize,
    /// To one workspace.
    pub per_workspace: usize,
    /// Of one user.
    pub per_user: usize,
}

/// The bound that a further stream would pass. Nobody is ended to make room: who is there stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamBound {
    /// Streams in all.
    #[error("this node has as many streams as it may (limits.connections)")]
    Node,
    /// Streams of a workspace.
    #[error("this workspace has as many streams on this node as it may (limits.connections_per_workspace)")]
    Workspace,
    /// Streams of a user.
    #[error("this user has as many streams on this node as it may (limits.connections_per_user)")]
    User,
}

impl StreamBound {
    /// The word for it in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "connections",
            Self::Workspace => "connections-per-workspace",
            Self::User => "connections-per-user",
        }
    }
}

/// A stream that wants to be opened.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Who is there.
    pub identity: Identity,
}

/// The open streams.
#[derive(Debug)]
pub struct StreamRegistry {
    node: NodeId,
    limits: StreamLimits,
    state: Mutex<RegistryState>,
}

#[derive(Debug, Default)]
struct RegistryState {
    streams: Slab<OpenStream>,
    numbers: u64,
    /// Counted whether or not it is bounded, so that all streams of a workspace share its name.
    by_workspace: HashMap<WorkspaceId, usize>,
    by_user: HashMap<UserKey, usize>,
}

#[derive(Debug)]
struct OpenStream {
    workspace: WorkspaceId,
    keys: Keys,
    number: u64,
    began: UnixMilliseconds,
    /// Who hears that it ends.
    close_signal: Option<Arc<dyn OnClose>>,
    /// What that one calls it.
    called: u32,
    /// What was said. The first word counts.
    ending: Option<Ending>,
}

/// Where a stream stands among the open ones.
pub(super) type StreamSlot = u32;

/// A moment in half the room that the system's own type takes: there is one for each stream.
type UnixMilliseconds = u64;

fn unix_milliseconds(at: SystemTime) -> UnixMilliseconds {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl StreamRegistry {
    /// None are open.
    #[must_use]
    pub fn new(node: NodeId, limits: StreamLimits) -> Self {
        Self { node, limits, state: Mutex::default() }
    }

    /// Opens a stream, if it fits. It is open until the lease is dropped.
    ///
    /// # Errors
    ///
    /// The [`StreamBound`] that it would pass.
    pub fn admit(self: &Arc<Self>, candidate: Candidate) -> Result<StreamGuard, StreamBound> {
        let mut state = self.state.lock();
        let RegistryState { streams, numbers, by_workspace, by_user } = &mut *state;
        let limits = &self.limits;
        // One connection of HTTP/2 carries many streams.
        if limits.in_all > 0 && streams.len() >= limits.in_all {
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
        let workspace = one_more(by_workspace, workspace);
        // What is not bounded is not counted.
        if limits.per_user > 0
            && let Some(user) = keys.user
        {
            *by_user.entry(user).or_default() += 1;
        }
        let entry = streams.vacant_entry();
        // There are not so many sockets.
        let slot = StreamSlot::try_from(entry.key()).map_err(|_| StreamBound::Node)?;
        *numbers += 1;
        entry.insert(OpenStream {
            workspace,
            keys,
            number: *numbers,
            began: unix_milliseconds(SystemTime::now()),
            close_signal: None,
            called: 0,
            ending: None,
        });
        Ok(StreamGuard::new(Arc::clone(self), slot))
    }

    pub(super) fn leave(&self, slot: StreamSlot) {
        let mut state = self.state.lock();
        let Some(stream) = state.streams.try_remove(slot as usize) else { return };
        one_less(&mut state.by_workspace, &stream.workspace);
        if let Some(user) = &stream.keys.user {
            one_less(&mut state.by_user, user);
        }
    }

    /// The id of the stream in a slot; number 0, which is never given, where there is none.
    pub(super) fn id(&self, slot: StreamSlot) -> ConnectionId {
        let number = self.state.lock().streams.get(slot as usize).map_or(0, |stream| stream.number);
        ConnectionId { node: self.node, number }
    }

    pub(super) fn workspace(&self, slot: StreamSlot) -> Option<WorkspaceId> {
        self.state.lock().streams.get(slot as usize).map(|stream| stream.workspace.clone())
    }

    pub(super) fn listen(
        &self,
        slot: StreamSlot,
        close_signal: Arc<dyn OnClose>,
        called: u32,
    ) -> Option<Ending> {
        let mut state = self.state.lock();
        let stream = state.streams.get_mut(slot as usize)?;
        (stream.close_signal, stream.called) = (Some(close_signal), called);
        stream.ending
    }

    pub(super) fn ending(&self, slot: StreamSlot) -> Option<Ending> {
        self.state.lock().streams.get(slot as usize)?.ending
    }

    pub(super) fn end_one(&self, slot: StreamSlot, id: ConnectionId, ending: Ending) {
        let mut state = self.state.lock();
        let stream = state.streams.get_mut(slot as usize).filter(|stream| stream.number == id.number);
        let told = stream.and_then(|stream| stream.end(ending));
        drop(state);
        if let Some((close_signal, called)) = told {
            close_signal.on_close(called, ending);
        }
    }

    /// Ends the streams that are meant and that were opened before a moment. Answers how many.
    pub fn end(&self, selector: &Selector, before: SystemTime, ending: Ending) -> usize {
        // What began in the future began before somebody set the clock back.
        let (now, before) = (unix_milliseconds(SystemTime::now()), unix_milliseconds(before));
        let is_old = |stream: &OpenStream| stream.began <= before || stream.began > now;
        self.end_where(ending, |stream| is_old(stream) && self.means(selector, stream))
    }

    /// Ends the streams that are meant, whenever they were opened. Answers how many.
    pub fn end_all(&self, selector: &Selector, ending: Ending) -> usize {
        self.end_where(ending, |stream| self.means(selector, stream))
    }

    /// Ends the streams of those of whom this is so, which must not open or close any. Answers how many.
    pub fn end_those(&self, ending: Ending, is_so: impl Fn(&WorkspaceId, Keys) -> bool) -> usize {
        self.end_where(ending, |stream| is_so(&stream.workspace, stream.keys))
    }

    fn means(&self, selector: &Selector, stream: &OpenStream) -> bool {
        let id = ConnectionId { node: self.node, number: stream.number };
        selector.matches(&stream.workspace, stream.keys, Some(id))
    }

    fn end_where(&self, ending: Ending, meant: impl Fn(&OpenStream) -> bool) -> usize {
        let (count, told) = {
            let mut state = self.state.lock();
            let meant = state.streams.iter_mut().map(|(_, stream)| stream).filter(|stream| meant(stream));
            let (mut count, mut told) = (0, Vec::new());
            for stream in meant {
                count += 1;
                told.extend(stream.end(ending));
            }
            (count, told)
        };
        // Whoever hears it may leave at once, which takes the lock.
        for (close_signal, called) in told {
            close_signal.on_close(called, ending);
        }
        count
    }

    /// How many streams are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.lock().streams.len()
    }

    /// Whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl OpenStream {
    /// Says that it ends. Answers who has to hear it, if anybody does who has not.
    fn end(&mut self, ending: Ending) -> Option<(Arc<dyn OnClose>, u32)> {
        if self.ending.is_some() {
            return None;
        }
        self.ending = Some(ending);
        self.close_signal.clone().map(|close_signal| (close_signal, self.called))
    }
}

fn is_full<K: Eq + Hash>(counts: &HashMap<K, usize>, key: &K, limit: usize) -> bool {
    limit > 0 && counts.get(key).is_some_and(|count| *count >= limit)
}

/// Counts one more, and answers the key that is counted under.
fn one_more<K: Eq + Hash + Clone>(counts: &mut HashMap<K, usize>, key: K) -> K {
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

fn one_less<K: Eq + Hash + Clone>(counts: &mut HashMap<K, usize>, key: &K) {
    if let MapEntry::Occupied(mut entry) = counts.entry(key.clone()) {
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use super::*;
    use crate::CloseSignal;
    use tidings_event::UserId;

    fn candidate(workspace: &str, user: Option<&str>) -> Candidate {
        Candidate {
            workspace: WorkspaceId::parse(workspace).unwrap(),
            identity: Identity { user: user.map(|user| UserId::parse(user).unwrap()), ..Identity::default() },
        }
    }

    fn open(limits: StreamLimits) -> Arc<StreamRegistry> {
        Arc::new(StreamRegistry::new(NodeId::random(), limits))
    }

    fn heard(close_signal: &CloseSignal) -> Option<Ending> {
        match close_signal.poll_ending(&Context::from_waker(Waker::noop())) {
            Poll::Ready(ending) => Some(ending),
            Poll::Pending => None,
        }
    }

    #[test]
    fn newcomers_are_turned_away_at_each_bound_and_let_in_when_somebody_leaves() {
        let open = open(StreamLimits { in_all: 5, per_workspace: 3, per_user: 2 });
        let admit = |workspace, user| open.admit(candidate(workspace, user));
        let first = admit("a", Some("ann")).unwrap();
        let _second = admit("b", Some("ann")).unwrap();
        assert_eq!(admit("c", Some("ann")).unwrap_err(), StreamBound::User);
        let _third = admit("a", None).unwrap();
        let _fourth = admit("a", None).unwrap();
        assert_eq!(admit("a", None).unwrap_err(), StreamBound::Workspace);
        let fifth = admit("c", None).unwrap();
        assert_eq!(admit("d", None).unwrap_err(), StreamBound::Node);
        drop(fifth);
        assert_eq!(open.len(), 4);

        drop(first);
        let _fifth = admit("a", Some("ann")).unwrap();
        assert_eq!(open.len(), 4);
    }

    #[test]
    fn without_bounds_nothing_is_counted_and_nobody_turned_away() {
        let open = open(StreamLimits::default());
        let leases: Vec<_> = (0..100).map(|_| open.admit(candidate("a", Some("ann"))).unwrap()).collect();
        assert!(open.state.lock().by_user.is_empty());
        drop(leases);
        assert!(open.is_empty() && open.state.lock().by_workspace.is_empty());
    }

    #[test]
    fn only_the_streams_that_are_meant_hear_that_they_end() {
        let open = open(StreamLimits::default());
        let ann = open.admit(candidate("a", Some("ann"))).unwrap();
        let ben = open.admit(candidate("a", Some("ben"))).unwrap();
        let selector =
            Selector { user: UserId::parse("ann").ok().map(|user| user.key()), ..Selector::default() };
        let past = SystemTime::now() - Duration::from_secs(10);
        assert_eq!(open.end(&selector, past, Ending::Disconnected), 0, "it came later");
        assert_eq!(open.end_those(Ending::Disconnected, |of, _| of.as_str() == "b"), 0);
        assert_eq!(open.end(&selector, SystemTime::now(), Ending::Disconnected), 1);
        assert_eq!(open.end(&selector, SystemTime::now(), Ending::Unauthorized), 1);
        // The first word counts, for those who listen from then on too.
        assert_eq!((ann.ending(), ben.ending()), (Some(Ending::Disconnected), None));
        let (ann, ben) = (CloseSignal::of(&ann), CloseSignal::of(&ben));
        assert_eq!((heard(&ann), heard(&ben)), (Some(Ending::Disconnected), None));
    }

    #[test]
    fn a_handle_ends_its_own_stream_and_none_that_has_its_slot_by_now() {
        let open = open(StreamLimits::default());
        let ann = open.admit(candidate("a", Some("ann"))).unwrap();
        let (close_signal, handle) = (CloseSignal::of(&ann), ann.handle());
        assert!(handle.is_open() && heard(&close_signal).is_none());
        handle.end(Ending::Unauthorized);
        assert_eq!(heard(&close_signal), Some(Ending::Unauthorized));
        drop(ann);
        let ben = open.admit(candidate("a", Some("ben"))).unwrap();
        assert!(!handle.is_open());
        handle.end(Ending::Unauthorized);
        assert_eq!(ben.ending(), None);
    }

    #[test]
    fn the_streams_of_a_workspace_share_its_name() {
        let open = open(StreamLimits::default());
        let names = || open.admit(candidate("a", None)).unwrap();
        let (first, second) = (names(), names());
        let [first, second] = [&first, &second].map(|stream_guard| stream_guard.workspace().unwrap());
        assert!(std::ptr::eq(first.as_str(), second.as_str()));
    }
}
