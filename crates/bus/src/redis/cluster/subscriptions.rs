//! The subscriptions of one shard, without I/O: commands to send, and the meaning of replies.
//!
//! A confirmation belongs to the first command without one, and names its channel. An error belongs
//! to the first command too. A `sunsubscribe` that no command asked for is an event: the slot
//! belongs to another server now.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use redis::{Cmd, PushKind, RedisError, RedisResult, Value};

use super::super::channel::Owner;
use super::super::connect::describe;
use super::super::session::{Lost, is_forbidden_command};
use super::shard::{ClusterShard, ClusterShared};
use super::slot::slot_of;
use tidings_event::SubscriptionChange;
use tidings_event::workspace::WorkspaceId;
use tidings_metrics::Throttle;

/// The channels in one SSUBSCRIBE, which all have one slot.
const CHANNELS_MAX: usize = 100;

/// The commands that wait for replies at a time.
const UNDER_WAY_MAX: usize = 1_000;

/// The subscriptions of one shard, and the commands under way.
pub(super) struct ShardSubscriptions {
    shared: Arc<ClusterShared>,
    shard: Arc<ClusterShard>,
    workspaces: HashMap<WorkspaceId, ShardSubscription>,
    confirmed: usize,
    refused: usize,
    /// The channel of the node's probes, and whether it is confirmed.
    probe: Option<(String, bool)>,
    /// Commands that are not sent yet.
    waiting: VecDeque<Command>,
    under_way: VecDeque<(Command, Instant)>,
    refusal_log: Throttle,
}

#[derive(Debug, Clone, Copy)]
struct ShardSubscription {
    slot: u16,
    phase: SubscriptionPhase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SubscriptionPhase {
    Wanted,
    Confirmed,
    Refused,
}

/// A command and what is missing of its reply.
#[derive(Debug)]
enum Command {
    Subscribe(HashSet<WorkspaceId>),
    /// Its replies look like events, so they are ignored. A check follows, which ends it.
    Unsubscribe(Vec<WorkspaceId>),
    Probe(String),
    Control,
    /// `HELLO`: the reply has the role of the server.
    Check,
}

/// What a reply says beyond the subscriptions.
pub(super) enum Learned {
    Nothing,
    /// The reply to `HELLO`.
    Checked(Value),
    /// The probe with this number arrived.
    Probe(u64),
}

impl ShardSubscriptions {
    pub(super) fn new(shared: Arc<ClusterShared>, shard: Arc<ClusterShard>) -> Self {
        Self {
            shared,
            shard,
            workspaces: HashMap::new(),
            confirmed: 0,
            refused: 0,
            probe: None,
            waiting: VecDeque::new(),
            under_way: VecDeque::new(),
            refusal_log: Throttle::default(),
        }
    }

    /// Begins with a new link: the control channel, and all workspaces.
    pub(super) fn begin(&mut self) {
        self.waiting.push_back(Command::Control);
        let wanted: Vec<_> = self.workspaces.keys().cloned().collect();
        self.shared.metrics.cluster_resubscriptions.inc_by(wanted.len() as u64);
        self.subscribe(wanted);
    }

    /// Ends with a link: all subscriptions are lost.
    pub(super) fn end(&mut self) {
        self.waiting.clear();
        self.under_way.clear();
        self.probe = None;
        (self.confirmed, self.refused) = (0, 0);
        for (workspace, subscription) in &mut self.workspaces {
            if std::mem::replace(&mut subscription.phase, SubscriptionPhase::Wanted)
                == SubscriptionPhase::Confirmed
            {
                self.shared.handler.lost(workspace);
            }
        }
    }

    /// Gives all workspaces back.
    pub(super) fn give_all_back(&mut self) {
        self.end();
        for (workspace, _) in self.workspaces.drain() {
            self.shared.returned.push(workspace, &self.shard.id);
        }
    }

    /// Applies changes. `is_linked`: commands can be sent.
    pub(super) fn apply(&mut self, changes: HashMap<WorkspaceId, SubscriptionChange>, is_linked: bool) {
        let (mut wanted, mut released) = (Vec::new(), Vec::new());
        for (workspace, change) in changes {
            match change {
                SubscriptionChange::Want => {
                    let channel = self.shared.channels.workspace(&workspace);
                    let new = ShardSubscription {
                        slot: slot_of(channel.as_bytes()),
                        phase: SubscriptionPhase::Wanted,
                    };
                    let subscription = self.workspaces.entry(workspace.clone()).or_insert(new);
                    let phase = subscription.phase;
                    if phase == SubscriptionPhase::Confirmed {
                        self.shared.handler.confirmed(&workspace);
                    } else {
                        subscription.phase = SubscriptionPhase::Wanted;
                        self.count(Some(phase), Some(SubscriptionPhase::Wanted));
                        wanted.push(workspace);
                    }
                }
                SubscriptionChange::Release => {
                    if self.give_back(&workspace) {
                        released.push(workspace);
                    }
                }
            }
        }
        if is_linked {
            if !released.is_empty() {
                self.waiting.push_back(Command::Unsubscribe(released));
            }
            self.subscribe(wanted);
        }
    }

    /// Removes a workspace and gives it back; returns whether it was confirmed. From now on there
    /// are no calls for it.
    fn give_back(&mut self, workspace: &WorkspaceId) -> bool {
        let phase = self.workspaces.remove(workspace).map(|subscription| subscription.phase);
        self.count(phase, None);
        let was_confirmed = phase == Some(SubscriptionPhase::Confirmed);
        if was_confirmed {
            self.shared.handler.lost(workspace);
        }
        self.shared.returned.push(workspace.clone(), &self.shard.id);
        was_confirmed
    }

    /// Counts a workspace in its new phase and no longer in the former one.
    fn count(&mut self, from: Option<SubscriptionPhase>, to: Option<SubscriptionPhase>) {
        let number = |phase, of| usize::from(phase == Some(of));
        for (count, of) in [
            (&mut self.confirmed, SubscriptionPhase::Confirmed),
            (&mut self.refused, SubscriptionPhase::Refused),
        ] {
            *count = *count + number(to, of) - number(from, of);
        }
    }

    /// Subscribes to workspaces, with one slot in each command.
    fn subscribe(&mut self, workspaces: Vec<WorkspaceId>) {
        let mut by_slot: HashMap<u16, Vec<WorkspaceId>> = HashMap::new();
        for workspace in workspaces {
            if let Some(subscription) = self.workspaces.get(&workspace) {
                by_slot.entry(subscription.slot).or_default().push(workspace);
            }
        }
        for of_slot in by_slot.into_values() {
            for chunk in of_slot.chunks(CHANNELS_MAX) {
                self.waiting.push_back(Command::Subscribe(chunk.iter().cloned().collect()));
            }
        }
    }

    /// Takes another channel for probes.
    pub(super) fn set_probe(&mut self, channel: String) {
        self.waiting.push_back(Command::Probe(channel.clone()));
        self.probe = Some((channel, false));
    }

    /// Returns the channel that was chosen for probes.
    pub(super) fn chosen_probe(&self) -> Option<&str> {
        self.probe.as_ref().map(|(channel, _)| channel.as_str())
    }

    /// Returns the channel of probes, once it is confirmed.
    pub(super) fn probe(&self) -> Option<&str> {
        self.probe.as_ref().filter(|(_, is_confirmed)| *is_confirmed).map(|(channel, _)| channel.as_str())
    }

    /// Asks the server for its role. Subscribes again to the channels that the server rejected,
    /// because it does not report a new right.
    pub(super) fn check(&mut self) {
        self.waiting.push_back(Command::Check);
        let status = self.shard.status.lock();
        if status.control_refused.is_some() && !self.is_open(|command| matches!(command, Command::Control)) {
            self.waiting.push_back(Command::Control);
        }
        if status.subscription_refused.is_some()
            && !self.is_open(|command| matches!(command, Command::Probe(_)))
            && let Some((channel, _)) = &self.probe
        {
            self.waiting.push_back(Command::Probe(channel.clone()));
        }
    }

    /// Returns the commands that can be sent now, and the number of channels that they confirm.
    pub(super) fn commands(&mut self, now: Instant) -> (Vec<Cmd>, usize) {
        let (mut commands, mut channels) = (Vec::new(), 0);
        while self.under_way.len() < UNDER_WAY_MAX {
            let Some(command) = self.waiting.pop_front() else { break };
            let names = &self.shared.channels;
            let mut cmd;
            match &command {
                Command::Subscribe(workspaces) => {
                    cmd = redis::cmd("SSUBSCRIBE");
                    for workspace in workspaces {
                        cmd.arg(names.workspace(workspace));
                    }
                    channels += workspaces.len();
                }
                Command::Unsubscribe(workspaces) => {
                    // One slot a command, as for subscriptions. Their replies are ignored.
                    for workspace in workspaces {
                        let mut cmd = redis::cmd("SUNSUBSCRIBE");
                        cmd.arg(names.workspace(workspace));
                        commands.push(cmd);
                    }
                    cmd = hello();
                }
                Command::Probe(channel) => {
                    cmd = redis::cmd("SSUBSCRIBE");
                    cmd.arg(channel);
                    channels += 1;
                }
                Command::Control => {
                    cmd = redis::cmd("SUBSCRIBE");
                    cmd.arg(names.control());
                    channels += 1;
                }
                Command::Check => cmd = hello(),
            }
            commands.push(cmd);
            self.under_way.push_back((command, now));
        }
        (commands, channels)
    }

    /// Returns when the oldest command without a reply was sent.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.under_way.front().map(|(_, sent)| *sent)
    }

    /// Returns whether each workspace is confirmed or rejected.
    pub(super) fn is_complete(&self) -> bool {
        let subscribes = |command: &Command| {
            matches!(command, Command::Subscribe(_) | Command::Probe(_) | Command::Control)
        };
        self.probe.is_some() && !self.is_open(subscribes)
    }

    /// Returns whether a command like this has no reply yet.
    fn is_open(&self, is_like: impl Fn(&Command) -> bool) -> bool {
        self.waiting.iter().chain(self.under_way.iter().map(|(command, _)| command)).any(is_like)
    }

    /// Returns the confirmed workspaces of slots that are on the move.
    pub(super) fn on_the_move<'a>(
        &'a self,
        migrating: &'a std::collections::BTreeSet<u16>,
    ) -> impl Iterator<Item = &'a WorkspaceId> {
        let moves = |subscription: &ShardSubscription| {
            subscription.phase == SubscriptionPhase::Confirmed && migrating.contains(&subscription.slot)
        };
        self.workspaces
            .iter()
            .filter(move |(_, subscription)| moves(subscription))
            .map(|(workspace, _)| workspace)
    }

    /// Records the numbers of workspaces in the status.
    pub(super) fn record(&self) {
        let mut status = self.shard.status.lock();
        (status.wanted, status.confirmed) = (self.workspaces.len(), self.confirmed);
        let reason = status.refused.take().map(|(_, reason)| reason);
        status.refused = reason.filter(|_| self.refused > 0).map(|reason| (self.refused, reason));
    }

    /// Handles a push message.
    pub(super) fn on_push(&mut self, kind: &PushKind, data: Vec<Value>) -> Result<Learned, Lost> {
        let mut data = data.into_iter();
        let Some(Value::BulkString(channel)) = data.next() else { return Ok(Learned::Nothing) };
        let is_probe = self.probe.as_ref().is_some_and(|(probe, _)| probe.as_bytes() == channel);
        match (kind, self.shared.channels.owner(&channel), data.next()) {
            (PushKind::SMessage, _, Some(Value::BulkString(number))) if is_probe => {
                let number = std::str::from_utf8(&number).ok().and_then(|text| text.parse().ok());
                return Ok(number.map_or(Learned::Nothing, Learned::Probe));
            }
            (PushKind::SMessage, Owner::Workspace(workspace), Some(Value::BulkString(payload)))
                if self.is_confirmed(&workspace) =>
            {
                self.shared.handler.message(&workspace, Bytes::from(payload));
            }
            (PushKind::Message, Owner::Control, Some(Value::BulkString(command))) => {
                let command = Bytes::from(command);
                if self.shared.control.is_first(&self.shard.id, &command, Instant::now()) {
                    self.shared.handler.control(command);
                }
            }
            (PushKind::SSubscribe | PushKind::Subscribe, owner, _) => {
                self.on_confirmation(&owner, &channel)?
            }
            // The next topology decides which channel is the next one.
            (PushKind::SUnsubscribe, _, _) if is_probe => {
                self.probe = None;
                self.shared.refresher.request();
            }
            (PushKind::SUnsubscribe, Owner::Workspace(workspace), _) if self.is_confirmed(&workspace) => {
                self.give_back(&workspace);
            }
            _ => {}
        }
        Ok(Learned::Nothing)
    }

    fn is_confirmed(&self, workspace: &WorkspaceId) -> bool {
        self.workspaces
            .get(workspace)
            .is_some_and(|subscription| subscription.phase == SubscriptionPhase::Confirmed)
    }

    fn on_confirmation(&mut self, owner: &Owner, channel: &[u8]) -> Result<(), Lost> {
        let unexpected = || Lost("the server confirms a subscription out of order".to_owned());
        let (command, _) = self.under_way.front_mut().ok_or_else(unexpected)?;
        let is_done = match (&mut *command, owner) {
            (Command::Subscribe(missing), Owner::Workspace(workspace)) => {
                if !missing.remove(workspace) {
                    return Err(unexpected());
                }
                let is_done = missing.is_empty();
                match self.workspaces.get_mut(workspace) {
                    Some(subscription) => {
                        let confirmed = SubscriptionPhase::Confirmed;
                        let before = std::mem::replace(&mut subscription.phase, confirmed);
                        self.count(Some(before), Some(confirmed));
                        self.shared.handler.confirmed(workspace);
                    }
                    // It was given back meanwhile.
                    None => self.waiting.push_back(Command::Unsubscribe(vec![workspace.clone()])),
                }
                is_done
            }
            (Command::Probe(probe), _) if probe.as_bytes() == channel => {
                if let Some((current, is_confirmed)) = &mut self.probe {
                    *is_confirmed |= current == probe;
                }
                self.shard.status.lock().subscription_refused = None;
                true
            }
            (Command::Control, Owner::Control) => {
                self.shard.status.lock().control_refused = None;
                self.shared.handler.control_confirmed();
                true
            }
            _ => return Err(unexpected()),
        };
        if is_done {
            self.under_way.pop_front();
        }
        Ok(())
    }

    /// Handles a reply that is no push message.
    pub(super) fn on_reply(&mut self, reply: RedisResult<Value>) -> Result<Learned, Lost> {
        // The errors of SUNSUBSCRIBE come before the reply to the check behind it.
        if reply.is_err() && matches!(self.under_way.front(), Some((Command::Unsubscribe(_), _))) {
            return Ok(Learned::Nothing);
        }
        let Some((command, _)) = self.under_way.pop_front() else {
            return Err(Lost("the server replies to no command".to_owned()));
        };
        match (command, reply) {
            (Command::Check | Command::Unsubscribe(_), Ok(reply)) => Ok(Learned::Checked(reply)),
            (Command::Subscribe(workspaces), Err(error)) => {
                self.on_rejection(workspaces, &error);
                Ok(Learned::Nothing)
            }
            (Command::Probe(_), Err(error)) if is_forbidden_command(&error) => {
                self.log_refusal(&error);
                self.shard.status.lock().subscription_refused = Some(describe(&error));
                Ok(Learned::Nothing)
            }
            // The next topology decides which channel is the next one.
            (Command::Probe(_), Err(_)) => {
                self.probe = None;
                Ok(Learned::Nothing)
            }
            (Command::Control, Err(error)) => {
                let (channel, reason) = (self.shared.channels.control(), describe(&error));
                if self.shard.status.lock().control_refused.replace(reason.clone()).is_none() {
                    tracing::warn!(
                        channel,
                        reason,
                        "Redis rejects the subscription to the control channel: disconnects may not reach this node; give the user access, as in `ACL SETUSER … &{channel}`"
                    );
                }
                Ok(Learned::Nothing)
            }
            (_, Err(error)) => Err(Lost(describe(&error))),
            (_, Ok(_)) => Err(Lost("the server sends a reply that no command has".to_owned())),
        }
    }

    fn on_rejection(&mut self, workspaces: HashSet<WorkspaceId>, error: &RedisError) {
        let is_forbidden = is_forbidden_command(error);
        if is_forbidden && workspaces.len() > 1 {
            // One forbidden channel makes the server reject the whole command: find out which.
            self.waiting
                .extend(workspaces.into_iter().map(|workspace| Command::Subscribe([workspace].into())));
            return;
        }
        for workspace in workspaces {
            let Some(subscription) = self.workspaces.get_mut(&workspace) else { continue };
            if is_forbidden {
                let refused = SubscriptionPhase::Refused;
                let before = std::mem::replace(&mut subscription.phase, refused);
                self.count(Some(before), Some(refused));
                let reason = describe(error);
                self.shared.handler.refused(&workspace, &reason);
                self.shard.status.lock().refused = Some((1, reason));
                self.log_refusal(error);
            } else {
                // The slot belongs to another server, or the cluster is down.
                self.give_back(&workspace);
            }
        }
    }

    fn log_refusal(&self, error: &RedisError) {
        if let Some(silenced) = self.refusal_log.pass() {
            tracing::error!(
                reason = describe(error),
                silenced,
                "Redis rejects a subscription: give the user access to the channels, as in `ACL SETUSER … &{}*`; `tidings check` shows more",
                self.shared.config.channel_prefix
            );
        }
    }
}

fn hello() -> Cmd {
    let mut hello = redis::cmd("HELLO");
    hello.arg(3);
    hello
}

#[cfg(test)]
mod tests;
