//! What is known of the link to the bus, for readiness and `/status`.

use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

/// How the link stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// Not connected, with the last error.
    Down {
        /// What went wrong, fit to be shown.
        error: String,
    },
    /// Connected; the subscriptions are being made.
    Resubscribing,
    /// Connected, and every wanted subscription was confirmed or refused.
    Up,
}

/// A snapshot of what is known of the bus.
#[derive(Debug, Clone)]
pub struct BusState {
    /// `"embedded"` or `"redis"`.
    pub kind: &'static str,
    /// How the link stands.
    pub link: LinkState,
    /// Since when it stands so.
    pub since: SystemTime,
    /// How often the link was lost since the start.
    pub interruptions: u64,
    /// Workspaces that the bus will not let this node subscribe to: how many, and the last reason.
    pub refused: Option<(usize, String)>,
    /// The age of the last sign that messages arrive: a probe that came back through the bus, or, where the bus does
    /// not let the node publish probes, an answered ping. `None` when there was none on this link.
    pub heard: Option<Duration>,
    /// Why the node cannot publish probes, where it cannot.
    pub probe_refused: Option<String>,
    /// Why the node cannot subscribe to its own probes, where it cannot: most likely it may not subscribe to anything.
    pub subscription_refused: Option<String>,
    /// Why the node does not hear the orders of backends, where it does not.
    pub control_refused: Option<String>,
    /// What the server says it is, such as `redis 7.0.15`.
    pub server: Option<String>,
    /// Whether the publish function is on the server, in words; `None` until it was tried.
    pub function: Option<String>,
}

/// The changing state behind [`BusState`] snapshots.
#[derive(Debug)]
pub struct StateCell(Mutex<StateInner>);

#[derive(Debug)]
struct StateInner {
    state: BusState,
    heard_at: Option<Instant>,
}

impl StateCell {
    /// A link that has not been made yet.
    #[must_use]
    pub fn new(kind: &'static str) -> Self {
        let state = BusState {
            kind,
            link: LinkState::Down { error: "not connected yet".to_owned() },
            since: SystemTime::now(),
            interruptions: 0,
            refused: None,
            heard: None,
            probe_refused: None,
            subscription_refused: None,
            control_refused: None,
            server: None,
            function: None,
        };
        Self(Mutex::new(StateInner { state, heard_at: None }))
    }

    /// What is known now.
    #[must_use]
    pub fn snapshot(&self) -> BusState {
        let inner = self.0.lock();
        BusState { heard: inner.heard_at.map(|at| at.elapsed()), ..inner.state.clone() }
    }

    /// The link stands otherwise now. A link that goes down is forgotten with all that was learned on it.
    pub fn set_link(&self, link: LinkState) {
        let mut inner = self.0.lock();
        if let LinkState::Down { .. } = link {
            inner.heard_at = None;
            inner.state.refused = None;
            inner.state.probe_refused = None;
            inner.state.subscription_refused = None;
            inner.state.control_refused = None;
        }
        if std::mem::discriminant(&inner.state.link) != std::mem::discriminant(&link) {
            inner.state.since = SystemTime::now();
        }
        inner.state.link = link;
    }

    /// Counts an interruption: a link that had been up was lost.
    pub fn count_interruption(&self) {
        self.0.lock().state.interruptions += 1;
    }

    /// A message or an answer arrived just now.
    pub fn heard(&self) {
        self.0.lock().heard_at = Some(Instant::now());
    }

    /// What the server says it is.
    pub fn set_server(&self, server: String) {
        self.0.lock().state.server = Some(server);
    }

    /// Whether the publish function is on the server, in words.
    pub fn set_function(&self, outcome: String) {
        self.0.lock().state.function = Some(outcome);
    }

    /// The refused workspaces: how many, and the last reason.
    pub fn set_refused(&self, refused: Option<(usize, String)>) {
        self.0.lock().state.refused = refused;
    }

    /// Whether the bus refuses probes, and why.
    pub fn set_probe_refused(&self, reason: Option<String>) {
        self.0.lock().state.probe_refused = reason;
    }

    /// Whether the bus refuses the subscription to orders, and why.
    pub fn set_control_refused(&self, reason: Option<String>) {
        self.0.lock().state.control_refused = reason;
    }

    /// Whether the bus refuses the subscription to probes, and why.
    pub fn set_subscription_refused(&self, reason: Option<String>) {
        self.0.lock().state.subscription_refused = reason;
    }
}
