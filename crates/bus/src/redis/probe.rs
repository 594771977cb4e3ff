//! Messages of a node to itself, published over the link for commands and heard over the one for events. One that stays
//! out says that the two are not with one server, or that one of them is deaf.

use std::convert::Infallible;

use redis::Value;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::RedisBus;
use super::connect::{describe, is_passing};
use super::link_gate::LinkGate;
use super::session::Lost;

/// The link is given up when so many probes in a row stay out.
const UNHEARD_MAX: u32 = 2;

/// The probes of one link.
pub(super) struct Probes<'a> {
    bus: &'a RedisBus,
    link_gate: &'a LinkGate,
    sent: u64,
    unheard: u32,
}

/// What became of a probe.
enum ProbeOutcome {
    /// It came back.
    Heard,
    /// The user may not publish or not hear probes. A node can be sound all the same.
    Refused,
    /// It was not published.
    Unpublished(String),
    /// It was published and did not come back. `alone`: the server says that it has no subscriber for it.
    Unheard { alone: bool },
}

impl<'a> Probes<'a> {
    pub(super) fn new(bus: &'a RedisBus, link_gate: &'a LinkGate) -> Self {
        Self { bus, link_gate, sent: 0, unheard: 0 }
    }

    /// Sends the first one: only a link on which it comes back is one.
    pub(super) async fn begin(&mut self) -> Result<(), Lost> {
        match self.send().await {
            ProbeOutcome::Heard | ProbeOutcome::Refused => Ok(()),
            ProbeOutcome::Unpublished(error) => Err(Lost(error)),
            ProbeOutcome::Unheard { .. } => Err(unheard()),
        }
    }

    /// Sends one each `redis.probe_seconds`, and looks after the link for commands, until the links have to be given up.
    pub(super) async fn live(&mut self) -> Lost {
        let bus = self.bus;
        tokio::select! {
            lost = self.send_on() => lost,
            never = check_commands(bus) => match never {},
        }
    }

    async fn send_on(&mut self) -> Lost {
        let mut tick = interval(self.bus.config.probe_seconds.duration());
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first one has just been sent.
        tick.tick().await;
        loop {
            tick.tick().await;
            match self.send().await {
                ProbeOutcome::Heard | ProbeOutcome::Refused => self.unheard = 0,
                // The link for commands is looked after by itself.
                ProbeOutcome::Unpublished(error) => tracing::debug!(error, "a probe was not published"),
                ProbeOutcome::Unheard { alone } => {
                    self.unheard += 1;
                    if alone || self.unheard == UNHEARD_MAX {
                        return unheard();
                    }
                }
            }
        }
    }

    async fn send(&mut self) -> ProbeOutcome {
        self.sent += 1;
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(self.bus.channels.probe()).arg(self.sent);
        let receivers = match self.bus.commands.ask::<Value>(&publish).await {
            Ok(receivers) => receivers,
            Err(error) if error.is_io_error() || is_passing(&error) => {
                return ProbeOutcome::Unpublished(describe(&error));
            }
            // Then answered pings have to do.
            Err(error) => {
                self.bus.state.set_probe_refused(Some(describe(&error)));
                return ProbeOutcome::Refused;
            }
        };
        self.bus.state.set_probe_refused(None);
        if self.bus.state.snapshot().subscription_refused.is_some() {
            return ProbeOutcome::Refused;
        }
        let patience = self.bus.config.ping_timeout_seconds.duration();
        match timeout(patience, self.link_gate.heard(self.sent)).await {
            Ok(()) => ProbeOutcome::Heard,
            Err(_) => ProbeOutcome::Unheard { alone: receivers == Value::Int(0) },
        }
    }
}

/// Sees at each ping that the link for commands answers, without end.
async fn check_commands(bus: &RedisBus) -> Infallible {
    let within = bus.config.ping_timeout_seconds.duration();
    let mut tick = interval(bus.config.ping_seconds.duration());
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        bus.commands.check(within).await;
    }
}

fn unheard() -> Lost {
    Lost("what is published over the link for commands does not come back over the one for events".to_owned())
}
