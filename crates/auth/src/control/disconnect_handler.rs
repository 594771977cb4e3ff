//! Taking orders.
//!
//! Every node hears every order and carries it out for its own streams. It also has the bus remember the order, so that a
//! node which starts later, or whose link was broken, learns of it: when the control channel is confirmed, all that is
//! remembered is carried out once more.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::bans::Bans;
use super::command::ControlCommand;
use tidings_bus::{Bus, StoreError};
use tidings_event::Keys;
use tidings_event::workspace::WorkspaceId;
use tidings_limits::{Ending, StreamRegistry};
use tidings_metrics::Metrics;
use tidings_metrics::Throttle;

/// Orders that may wait. One is carried out in microseconds to milliseconds; beyond this they are lost, and that is logged.
const QUEUE: usize = 4096;

/// Pause before remembered orders are asked for again, and between looks for bans that have ended.
const PAUSE: Duration = Duration::from_secs(1);

/// Where the bus puts orders. Never waits.
#[derive(Debug, Clone)]
pub struct ControlInbox {
    /// Orders, each with the moment when it came.
    control: mpsc::Sender<(Bytes, SystemTime)>,
    /// Changes when orders may have been missed.
    missed: Arc<watch::Sender<()>>,
    full_log: Arc<Throttle>,
}

impl ControlInbox {
    /// The control channel is heard, perhaps after a time when it was not.
    pub fn confirmed(&self) {
        self.missed.send_replace(());
    }

    /// An order came. One for which there is no room is learned again from those that other nodes have remembered, if they did.
    pub fn command(&self, text: Bytes) {
        if self.control.try_send((text, SystemTime::now())).is_err() {
            self.missed.send_replace(());
            if let Some(silenced) = self.full_log.pass() {
                tracing::error!(
                    silenced,
                    "an order of a backend was lost: more came than could be carried out"
                );
            }
        }
    }
}

/// Carries orders out.
#[derive(Debug)]
pub struct DisconnectHandler {
    control: mpsc::Receiver<(Bytes, SystemTime)>,
    missed: watch::Receiver<()>,
    streams: Arc<StreamRegistry>,
    bans: Arc<Bans>,
    bus: Arc<dyn Bus>,
    metrics: Arc<Metrics>,
    bad_log: Throttle,
}

impl DisconnectHandler {
    /// A desk and the way to it.
    #[must_use]
    pub fn new(
        streams: Arc<StreamRegistry>,
        bans: Arc<Bans>,
        bus: Arc<dyn Bus>,
        metrics: Arc<Metrics>,
    ) -> (Self, ControlInbox) {
        let (sender, control) = mpsc::channel(QUEUE);
        let (misses, missed) = watch::channel(());
        let inbox = ControlInbox { control: sender, missed: Arc::new(misses), full_log: Arc::default() };
        (Self { control, missed, streams, bans, bus, metrics, bad_log: Throttle::default() }, inbox)
    }

    /// Carries orders out until it is told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        // Remembering asks the bus and may take its time; carrying out must not wait for it.
        let (to_remember, remembering) = mpsc::channel(QUEUE);
        let (recalled, mut recalling) = mpsc::channel(1);
        let (bus, missed) = (Arc::clone(&self.bus), self.missed.clone());
        let carry_out = async {
            let mut tidy = tokio::time::interval(PAUSE);
            tidy.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    command = self.control.recv() => match command {
                        Some((text, at)) => {
                            if let Some(until) = self.take(&text, at) {
                                // Full: other nodes have heard it too, and have it remembered.
                                let _ = to_remember.try_send((text, until));
                            }
                        }
                        None => return,
                    },
                    Some(control) = recalling.recv() => self.take_recalled(control),
                    _ = tidy.tick() => self.bans.tidy(SystemTime::now()),
                }
            }
        };
        tokio::select! {
            () = carry_out => {}
            () = remember(&*bus, remembering) => {}
            () = recall_when_missed(&*bus, missed, recalled) => {}
            () = stop.cancelled() => {}
        }
    }

    /// Carries out an order that was given at a moment. Answers until when it is to be remembered.
    fn take(&self, text: &[u8], at: SystemTime) -> Option<SystemTime> {
        let command = match ControlCommand::parse(text) {
            Ok(command) => command,
            Err(error) => {
                self.metrics.control_commands_invalid.inc();
                if let Some(silenced) = self.bad_log.pass() {
                    tracing::warn!(%error, silenced, "an order of a backend was not understood, and nothing done");
                }
                return None;
            }
        };
        self.metrics.control_commands.inc();
        let streams = self.carry_out(&command, at);
        tracing::info!(
            user = command.user.as_ref().map(tracing::field::display),
            workspace = command.selector.workspace.as_ref().map(tracing::field::display),
            connection = command.selector.connection.map(tracing::field::display),
            jti = command.token.as_ref().map(tracing::field::display),
            stay_away_seconds = command.stay_away.map(|time| time.as_secs_f64()),
            streams,
            "disconnected by the order of a backend"
        );
        Some(at + command.remembered())
    }

    /// Carries out what other nodes have heard, as of the moments when they did. There may be as many orders as bans, so all
    /// bans are held against each stream once.
    fn take_recalled(&self, control: Vec<(Bytes, SystemTime)>) {
        let now = SystemTime::now();
        let mut banned = false;
        for (text, until) in control {
            let Ok(command) = ControlCommand::parse(&text) else { continue };
            let Some(at) = until.checked_sub(command.remembered()) else { continue };
            if self.ban(&command, at, now) {
                banned = true;
            } else {
                self.streams.end_opened_before(&command.selector, at, Ending::Disconnected);
            }
        }
        if banned {
            let is_banned = |workspace: &WorkspaceId, keys: Keys| {
                self.bans.until(workspace, keys, SystemTime::now()).is_some()
            };
            self.streams.end_where(Ending::Disconnected, is_banned);
        }
    }

    fn carry_out(&self, command: &ControlCommand, at: SystemTime) -> usize {
        // The ban first: who is ended must not come back in between. Whoever is to stay away is also ended if it has come since
        // the order was given, as nothing kept it out until now.
        if self.ban(command, at, SystemTime::now()) {
            self.streams.end_matching(&command.selector, Ending::Disconnected)
        } else {
            self.streams.end_opened_before(&command.selector, at, Ending::Disconnected)
        }
    }

    /// Has those stay away whom an order of a moment keeps out now. Answers whether there are any.
    fn ban(&self, command: &ControlCommand, at: SystemTime, now: SystemTime) -> bool {
        let until = command.stay_away.map(|time| at + time).filter(|until| *until > now);
        let Some(until) = until else { return false };
        if !self.bans.add(&command.selector, until, now)
            && let Some(silenced) = self.bad_log.pass()
        {
            tracing::error!(
                silenced,
                "as many are told to stay away as can be remembered: somebody may come back early"
            );
        }
        true
    }
}

/// Has the bus remember orders, one after the other; while it cannot be reached, each is tried again until it has ended.
async fn remember(bus: &dyn Bus, mut control: mpsc::Receiver<(Bytes, SystemTime)>) {
    let throttle = Throttle::default();
    while let Some((command, until)) = control.recv().await {
        while let Err(error) = bus.put_ban(command.clone(), until).await {
            note_store_error(
                &throttle,
                &error,
                "an order cannot be remembered: nodes that did not hear it will not know of it",
            );
            if matches!(error, StoreError::Refused(_)) || until <= SystemTime::now() {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    // The sender ends together with this.
    std::future::pending().await
}

/// Asks the bus for the orders that are in force each time that some may have been missed, until it answers.
async fn recall_when_missed(
    bus: &dyn Bus,
    mut missed: watch::Receiver<()>,
    recalled: mpsc::Sender<Vec<(Bytes, SystemTime)>>,
) {
    let throttle = Throttle::default();
    while missed.changed().await.is_ok() {
        loop {
            match bus.list_bans().await {
                Ok(control) => {
                    let _ = recalled.send(control).await;
                    break;
                }
                Err(error) => {
                    note_store_error(
                        &throttle,
                        &error,
                        "cannot learn which orders are in force: trying again",
                    );
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
    std::future::pending().await
}

fn note_store_error(throttle: &Throttle, error: &StoreError, what: &'static str) {
    if let Some(silenced) = throttle.pass() {
        tracing::warn!(%error, silenced, "{what}");
    }
}
