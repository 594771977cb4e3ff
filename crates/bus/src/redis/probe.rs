//! Probes: messages of a node to itself, published over the link for commands and received over the
//! link for events.
//!
//! A missing probe means that the links lead to two servers, or that one link does not deliver.

use std::convert::Infallible;

use redis::Value;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::RedisBus;
use super::clock;
use super::connect::{describe, is_temporary};
use super::link_gate::LinkGate;
use super::runner::CommandRunner as _;
use super::session::Lost;

/// The number of missing probes in a row after which the link is given up.
const MISSING_MAX: u32 = 2;

/// Sends the probes of one link.
pub(super) struct Probes<'a> {
    bus: &'a RedisBus,
    link_gate: &'a LinkGate,
    sent: u64,
    missing: u32,
}

/// The outcome of a probe.
enum ProbeOutcome {
    /// The node received it.
    Received,
    /// The user may not publish or receive probes. The links may work all the same.
    Refused,
    /// The node could not publish it.
    Unpublished(String),
    /// The node published it and did not receive it. `alone` is true if the server had no
    /// subscriber for it.
    Missing { alone: bool },
}

impl<'a> Probes<'a> {
    pub(super) fn new(bus: &'a RedisBus, link_gate: &'a LinkGate) -> Self {
        Self { bus, link_gate, sent: 0, missing: 0 }
    }

    /// Sends the first probe. The link counts as up only if it arrives.
    pub(super) async fn begin(&mut self) -> Result<(), Lost> {
        match self.send().await {
            ProbeOutcome::Received | ProbeOutcome::Refused => Ok(()),
            ProbeOutcome::Unpublished(error) => Err(Lost(error)),
            ProbeOutcome::Missing { .. } => Err(missing()),
        }
    }

    /// Sends a probe each `redis.probe_seconds` and checks the link for commands, until the links
    /// have to be given up.
    pub(super) async fn run(&mut self) -> Lost {
        let bus = self.bus;
        tokio::select! {
            lost = self.send_repeatedly() => lost,
            never = check_commands(bus) => match never {},
        }
    }

    async fn send_repeatedly(&mut self) -> Lost {
        let mut tick = interval(self.bus.config.probe_seconds.duration());
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // `begin` has just sent the first one.
        tick.tick().await;
        loop {
            tick.tick().await;
            match self.send().await {
                ProbeOutcome::Received | ProbeOutcome::Refused => self.missing = 0,
                // `check_commands` checks the link for commands.
                ProbeOutcome::Unpublished(error) => tracing::debug!(error, "a probe was not published"),
                ProbeOutcome::Missing { alone } => {
                    self.missing += 1;
                    if alone || self.missing == MISSING_MAX {
                        return missing();
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
            Err(error) if error.is_io_error() || is_temporary(&error) => {
                return ProbeOutcome::Unpublished(describe(&error));
            }
            // Then pings have to suffice.
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
        match timeout(patience, self.link_gate.probe_received(self.sent)).await {
            Ok(()) => ProbeOutcome::Received,
            Err(_) => ProbeOutcome::Missing { alone: receivers == Value::Int(0) },
        }
    }
}

/// Checks with each ping that the link for commands responds, and compares the clocks. Never ends.
async fn check_commands(bus: &RedisBus) -> Infallible {
    let within = bus.config.ping_timeout_seconds.duration();
    let mut tick = interval(bus.config.ping_seconds.duration());
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        bus.commands.check(within).await;
        bus.state.set_clock_difference(clock::difference(&bus.commands, within).await);
    }
}

fn missing() -> Lost {
    Lost(
        "messages that are published over the link for commands do not arrive over the link for events"
            .to_owned(),
    )
}
