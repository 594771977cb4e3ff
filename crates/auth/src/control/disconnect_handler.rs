//! The handler of control commands.
//!
//! Every node receives every command and applies it to its own streams. It also stores the command
//! on the bus, for nodes that start later or whose link was down. When the control channel is
//! confirmed, a node applies all stored commands again.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::bans::Bans;
use super::command::ControlCommand;
use tidings_bus::{Bus, StoreError};
use tidings_event::workspace::WorkspaceId;
use tidings_event::{Keys, TokenId, UserId};
use tidings_limits::{Ending, StreamRegistry};
use tidings_metrics::Metrics;
use tidings_metrics::Throttle;

/// Limits the waiting commands. A node applies one in microseconds to milliseconds. Beyond the
/// limit commands are lost, which the node logs.
const QUEUE: usize = 4096;

/// The pause before stored commands are read again, and between removals of ended bans.
const PAUSE: Duration = Duration::from_secs(1);

/// Receives control commands from the bus without waiting.
#[derive(Debug, Clone)]
pub struct ControlInbox {
    /// The commands, each with the time at which it was received.
    control: mpsc::Sender<(Bytes, SystemTime)>,
    /// Changes when commands may have been missed.
    missed: Arc<watch::Sender<()>>,
    full_log: Arc<Throttle>,
}

impl ControlInbox {
    /// Reports that the control channel is confirmed, perhaps after an interruption.
    pub fn confirmed(&self) {
        self.missed.send_replace(());
    }

    /// Queues a command. If the queue is full, the node reads it later from the commands that other
    /// nodes have stored.
    pub fn command(&self, text: Bytes) {
        if self.control.try_send((text, SystemTime::now())).is_err() {
            self.missed.send_replace(());
            if let Some(silenced) = self.full_log.pass() {
                tracing::error!(
                    silenced,
                    "a control command was lost: more arrived than the node could apply"
                );
            }
        }
    }
}

/// Applies control commands.
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
    /// Creates a handler and its inbox.
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

    /// Applies commands until `stop` is cancelled.
    pub async fn run(mut self, stop: CancellationToken) {
        // Storing waits for the bus, and applying must not wait for it.
        let (to_store, storing) = mpsc::channel(QUEUE);
        let (listed, mut listing) = mpsc::channel(1);
        let (bus, missed) = (Arc::clone(&self.bus), self.missed.clone());
        let apply = async {
            let mut tidy = tokio::time::interval(PAUSE);
            tidy.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    command = self.control.recv() => match command {
                        Some((text, at)) => {
                            if let Some(until) = self.handle(&text, at) {
                                // If the queue is full: other nodes have received the command too
                                // and store it.
                                let _ = to_store.try_send((text, until));
                            }
                        }
                        None => return,
                    },
                    Some(control) = listing.recv() => self.apply_stored(control),
                    _ = tidy.tick() => self.bans.tidy(SystemTime::now()),
                }
            }
        };
        tokio::select! {
            () = apply => {}
            () = store_bans(&*bus, storing) => {}
            () = list_bans_when_missed(&*bus, missed, listed) => {}
            () = stop.cancelled() => {}
        }
    }

    /// Applies a command that was received at a time. Returns the time until which it has to be
    /// stored.
    fn handle(&self, text: &[u8], at: SystemTime) -> Option<SystemTime> {
        let command = match ControlCommand::parse(text) {
            Ok(command) => command,
            Err(error) => {
                self.metrics.control_commands_invalid.inc();
                if let Some(silenced) = self.bad_log.pass() {
                    tracing::warn!(%error, silenced, "a control command is not valid, and the node ignores it");
                }
                return None;
            }
        };
        self.metrics.control_commands.inc();
        let streams = self.apply(&command, at);
        tracing::info!(
            user = command.user.as_ref().map(UserId::as_str),
            workspace = command.selector.workspace.as_ref().map(tracing::field::display),
            connection = command.selector.connection.map(tracing::field::display),
            jti = command.token.as_ref().map(TokenId::as_str),
            stay_away_seconds = command.ban.map(|time| time.as_secs_f64()),
            streams,
            "disconnected by a control command"
        );
        Some(at + command.stored_for())
    }

    /// Applies commands that other nodes have stored, as of the times at which they received them.
    /// There may be as many commands as bans, so each stream is compared with all bans once.
    fn apply_stored(&self, control: Vec<(Bytes, SystemTime)>) {
        let now = SystemTime::now();
        let mut banned = false;
        for (text, until) in control {
            let Ok(command) = ControlCommand::parse(&text) else { continue };
            let Some(at) = until.checked_sub(command.stored_for()) else { continue };
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

    fn apply(&self, command: &ControlCommand, at: SystemTime) -> usize {
        // The ban comes first, so that no client reconnects in between. A ban also ends the streams
        // that were opened after the command was received.
        if self.ban(command, at, SystemTime::now()) {
            self.streams.end_matching(&command.selector, Ending::Disconnected)
        } else {
            self.streams.end_opened_before(&command.selector, at, Ending::Disconnected)
        }
    }

    /// Adds the ban of a command. Returns whether the ban applies now.
    fn ban(&self, command: &ControlCommand, at: SystemTime, now: SystemTime) -> bool {
        let until = command.ban.map(|time| at + time).filter(|until| *until > now);
        let Some(until) = until else { return false };
        if !self.bans.add(&command.selector, until, now)
            && let Some(silenced) = self.bad_log.pass()
        {
            tracing::error!(silenced, "the number of bans is at its limit: one ends early");
        }
        true
    }
}

/// Stores commands on the bus, one after the other. If the bus is unreachable, it retries each
/// until its ban ends.
async fn store_bans(bus: &dyn Bus, mut control: mpsc::Receiver<(Bytes, SystemTime)>) {
    let throttle = Throttle::default();
    while let Some((command, until)) = control.recv().await {
        while let Err(error) = bus.put_ban(command.clone(), until).await {
            note_store_error(
                &throttle,
                &error,
                "a control command cannot be stored: nodes that did not receive it will not apply it",
            );
            if matches!(error, StoreError::Refused(_)) || until <= SystemTime::now() {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    // The sender ends at the same time as this task.
    std::future::pending().await
}

/// Reads the stored commands from the bus each time that some may have been missed, until it
/// succeeds.
async fn list_bans_when_missed(
    bus: &dyn Bus,
    mut missed: watch::Receiver<()>,
    listed: mpsc::Sender<Vec<(Bytes, SystemTime)>>,
) {
    let throttle = Throttle::default();
    while missed.changed().await.is_ok() {
        loop {
            match bus.list_bans().await {
                Ok(control) => {
                    let _ = listed.send(control).await;
                    break;
                }
                Err(error) => {
                    note_store_error(
                        &throttle,
                        &error,
                        "cannot read the stored control commands: trying again",
                    );
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
    std::future::pending().await
}

fn note_store_error(throttle: &Throttle, error: &StoreError, message: &'static str) {
    if let Some(silenced) = throttle.pass() {
        tracing::warn!(%error, silenced, "{message}");
    }
}
