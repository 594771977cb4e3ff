//! The tasks of a running server.

use std::sync::Arc;

use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Server;
use super::hub::sweep;
use crate::live_marks;
use crate::log_reader;
use crate::nodes::NodeAnnouncer;
use tidings_event::BusHandler;

/// The signals that stop the tasks, in the order in which a drain gives them.
#[derive(Debug, Default)]
pub(super) struct StopSignals {
    /// No further connection, and no further request.
    pub(super) accepting: CancellationToken,
    /// Every connection, now.
    pub(super) connections: CancellationToken,
    /// The marks of live events, after the last ones are written, and the announcement of the node.
    pub(super) marks: CancellationToken,
    /// All other tasks.
    pub(super) rest: CancellationToken,
}

/// The tasks of a running server. None of them ends before its signal.
#[derive(Debug)]
pub(super) struct ServerTasks {
    /// The public listener, with its connections.
    pub(super) connections: JoinHandle<()>,
    /// Writes the marks of live events.
    pub(super) marks: AbortOnDropHandle<()>,
    /// Announces the node.
    pub(super) announcing: AbortOnDropHandle<()>,
    /// All others.
    pub(super) rest: JoinSet<()>,
}

impl ServerTasks {
    /// Spawns the tasks of all parts.
    pub(super) fn spawn(server: Server, signals: &StopSignals) -> Self {
        let Server {
            node,
            bus,
            bus_handler,
            hub,
            delivery,
            access,
            schemas,
            traces,
            public,
            admin,
            questions,
            ..
        } = server;
        let stop = || signals.rest.clone();
        let connections =
            tokio::spawn(public.listener.run(signals.accepting.clone(), signals.connections.clone()));
        let marks = live_marks::run(
            Arc::clone(&hub.hub),
            Arc::clone(&bus),
            hub.log_reader.patience,
            signals.marks.clone(),
        );
        let marks = AbortOnDropHandle::new(tokio::spawn(marks));
        let announcer = NodeAnnouncer::new(Arc::clone(&bus), Arc::clone(&questions.responder));
        let announcing = AbortOnDropHandle::new(tokio::spawn(announcer.run(signals.marks.clone())));
        let mut rest = JoinSet::new();
        let bus_handler: Arc<dyn BusHandler> = bus_handler;
        rest.spawn(Arc::clone(&bus).run(bus_handler, stop()));
        rest.spawn(access.disconnects.run(stop()));
        rest.spawn(questions.responder.run(questions.queue, stop()));
        if let Some(tokens) = access.tokens {
            rest.spawn(tokens.run(stop()));
        }
        if let Some(recheck) = access.recheck {
            rest.spawn(recheck.run(stop()));
        }
        rest.spawn(sweep(Arc::clone(&hub.hub), public.publish_rate, stop()));
        rest.spawn(log_reader::run(
            hub.hub,
            bus,
            schemas,
            hub.log_reader,
            Arc::clone(node.metrics()),
            stop(),
        ));
        if let Some(traces) = traces {
            rest.spawn(traces.traces.run(Arc::clone(&delivery.streams.bodies), stop()));
        }
        for shard in delivery.shards {
            rest.spawn_blocking(|| shard.run());
        }
        rest.spawn(admin.listener.run(stop(), stop()));
        rest.spawn(admin.console.run(stop()));
        if let Some((certificates, interval)) = public.certificates {
            rest.spawn(certificates.watch(interval, stop()));
        }
        Self { connections, marks, announcing, rest }
    }

    /// Waits until any task has ended: without one of them clients would wait for nothing.
    /// Cancellation safe.
    pub(super) async fn one_ended(&mut self) {
        tokio::select! {
            _ = &mut self.connections => {}
            _ = &mut self.marks => {}
            _ = &mut self.announcing => {}
            _ = self.rest.join_next() => {}
        }
    }
}
