//! Taking orders.
//!
//! Every node hears every order and carries it out for its own streams. It also has the bus remember the order, so that a
//! node which starts later, or whose link was broken, learns of it: when the control channel is confirmed, all that is
//! remembered is carried out once more.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::bans::Bans;
use super::order::Order;
use crate::bus::{Bus, StoreError};
use crate::limits::{Candidate, Ending, OpenStreams};
use crate::metrics::Metrics;
use crate::telemetry::Throttle;

/// Orders that may wait. One is carried out in microseconds to milliseconds; beyond this they are lost, and that is logged.
const QUEUE: usize = 4096;

/// Pause before remembered orders are asked for again, and between looks for bans that have ended.
const PAUSE: Duration = Duration::from_secs(1);

/// What reaches the desk.
#[derive(Debug)]
enum Note {
    /// The control channel is heard from now on.
    Confirmed,
    /// An order, and when it came.
    Order(Bytes, SystemTime),
}

/// Where the bus puts orders. Never waits.
#[derive(Debug, Clone)]
pub struct Inbox {
    notes: mpsc::Sender<Note>,
    full_log: Arc<Throttle>,
}

impl Inbox {
    /// The control channel is heard, perhaps after a time when it was not.
    pub fn confirmed(&self) {
        self.put(Note::Confirmed);
    }

    /// An order came.
    pub fn order(&self, text: Bytes) {
        self.put(Note::Order(text, SystemTime::now()));
    }

    fn put(&self, note: Note) {
        if self.notes.try_send(note).is_err()
            && let Some(silenced) = self.full_log.pass()
        {
            tracing::error!(silenced, "an order of a backend was lost: more came than could be carried out");
        }
    }
}

/// Carries orders out.
#[derive(Debug)]
pub struct Desk {
    notes: mpsc::Receiver<Note>,
    streams: Arc<OpenStreams>,
    bans: Arc<Bans>,
    bus: Arc<dyn Bus>,
    metrics: Arc<Metrics>,
    bad_log: Throttle,
}

impl Desk {
    /// A desk and the way to it.
    #[must_use]
    pub fn new(
        streams: Arc<OpenStreams>,
        bans: Arc<Bans>,
        bus: Arc<dyn Bus>,
        metrics: Arc<Metrics>,
    ) -> (Self, Inbox) {
        let (sender, notes) = mpsc::channel(QUEUE);
        let inbox = Inbox { notes: sender, full_log: Arc::default() };
        (Self { notes, streams, bans, bus, metrics, bad_log: Throttle::default() }, inbox)
    }

    /// Carries orders out until it is told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        // Remembering asks the bus and may take its time; carrying out must not wait for it.
        let (to_remember, remembering) = mpsc::channel(QUEUE);
        let (recalled, mut recalling) = mpsc::channel(1);
        let (recall, wanted) = tokio::sync::watch::channel(false);
        let bus = Arc::clone(&self.bus);
        let carry_out = async {
            let mut tidy = tokio::time::interval(PAUSE);
            tidy.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    note = self.notes.recv() => match note {
                        Some(Note::Confirmed) => { let _ = recall.send(true); }
                        Some(Note::Order(text, at)) => {
                            if let Some(until) = self.take(&text, at) {
                                // Full: other nodes have heard it too, and have it remembered.
                                let _ = to_remember.try_send((text, until));
                            }
                        }
                        None => return,
                    },
                    Some(orders) = recalling.recv() => self.take_recalled(orders),
                    _ = tidy.tick() => self.bans.tidy(SystemTime::now()),
                }
            }
        };
        tokio::select! {
            () = carry_out => {}
            () = remember(&*bus, remembering) => {}
            () = recall_when_wanted(&*bus, wanted, recalled) => {}
            () = stop.cancelled() => {}
        }
    }

    /// Carries out an order that was given at a moment. Answers until when it is to be remembered.
    fn take(&self, text: &[u8], at: SystemTime) -> Option<SystemTime> {
        let order = match Order::parse(text) {
            Ok(order) => order,
            Err(error) => {
                self.metrics.orders_refused.inc();
                if let Some(silenced) = self.bad_log.pass() {
                    tracing::warn!(%error, silenced, "an order of a backend was not understood, and nothing done");
                }
                return None;
            }
        };
        self.metrics.orders.inc();
        let streams = self.carry_out(&order, at);
        tracing::info!(
            user = order.selector.user.as_ref().map(tracing::field::display),
            workspace = order.selector.workspace.as_ref().map(tracing::field::display),
            connection = order.selector.connection.map(tracing::field::display),
            jti = order.selector.token.as_ref().map(tracing::field::display),
            stay_away_seconds = order.stay_away.map(|time| time.as_secs_f64()),
            streams,
            "disconnected by the order of a backend"
        );
        Some(at + order.remembered())
    }

    /// Carries out what other nodes have heard, as of the moments when they did. There may be as many orders as bans, so all
    /// bans are held against each stream once.
    fn take_recalled(&self, orders: Vec<(Bytes, SystemTime)>) {
        let now = SystemTime::now();
        let mut banned = false;
        for (text, until) in orders {
            let Ok(order) = Order::parse(&text) else { continue };
            let Some(at) = until.checked_sub(order.remembered()) else { continue };
            if self.ban(&order, at, now) {
                banned = true;
            } else {
                self.streams.end(&order.selector, at, Ending::Disconnected);
            }
        }
        if banned {
            let is_banned =
                |of: &Candidate| self.bans.until(&of.workspace, &of.identity, SystemTime::now()).is_some();
            self.streams.end_those(Ending::Disconnected, is_banned);
        }
    }

    fn carry_out(&self, order: &Order, at: SystemTime) -> usize {
        // The ban first: who is ended must not come back in between. Whoever is to stay away is also ended if it has come since
        // the order was given, as nothing kept it out until now.
        if self.ban(order, at, SystemTime::now()) {
            self.streams.end_all(&order.selector, Ending::Disconnected)
        } else {
            self.streams.end(&order.selector, at, Ending::Disconnected)
        }
    }

    /// Has those stay away whom an order of a moment keeps out now. Answers whether there are any.
    fn ban(&self, order: &Order, at: SystemTime, now: SystemTime) -> bool {
        let until = order.stay_away.map(|time| at + time).filter(|until| *until > now);
        let Some(until) = until else { return false };
        if !self.bans.add(&order.selector, until, now)
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

/// Has the bus remember orders, one after the other.
async fn remember(bus: &dyn Bus, mut orders: mpsc::Receiver<(Bytes, SystemTime)>) {
    let throttle = Throttle::default();
    while let Some((order, until)) = orders.recv().await {
        if let Err(error) = bus.remember(order, until).await {
            note_store_error(
                &throttle,
                &error,
                "an order cannot be remembered: nodes that did not hear it will not know of it",
            );
        }
    }
    // The sender ends together with this.
    std::future::pending().await
}

/// Asks the bus for the orders that are in force each time that the control channel is confirmed, until it answers.
async fn recall_when_wanted(
    bus: &dyn Bus,
    mut wanted: tokio::sync::watch::Receiver<bool>,
    recalled: mpsc::Sender<Vec<(Bytes, SystemTime)>>,
) {
    let throttle = Throttle::default();
    while wanted.changed().await.is_ok() {
        loop {
            match bus.recall().await {
                Ok(orders) => {
                    let _ = recalled.send(orders).await;
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
