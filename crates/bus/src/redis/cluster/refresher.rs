//! Keeps the topology up to date.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::{BoxFuture, Shared};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use parking_lot::Mutex;
use redis::IntoConnectionInfo as _;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::super::connect::{ConnectError, describe};
use super::servers::{ClusterServer, Servers};
use super::topology::{ServerPlace, Topology};
use super::view::TopologyView;
use crate::settings::RedisConfig;
use tidings_metrics::Throttle;

/// Limits the time for all views.
const REPLY_TIMEOUT: Duration = Duration::from_secs(1);

/// The time in which other views count after the first one. A server that does not respond delays
/// a failover by no more.
const LATER_VIEWS: Duration = Duration::from_millis(200);

/// The shortest pause between two rounds, with jitter. Redirections come in crowds.
const PAUSE_MIN: Duration = Duration::from_millis(25);

/// The interval while a primary does not respond: the cluster may choose its successor any moment.
const POLL_WITHOUT_A_PRIMARY: Duration = Duration::from_millis(200);

/// The time after which a primary that does not respond counts as lost for longer. Then the node
/// asks at the configured interval again.
const FAILOVER_MAX: Duration = Duration::from_secs(60);

/// Limits the replicas that are asked if a primary does not respond.
const REPLICAS_ASKED_MAX: usize = 4;

/// Asks servers for their views and joins them.
#[derive(Clone)]
pub(super) struct Refresher(Arc<RefresherInner>);

struct RefresherInner {
    servers: Arc<Servers>,
    /// The configured servers. They keep their links, even if the cluster has other names for them.
    seeds: Vec<Arc<ClusterServer>>,
    poll: Duration,
    ask_timeout: Duration,
    latest: watch::Sender<Latest>,
    requested: Notify,
    round: Mutex<Option<Round>>,
    warnings: Throttle,
}

/// The outcome of the latest round with a view.
#[derive(Debug, Clone)]
pub(super) struct Latest {
    /// `None` before the first one.
    pub(super) topology: Option<Arc<Topology>>,
    pub(super) at: Instant,
    /// When the first of the latest rounds began in which a primary did not respond.
    incomplete_since: Option<Instant>,
}

impl Latest {
    pub(super) fn none() -> Self {
        Self { topology: None, at: Instant::now(), incomplete_since: None }
    }

    /// Returns the interval to the next round.
    fn interval(&self, poll: Duration) -> Duration {
        match self.incomplete_since {
            Some(since) if since.elapsed() < FAILOVER_MAX => poll.min(POLL_WITHOUT_A_PRIMARY),
            _ => poll,
        }
    }
}

/// All that wait for a round drive it.
type Round = Shared<BoxFuture<'static, Result<(), Arc<str>>>>;

impl Refresher {
    pub(super) fn new(servers: Arc<Servers>, config: &RedisConfig) -> Result<Self, ConnectError> {
        let seed = |url: &tidings_settings::RedisUrl| {
            let info = url.reveal().into_connection_info().map_err(|_| ConnectError::ClusterAddress)?;
            match info.addr() {
                redis::ConnectionAddr::Tcp(host, port) | redis::ConnectionAddr::TcpTls { host, port, .. } => {
                    Ok(servers.at(&ServerPlace { hosts: vec![host.clone()], port: *port, is_failed: false }))
                }
                _ => Err(ConnectError::ClusterAddress),
            }
        };
        let seeds = config.cluster.nodes.iter().map(seed).collect::<Result<_, _>>()?;
        Ok(Self(Arc::new(RefresherInner {
            servers,
            seeds,
            poll: config.cluster.poll_seconds.duration(),
            ask_timeout: config.ping_timeout_seconds.duration(),
            latest: watch::Sender::new(Latest::none()),
            requested: Notify::new(),
            round: Mutex::default(),
            warnings: Throttle::default(),
        })))
    }

    /// Requests a round soon. Requests coalesce.
    pub(super) fn request(&self) {
        self.0.requested.notify_one();
    }

    /// Test: takes a request for a round; returns whether there was one.
    #[cfg(test)]
    pub(super) fn is_requested(&self) -> bool {
        self.0.requested.notified().now_or_never().is_some()
    }

    /// Returns the latest topology, if one is known.
    pub(super) fn topology(&self) -> Option<Arc<Topology>> {
        self.0.latest.borrow().topology.clone()
    }

    /// Returns the outcome of the latest round with a view.
    pub(super) fn latest(&self) -> Latest {
        self.0.latest.borrow().clone()
    }

    /// Returns a receiver that changes with each round that got a view.
    pub(super) fn subscribe(&self) -> watch::Receiver<Latest> {
        self.0.latest.subscribe()
    }

    /// Waits for the round under way, or for a new one. `Err` has the reason for which no server
    /// has sent a view.
    pub(super) async fn refresh(&self) -> Result<(), Arc<str>> {
        let round = {
            let mut current = self.0.round.lock();
            match &*current {
                Some(round) if round.peek().is_none() => round.clone(),
                _ => current.insert(round(Arc::downgrade(&self.0)).boxed().shared()).clone(),
            }
        };
        round.await
    }

    /// Refreshes on request and at the configured interval. Never ends.
    pub(super) async fn run(&self) -> std::convert::Infallible {
        let mut pause = PAUSE_MIN;
        loop {
            match self.refresh().await {
                Ok(()) => pause = PAUSE_MIN,
                Err(error) => {
                    if let Some(silenced) = self.0.warnings.pass() {
                        tracing::warn!(
                            error = &*error,
                            silenced,
                            "no server of the cluster reports its topology: trying again"
                        );
                    }
                    pause = (pause * 2).min(REPLY_TIMEOUT);
                    sleep(jittered(pause)).await;
                }
            }
            let interval = self.0.latest.borrow().interval(self.0.poll);
            tokio::select! {
                () = sleep(interval.mul_f64(0.8 + fastrand::f64() / 5.0)) => {}
                () = self.0.requested.notified() => {}
            }
        }
    }
}

/// Returns a time from the upper half of the range, so that nodes do not ask at the same time.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// One round.
async fn round(inner: Weak<RefresherInner>) -> Result<(), Arc<str>> {
    let stopped = || Arc::from("the node stops");
    let inner = inner.upgrade().ok_or_else(stopped)?;
    sleep(jittered(PAUSE_MIN)).await;
    let (began, latest) = (Instant::now(), inner.latest.borrow().clone());
    let known = latest.topology;
    let (primaries, others) = inner.asked(known.as_deref());
    let deadline = Instant::now() + REPLY_TIMEOUT;
    let (mut views, mut errors) = inner.views(&primaries, deadline).await;
    let is_complete = views.len() == primaries.len();
    if !is_complete && !others.is_empty() {
        let (more, other_errors) = inner.views(&others, Instant::now() + REPLY_TIMEOUT).await;
        views.extend(more);
        errors.extend(other_errors);
    }
    if views.is_empty() {
        return Err(Arc::from(errors.join("; ")));
    }
    let topology = Arc::new(Topology::join(&views, known.as_deref()));
    inner.servers.retain(&topology);
    // An unchanged topology keeps its value, so that comparisons are cheap.
    let topology = known.filter(|known| **known == *topology).unwrap_or(topology);
    let incomplete_since = (!is_complete).then(|| latest.incomplete_since.unwrap_or(began));
    inner.latest.send_replace(Latest { topology: Some(topology), at: Instant::now(), incomplete_since });
    Ok(())
}

impl RefresherInner {
    /// Returns the servers to ask: the primaries, and if one of them does not respond, others.
    fn asked(&self, known: Option<&Topology>) -> (Vec<Arc<ClusterServer>>, Vec<Arc<ClusterServer>>) {
        let Some(known) = known else { return (self.seeds.clone(), Vec::new()) };
        let owners = known.owners();
        let primaries = owners.iter().filter_map(|owner| known.servers.get(owner));
        let primaries: Vec<_> = primaries.map(|place| self.servers.at(place)).collect();
        if primaries.is_empty() {
            return (self.seeds.clone(), Vec::new());
        }
        let mut others: Vec<_> = known
            .servers
            .iter()
            .filter(|(id, _)| !owners.contains(*id))
            .map(|(_, place)| self.servers.at(place))
            .collect();
        fastrand::shuffle(&mut others);
        others.truncate(REPLICAS_ASKED_MAX);
        others.extend(self.seeds.iter().cloned());
        (primaries, others)
    }

    async fn views(
        &self,
        servers: &[Arc<ClusterServer>],
        deadline: Instant,
    ) -> (Vec<TopologyView>, Vec<String>) {
        let mut asking: FuturesUnordered<_> =
            servers.iter().map(|server| self.view(Arc::clone(server))).collect();
        let (mut views, mut errors) = (Vec::new(), Vec::new());
        let mut until = deadline;
        while let Ok(Some(outcome)) = timeout_at(until, asking.next()).await {
            match outcome {
                Ok(view) => {
                    until = until.min(Instant::now() + LATER_VIEWS);
                    views.push(view);
                }
                Err(error) => errors.push(error),
            }
        }
        if views.is_empty() && errors.is_empty() {
            errors.push("no server responds in time".to_owned());
        }
        (views, errors)
    }

    async fn view(&self, server: Arc<ClusterServer>) -> Result<TopologyView, String> {
        let mut nodes = redis::cmd("CLUSTER");
        nodes.arg("NODES");
        // Longer than a round: a server that is only slow keeps its link.
        let asked = server.commands.try_ask(&nodes, self.ask_timeout);
        let reply = timeout(REPLY_TIMEOUT, asked).await.map_err(|_| format!("{server}: no reply in time"))?;
        let value = reply.map_err(|failed| format!("{server}: {}", describe(&failed.error)))?;
        let text: String = redis::from_redis_value(value).map_err(|error| format!("{server}: {error}"))?;
        let host = server.hosts.first().map_or("", String::as_str);
        TopologyView::parse(&text, host).map_err(|error| format!("{server}: {error}"))
    }
}

#[cfg(test)]
mod tests;
