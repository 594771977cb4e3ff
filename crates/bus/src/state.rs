//! The state of the link to the bus, for readiness and `/status`.

use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use crate::StoreError;

/// The state of the link for events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// There is no link.
    Down {
        /// The last error, for output.
        error: String,
    },
    /// There is a link, and its subscriptions are not complete.
    Resubscribing,
    /// There is a link, and each desired subscription was confirmed or rejected.
    Up,
}

/// A snapshot of the state of the bus.
#[derive(Debug, Clone)]
pub struct BusState {
    /// `"embedded"`, `"redis"` or `"redis-cluster"`.
    pub kind: &'static str,
    /// The state of the link.
    pub link: LinkState,
    /// The time of the last change of the link's state.
    pub since: SystemTime,
    /// The number of links that were up since the start.
    pub links: u64,
    /// The number of interruptions since the start.
    pub interruptions: u64,
    /// The number of workspaces whose subscription the bus rejects, and the last reason.
    pub refused: Option<(usize, String)>,
    /// The time since a message last arrived; `None` if none did over this link.
    ///
    /// The message is a probe or, if the bus rejects probes, the reply to a ping.
    pub last_received: Option<Duration>,
    /// The reason for which the node cannot publish probes, if it cannot.
    pub probe_refused: Option<String>,
    /// The reason for which the node cannot subscribe to its probes, if it cannot. Most likely it
    /// may not subscribe to any channel.
    pub subscription_refused: Option<String>,
    /// The reason for which the node does not receive control commands, if it does not.
    pub control_refused: Option<String>,
    /// The reason for which the node cannot read the stored bans, if it may not.
    pub bans_refused: Option<String>,
    /// The name and version of the server, such as `redis 7.0.15`, if it reports them.
    pub server: Option<String>,
    /// The clock of this machine minus that of the server, in seconds; `None` if it is not known.
    pub clock_difference: Option<f64>,
    /// The outcome of loading the publish function, for output; `None` before the first attempt.
    pub function: Option<String>,
    /// The shards, for a cluster.
    pub cluster: Option<ClusterState>,
}

/// The state of a cluster.
#[derive(Debug, Clone)]
pub struct ClusterState {
    /// The time since a server last reported the topology; `None` before the first time.
    pub topology_age: Option<Duration>,
    /// The slots without a primary.
    pub slots_uncovered: usize,
    /// The slots that move to another primary.
    pub slots_migrating: usize,
    /// The primaries with slots.
    pub shards: Vec<ShardState>,
}

/// The state of one primary and its link.
#[derive(Debug, Clone)]
pub struct ShardState {
    /// The id of the primary in the cluster.
    pub id: String,
    /// Its address.
    pub server: String,
    /// The cluster reports it as failed.
    pub is_failed: bool,
    /// The state of the link for events.
    pub link: LinkState,
    /// The workspaces that belong to its slots.
    pub wanted: usize,
    /// The workspaces whose subscription is confirmed.
    pub confirmed: usize,
    /// The time since a probe last arrived.
    pub last_received: Option<Duration>,
}

/// Holds the current state, of which [`BusState`] is a snapshot.
#[derive(Debug)]
pub struct StateCell(Mutex<StateInner>);

#[derive(Debug)]
struct StateInner {
    state: BusState,
    received_at: Option<Instant>,
}

impl StateCell {
    /// Creates the state before the first link.
    #[must_use]
    pub fn new(kind: &'static str) -> Self {
        let state = BusState {
            kind,
            link: LinkState::Down { error: "not connected yet".to_owned() },
            since: SystemTime::now(),
            links: 0,
            interruptions: 0,
            refused: None,
            last_received: None,
            probe_refused: None,
            subscription_refused: None,
            control_refused: None,
            bans_refused: None,
            server: None,
            clock_difference: None,
            function: None,
            cluster: None,
        };
        Self(Mutex::new(StateInner { state, received_at: None }))
    }

    /// Returns the current state.
    #[must_use]
    pub fn snapshot(&self) -> BusState {
        let inner = self.0.lock();
        BusState { last_received: inner.received_at.map(|at| at.elapsed()), ..inner.state.clone() }
    }

    /// Sets the state of the link. `Down` clears all that was learned over the link.
    pub fn set_link(&self, link: LinkState) {
        let mut inner = self.0.lock();
        if let LinkState::Down { .. } = link {
            inner.received_at = None;
            inner.state.refused = None;
            inner.state.probe_refused = None;
            inner.state.subscription_refused = None;
            inner.state.control_refused = None;
            inner.state.clock_difference = None;
        }
        if std::mem::discriminant(&inner.state.link) != std::mem::discriminant(&link) {
            inner.state.since = SystemTime::now();
            inner.state.links += u64::from(link == LinkState::Up);
        }
        inner.state.link = link;
    }

    /// Counts an interruption: a link that had been up was lost.
    pub fn count_interruption(&self) {
        self.0.lock().state.interruptions += 1;
    }

    /// Records that a message or a reply arrived.
    pub fn set_received(&self) {
        self.0.lock().received_at = Some(Instant::now());
    }

    /// Sets the name and version of the server.
    pub fn set_server(&self, server: String) {
        self.0.lock().state.server = Some(server);
    }

    /// Sets the clock of this machine minus that of the server, in seconds.
    pub fn set_clock_difference(&self, seconds: Option<f64>) {
        self.0.lock().state.clock_difference = seconds;
    }

    /// Sets the outcome of loading the publish function, for output.
    pub fn set_function(&self, outcome: String) {
        self.0.lock().state.function = Some(outcome);
    }

    /// Sets the number of rejected workspaces and the last reason.
    pub fn set_refused(&self, refused: Option<(usize, String)>) {
        self.0.lock().state.refused = refused;
    }

    /// Sets the reason for which the bus rejects probes, or that it accepts them.
    pub fn set_probe_refused(&self, reason: Option<String>) {
        self.0.lock().state.probe_refused = reason;
    }

    /// Sets the reason for which the bus rejects the subscription to the control channel, or that
    /// it accepts it.
    pub fn set_control_refused(&self, reason: Option<String>) {
        self.0.lock().state.control_refused = reason;
    }

    /// Notes whether the bus lets the node read the stored bans.
    pub(crate) fn note_bans<T>(&self, outcome: &Result<T, StoreError>) {
        let refused = match outcome {
            Ok(_) => None,
            Err(StoreError::Refused(reason)) => Some(reason.clone()),
            Err(StoreError::Unavailable(_)) => return,
        };
        self.0.lock().state.bans_refused = refused;
    }

    /// Sets the reason for which the bus rejects the subscription to probes, or that it accepts it.
    pub fn set_subscription_refused(&self, reason: Option<String>) {
        self.0.lock().state.subscription_refused = reason;
    }
}
