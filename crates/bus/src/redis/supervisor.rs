//! The supervisor of the link for events: it opens the link and, whenever it is lost, opens it
//! again.

use std::sync::Arc;

use super::RedisBus;
use super::backoff::Backoff;
use super::connect::ConnectError;
use super::function;
use super::identity::ServerIdentity;
use super::link_gate::LinkGate;
use super::probe::Probes;
use super::script::PublishScript;
use super::session::{Lost, SubscriptionSession};
use crate::LinkState;
use tidings_event::BusHandler;
use tidings_metrics::Throttle;

/// Keeps a link until the future is dropped.
pub(super) async fn run(bus: &RedisBus, bus_handler: Arc<dyn BusHandler>) {
    let mut backoff =
        Backoff::new(bus.config.backoff_min_seconds.duration(), bus.config.backoff_max_seconds.duration());
    let warnings = Throttle::default();
    loop {
        let link_gate =
            Arc::new(LinkGate::new(Arc::clone(&bus_handler), bus.channels.clone(), Arc::clone(&bus.state)));
        let error = match link(bus, &link_gate, &mut backoff).await {
            Ok(lost) => {
                link_gate.close();
                bus_handler.interrupted();
                if bus.state.snapshot().link == LinkState::Up {
                    bus.state.count_interruption();
                }
                lost.0
            }
            Err(error) => {
                link_gate.close();
                error.to_string()
            }
        };
        // The next link may lead to another server, and commands have to follow it.
        bus.commands.unpin();
        let pause = backoff.pause();
        if let Some(silenced) = warnings.pass() {
            tracing::warn!(
                error,
                pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                silenced,
                "no link to Redis: trying again; streams stay open and get a reset if events may be missing"
            );
        }
        bus.state.set_link(LinkState::Down { error });
        tokio::time::sleep(pause).await;
    }
}

/// Loads the publish function and tries the right to marks, once for each link, because the link
/// may lead to a new server. Never ends.
async fn prepare_server(bus: &RedisBus) -> Lost {
    bus.state.set_function(function::load(&bus.commands, PublishScript::OneServer).await);
    bus.try_mark().await;
    std::future::pending().await
}

/// Opens one link and runs it until it is lost.
async fn link(
    bus: &RedisBus,
    link_gate: &Arc<LinkGate>,
    backoff: &mut Backoff,
) -> Result<Lost, ConnectError> {
    let pushes = Arc::clone(link_gate);
    let target = bus.connector.find().await?;
    let mut connection = bus.connector.subscription_link(&target, move |info| pushes.push(info)).await?;
    let server = ServerIdentity::ask(&mut connection).await?;
    target.check(&server)?;
    if let Some(server) = &server.server {
        bus.state.set_server(server.clone());
    }
    // Commands get a new connection too, because the old one may be half open after an
    // interruption.
    bus.commands.pin(target.clone(), server);
    let conduct = connection.conduct().clone();
    let mut session = SubscriptionSession::new(bus, link_gate, connection, target);
    let mut probes = Probes::new(bus, link_gate);
    bus.state.set_link(LinkState::Resubscribing);
    let lost = tokio::select! {
        lost = async {
            if let Err(lost) = session.begin(&mut probes).await {
                return lost;
            }
            // A ping, a read of a log and a probe have succeeded.
            backoff.reset();
            bus.state.set_link(LinkState::Up);
            tracing::info!(workspaces = session.subscribed(), "linked to Redis");
            tokio::select! {
                lost = session.run() => lost,
                lost = probes.run() => lost,
                lost = prepare_server(bus) => lost,
            }
        } => lost,
        reason = bus.commands.mismatch() => Lost(reason),
        () = link_gate.disconnected() => Lost("the server closed the connection".to_owned()),
    };
    Ok(conduct.fault().map_or(lost, |reason| Lost(reason.to_string())))
}
