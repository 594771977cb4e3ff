//! The session of one primary: it opens the link for sharded subscriptions and, whenever the link
//! is lost, opens it again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::Value;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::super::backoff::Backoff;
use super::super::clock;
use super::super::connect::{ConnectError, describe, is_temporary};
use super::super::function;
use super::super::identity::ServerIdentity;
use super::super::script::PublishScript;
use super::super::session::Lost;
use super::link::{LinkEvent, ShardLink};
use super::servers::ClusterServer;
use super::shard::{ClusterShard, ClusterShared, ShardLinkState, ShardStatus};
use super::slot::slot_of;
use super::subscriptions::{Learned, ShardSubscriptions};
use super::topology::Topology;
use super::view::ServerId;
use tidings_metrics::Throttle;

/// How often the node reads the logs of slots that are on the move. Their events are announced at
/// the server that gets the slot, where the node is not subscribed yet.
const LOOK: Duration = Duration::from_millis(400);

/// The number of missing probes in a row after which the link is given up.
const MISSING_MAX: u32 = 2;

/// The names that are tried for a probe in one of the slots of the shard.
const NAMES_MAX: u32 = 300_000;

/// Keeps the subscriptions of a shard until `stop` is cancelled, then gives its workspaces back.
pub(super) async fn run(shared: Arc<ClusterShared>, shard: Arc<ClusterShard>, stop: CancellationToken) {
    let mut subscriptions = ShardSubscriptions::new(Arc::clone(&shared), Arc::clone(&shard));
    let config = &shared.config;
    // A server that restarts before the cluster replaces it has to be found as soon as a successor.
    let pause_max = config.backoff_max_seconds.duration().min(config.cluster.poll_seconds.duration());
    let mut backoff = Backoff::new(config.backoff_min_seconds.duration().min(pause_max), pause_max);
    let warnings = Throttle::default();
    let mut address = shard.server.subscribe();
    loop {
        let server = Arc::clone(&address.borrow_and_update());
        let error = tokio::select! {
            error = session(&shared, &shard, &server, &mut subscriptions, &mut backoff) => error,
            _ = address.changed() => "the server has another address".to_owned(),
            () = stop.cancelled() => break,
        };
        // The slots may belong to another server now.
        shared.refresher.request();
        // What was learned over this link says nothing about the next one.
        let before = std::mem::replace(&mut *shard.status.lock(), ShardStatus::down(error.clone()));
        subscriptions.end();
        subscriptions.record();
        if !matches!(before.link, ShardLinkState::Down(_)) {
            shared.metrics.cluster_links_lost.inc();
        }
        let pause = backoff.pause();
        if let Some(silenced) = warnings.pass() {
            tracing::warn!(
                server = %server,
                error,
                pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                silenced,
                "no link to a primary of the cluster: trying again; streams of its workspaces stay open and get a reset if events may be missing"
            );
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = follow(&shard, &mut subscriptions) => {}
            () = stop.cancelled() => break,
        }
    }
    subscriptions.give_all_back();
    subscriptions.record();
}

/// Applies changes while there is no link. Never ends.
async fn follow(shard: &ClusterShard, subscriptions: &mut ShardSubscriptions) {
    loop {
        subscriptions.apply(shard.changes.take().await, false);
        subscriptions.record();
    }
}

/// Opens a link and runs it until it is lost; returns the reason.
async fn session(
    shared: &ClusterShared,
    shard: &ClusterShard,
    server: &ClusterServer,
    subscriptions: &mut ShardSubscriptions,
    backoff: &mut Backoff,
) -> String {
    let link = tokio::select! {
        link = open(server) => link,
        () = follow(shard, subscriptions) => return String::new(),
    };
    let mut link = match link {
        Ok(link) => link,
        Err(error) => return error.to_string(),
    };
    {
        let mut status = shard.status.lock();
        status.link = ShardLinkState::Subscribing;
        status.server_name.clone_from(&link.server.server);
    }
    let probes = ShardProbes::default();
    subscriptions.begin();
    let lost = tokio::select! {
        lost = serve(shared, shard, &mut link, subscriptions, backoff, &probes) => lost,
        lost = probes.run(shared, shard, server) => lost,
        () = check_commands(shared, shard, server) => return String::new(),
        () = load_function(shard, server) => return String::new(),
    };
    link.fault().unwrap_or(lost.0)
}

async fn open(server: &ClusterServer) -> Result<ShardLink, ConnectError> {
    let target = server.connector.find().await?;
    let link = server.connector.shard_link(&target).await?;
    target.check(&link.server)?;
    check_role(&link.server).map_err(|lost| ConnectError::Server(lost.0))?;
    Ok(link)
}

/// A replica passes messages on that it gets over the bus of the cluster, which loses some.
fn check_role(server: &ServerIdentity) -> Result<(), Lost> {
    if server.is_replica() { Err(Lost("the server is a replica now".to_owned())) } else { Ok(()) }
}

/// Sends commands and handles what the server sends, until the link is lost.
async fn serve(
    shared: &ClusterShared,
    shard: &ClusterShard,
    link: &mut ShardLink,
    subscriptions: &mut ShardSubscriptions,
    backoff: &mut Backoff,
    probes: &ShardProbes,
) -> Lost {
    let silence_max = shared.config.ping_timeout_seconds.duration();
    let ticks = |period| {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    };
    let (mut check, mut look) = (ticks(shared.config.ping_seconds.duration()), ticks(LOOK));
    let mut topology = shared.refresher.subscribe();
    topology.mark_changed();
    let mut is_up = false;
    loop {
        let now = Instant::now();
        let (commands, channels) = subscriptions.commands(now);
        link.expect_confirmations(channels);
        commands.iter().for_each(|command| link.send(command));
        probes.set_channel(subscriptions.probe());
        subscriptions.record();
        if !is_up && subscriptions.is_complete() && probes.have_begun(shard) {
            is_up = true;
            let mut status = shard.status.lock();
            status.link = ShardLinkState::Up;
            backoff.reset();
            tracing::info!(shard = %shard.id, workspaces = status.confirmed, "linked to a primary of the cluster");
        }
        let deadline = subscriptions.oldest().unwrap_or(now + silence_max) + silence_max;
        tokio::select! {
            event = link.next() => {
                let learned = match event {
                    Ok(LinkEvent::Push(kind, data)) => subscriptions.on_push(&kind, data),
                    Ok(LinkEvent::Reply(reply)) => subscriptions.on_reply(reply),
                    Err(error) => Err(Lost(describe(&error))),
                };
                match learned {
                    Ok(Learned::Nothing) => {}
                    Ok(Learned::Checked(reply)) => {
                        if let Err(lost) = check_role(&ServerIdentity::of_hello(reply)) {
                            return lost;
                        }
                        ShardProbes::on_check(shard);
                    }
                    Ok(Learned::Probe(number)) => probes.on_received(number, shard),
                    Err(lost) => return lost,
                }
            }
            changes = shard.changes.take() => subscriptions.apply(changes, true),
            _ = check.tick() => subscriptions.check(),
            _ = look.tick() => look_at_logs(shared, subscriptions),
            _ = topology.changed() => {
                if ShardProbes::want_channel(subscriptions, shared, shard) {
                    choose_probe(shared, shard, subscriptions);
                }
            }
            () = sleep_until(deadline.into()), if subscriptions.oldest().is_some() => {
                return Lost(format!("no reply within {:.1} s", silence_max.as_secs_f64()));
            }
        }
    }
}

/// Has the hub read the logs of workspaces whose slots are on the move.
fn look_at_logs(shared: &ClusterShared, subscriptions: &ShardSubscriptions) {
    let Some(topology) = shared.refresher.topology() else { return };
    if topology.migrating.is_empty() {
        return;
    }
    for workspace in subscriptions.on_the_move(&topology.migrating) {
        shared.handler.message(workspace, bytes::Bytes::new());
    }
}

/// Chooses a channel for probes in a slot of the shard.
fn choose_probe(shared: &ClusterShared, shard: &ClusterShard, subscriptions: &mut ShardSubscriptions) {
    let Some(topology) = shared.refresher.topology() else { return };
    let start = fastrand::u32(..1_000_000);
    let name = |number: u32| format!("{}/{}", shared.channels.probe(), start.wrapping_add(number));
    if let Some(channel) = name_of_shard(&topology, &shard.id, (0..NAMES_MAX).map(name)) {
        subscriptions.set_probe(channel);
    }
}

/// Returns the first name in a slot of the shard that is not on the move. Tries no name if the
/// shard has no such slot, because a search without a result blocks the thread of the runtime.
fn name_of_shard(
    topology: &Topology,
    shard: &ServerId,
    mut names: impl Iterator<Item = String>,
) -> Option<String> {
    if !topology.has_settled_slot(shard) {
        return None;
    }
    names.find(|name| topology.is_settled(slot_of(name.as_bytes()), shard))
}

/// Compares the clocks with each ping. The command gives up a link for commands that does not
/// respond. Never ends.
async fn check_commands(shared: &ClusterShared, shard: &ClusterShard, server: &ClusterServer) {
    let mut tick = interval(shared.config.ping_seconds.duration());
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let within = shared.config.ping_timeout_seconds.duration();
        let difference = clock::difference(&server.commands, within).await;
        shard.status.lock().clock_difference = difference;
    }
}

/// Loads the publish function, once for each link. Never ends.
async fn load_function(shard: &ClusterShard, server: &ClusterServer) {
    let outcome = function::load(&server.commands, PublishScript::Cluster).await;
    shard.status.lock().function = Some(outcome);
    std::future::pending().await
}

/// The probes of one link.
struct ShardProbes {
    channel: watch::Sender<Option<String>>,
    received: watch::Sender<u64>,
}

impl Default for ShardProbes {
    fn default() -> Self {
        Self { channel: watch::Sender::new(None), received: watch::Sender::new(0) }
    }
}

impl ShardProbes {
    fn set_channel(&self, channel: Option<&str>) {
        self.channel.send_if_modified(|current| {
            let is_new = current.as_deref() != channel;
            if is_new {
                *current = channel.map(str::to_owned);
            }
            is_new
        });
    }

    fn on_received(&self, number: u64, shard: &ClusterShard) {
        shard.status.lock().received_at = Some(Instant::now());
        self.received.send_replace(number);
    }

    /// A user that may not use probes has the reply to a check.
    fn on_check(shard: &ClusterShard) {
        let mut status = shard.status.lock();
        if status.probe_refused.is_some() || status.subscription_refused.is_some() {
            status.received_at = Some(Instant::now());
        }
    }

    fn have_begun(&self, shard: &ClusterShard) -> bool {
        *self.received.borrow() > 0 || shard.status.lock().received_at.is_some()
    }

    /// Returns whether the shard has no channel for probes in its slots.
    fn want_channel(
        subscriptions: &ShardSubscriptions,
        shared: &ClusterShared,
        shard: &ClusterShard,
    ) -> bool {
        let Some(topology) = shared.refresher.topology() else { return false };
        match subscriptions.chosen_probe() {
            None => true,
            Some(channel) => topology.owner(slot_of(channel.as_bytes())) != Some(&shard.id),
        }
    }

    /// Sends probes until they stay out.
    async fn run(&self, shared: &ClusterShared, shard: &ClusterShard, server: &ClusterServer) -> Lost {
        let patience = shared.config.ping_timeout_seconds.duration();
        let mut channel = self.channel.subscribe();
        let (mut sent, mut missing) = (0_u64, 0);
        loop {
            let name = channel.borrow_and_update().clone();
            let Some(name) = name else {
                // The sender lives as long as this future.
                let _ = channel.changed().await;
                continue;
            };
            sent += 1;
            let mut publish = redis::cmd("SPUBLISH");
            publish.arg(&name).arg(sent);
            match server.commands.try_ask(&publish, patience).await.map_err(|failed| failed.error) {
                Ok(receivers) => {
                    shard.status.lock().probe_refused = None;
                    let arrived = async {
                        let _ = self.received.subscribe().wait_for(|&received| received >= sent).await;
                    };
                    // A message of a former channel is no probe any more, so nothing waits for it.
                    let arrived = tokio::select! {
                        arrived = timeout(patience, arrived) => arrived,
                        _ = channel.changed() => continue,
                    };
                    if arrived.is_ok() {
                        missing = 0;
                    } else {
                        missing += 1;
                        if missing == MISSING_MAX || receivers == Value::Int(0) {
                            return Lost(
                                "messages of the shard do not arrive over its link for events".to_owned(),
                            );
                        }
                    }
                }
                Err(error) if error.is_io_error() || is_temporary(&error) => {}
                Err(error) => shard.status.lock().probe_refused = Some(describe(&error)),
            }
            tokio::select! {
                () = sleep(shared.config.probe_seconds.duration()) => {}
                _ = channel.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
