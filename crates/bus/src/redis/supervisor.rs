//! Makes the subscription link, watches over it, and makes it again whenever it is lost, without end.

use std::sync::Arc;

use super::RedisBus;
use super::backoff::Backoff;
use super::connect::ConnectError;
use super::function;
use super::identity::ServerIdentity;
use super::link_gate::LinkGate;
use super::probe::Probes;
use super::session::{Lost, SubscriptionSession};
use crate::LinkState;
use tidings_event::BusHandler;
use tidings_metrics::Throttle;

/// Runs until it is dropped.
pub(super) async fn run(bus: &RedisBus, bus_handler: Arc<dyn BusHandler>) {
    let mut backoff =
        Backoff::new(bus.config.backoff_min_seconds.duration(), bus.config.backoff_max_seconds.duration());
    let warnings = Throttle::default();
    loop {
        let link_gate =
            Arc::new(LinkGate::new(Arc::clone(&bus_handler), bus.channels.clone(), Arc::clone(&bus.state)));
        let error = match link(bus, &link_gate, &mut backoff).await {
            Ok(lost) => {
                link_gate.shut();
                bus_handler.interrupted();
                if bus.state.snapshot().link == LinkState::Up {
                    bus.state.count_interruption();
                }
                lost.0
            }
            Err(error) => {
                link_gate.shut();
                error.to_string()
            }
        };
        // The next link may be with another server, and commands go where it goes.
        bus.commands.unpin();
        let pause = backoff.pause();
        if let Some(silenced) = warnings.pass() {
            tracing::warn!(
                error,
                pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                silenced,
                "no link to Redis: trying again; live streams stay open and will be told what they may have missed"
            );
        }
        bus.state.set_link(LinkState::Down { error });
        tokio::time::sleep(pause).await;
    }
}

/// Sees to the publish function and to the rights to marks, once for each link: another server may have come in the old one's place.
/// Never ends by itself.
async fn learn_rights(bus: &RedisBus) -> Lost {
    bus.state.set_function(function::load(&bus.commands).await);
    bus.learn_marks().await;
    std::future::pending().await
}

/// Makes one link and lives with it until it is lost.
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
    // Anew for commands too: whatever cut off the old link may have left that connection half open.
    bus.commands.pin(target.clone(), server);
    let excess = connection.excess().clone();
    let mut session = SubscriptionSession::new(bus, link_gate, connection, target);
    let mut probes = Probes::new(bus, link_gate);
    bus.state.set_link(LinkState::Resubscribing);
    let lost = tokio::select! {
        lost = async {
            if let Err(lost) = session.begin(&mut probes).await {
                return lost;
            }
            // A ping was answered, a log was read, and a probe came back.
            backoff.reset();
            bus.state.set_link(LinkState::Up);
            tracing::info!(workspaces = session.subscribed(), "linked to Redis");
            tokio::select! {
                lost = session.live() => lost,
                lost = probes.live() => lost,
                lost = learn_rights(bus) => lost,
            }
        } => lost,
        reason = bus.commands.mismatch() => Lost(reason),
        () = link_gate.closed() => Lost("the server closed the connection".to_owned()),
    };
    Ok(excess.get().map_or(lost, |reason| Lost(reason.to_string())))
}
