//! The subscriptions of one Redis client.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::listener::budget::{Charge, OverBudget};
use crate::listener::output_buffer::OutputBuffer;
use crate::protocol::reply::Reply;
use crate::pubsub::{ClientId, PubSub, PubSubClient, SubscriptionKind};

/// The longest name of a channel and the longest pattern, in bytes. Redis has no such limit; here
/// it bounds the time of a match under the lock.
pub(crate) const NAME_BYTES_MAX: usize = 1024;

/// The most that the names of one client's subscriptions may take, in bytes: some 10,000
/// subscriptions.
const SUBSCRIPTIONS_BYTES_MAX: usize = 1024 * 1024;

/// The charge for a subscription besides its name.
const SUBSCRIPTION_OVERHEAD: usize = 64;

/// Its memory besides, in the client and in `PubSub`.
const SUBSCRIPTION_MEMORY: usize = 192;

/// A client's subscriptions. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct RedisSubscriber {
    pubsub: Arc<PubSub>,
    member: PubSubClient,
    channels: HashSet<Bytes>,
    patterns: HashSet<Bytes>,
    bytes: usize,
    charge: Charge,
}

/// A client wants more than it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SubscriberError {
    /// A name is longer than [`NAME_BYTES_MAX`].
    #[error("ERR a channel or pattern of the embedded bus has at most {NAME_BYTES_MAX} bytes")]
    Name,
    /// All names together take more than [`SUBSCRIPTIONS_BYTES_MAX`].
    #[error(
        "ERR the subscriptions of one client of the embedded bus take at most {SUBSCRIPTIONS_BYTES_MAX} bytes"
    )]
    Subscriptions,
    /// All clients together hold as much as they may.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
}

impl RedisSubscriber {
    /// A client without subscriptions.
    pub(crate) fn new(pubsub: Arc<PubSub>, output_buffer: Arc<OutputBuffer>) -> Self {
        let charge = output_buffer.usage().hold(0, 0);
        let member = PubSubClient { id: pubsub.next_client(), output_buffer };
        Self { pubsub, member, channels: HashSet::new(), patterns: HashSet::new(), bytes: 0, charge }
    }

    /// The client's number.
    pub(crate) fn id(&self) -> ClientId {
        self.member.id
    }

    /// The output of the client.
    pub(crate) fn output_buffer(&self) -> &Arc<OutputBuffer> {
        &self.member.output_buffer
    }

    /// The number of subscriptions.
    pub(crate) fn count(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }

    /// Subscribes, and confirms it to the client, also if it is subscribed already.
    pub(crate) fn subscribe(&mut self, kind: SubscriptionKind, name: &Bytes) -> Result<(), SubscriberError> {
        if name.len() > NAME_BYTES_MAX {
            return Err(SubscriberError::Name);
        }
        if self.names(kind).contains(name) {
            self.output_buffer().reply(&self.change(kind, true, Some(name)));
            return Ok(());
        }
        let bytes = self.bytes + name.len() + SUBSCRIPTION_OVERHEAD;
        if bytes > SUBSCRIPTIONS_BYTES_MAX {
            return Err(SubscriberError::Subscriptions);
        }
        self.charge.resize(bytes + SUBSCRIPTION_MEMORY * (self.count() + 1))?;
        self.bytes = bytes;
        // A copy: the name is a part of the whole input buffer and would keep all of it in memory.
        let name = Bytes::copy_from_slice(name);
        self.names(kind).insert(name.clone());
        let confirmation = self.change(kind, true, Some(&name));
        self.pubsub.enter(kind, &name, &self.member, &confirmation);
        Ok(())
    }

    /// Ends a subscription, and confirms it to the client, also if there was none.
    pub(crate) fn unsubscribe(&mut self, kind: SubscriptionKind, name: &Bytes) {
        if self.names(kind).remove(name) {
            self.bytes -= name.len() + SUBSCRIPTION_OVERHEAD;
            self.pubsub.leave(kind, name, self.member.id);
            // Less is never refused.
            let _ = self.charge.resize(self.bytes + SUBSCRIPTION_MEMORY * self.count());
        }
        self.output_buffer().reply(&self.change(kind, false, Some(name)));
    }

    /// Ends all subscriptions of a kind, and confirms each; without one it confirms that.
    pub(crate) fn unsubscribe_all(&mut self, kind: SubscriptionKind) {
        let names: Vec<Bytes> = self.names(kind).iter().cloned().collect();
        if names.is_empty() {
            self.output_buffer().reply(&self.change(kind, false, None));
        }
        for name in names {
            self.unsubscribe(kind, &name);
        }
    }

    /// Ends all subscriptions and says nothing.
    pub(crate) fn leave(&mut self) {
        for kind in [SubscriptionKind::Channel, SubscriptionKind::Pattern] {
            for name in std::mem::take(self.names(kind)) {
                self.pubsub.leave(kind, &name, self.member.id);
            }
        }
        self.bytes = 0;
        // Less is never refused.
        let _ = self.charge.resize(0);
    }

    fn names(&mut self, kind: SubscriptionKind) -> &mut HashSet<Bytes> {
        match kind {
            SubscriptionKind::Channel => &mut self.channels,
            SubscriptionKind::Pattern => &mut self.patterns,
        }
    }

    fn change(&self, kind: SubscriptionKind, subscribed: bool, name: Option<&Bytes>) -> Reply {
        let what = match (kind, subscribed) {
            (SubscriptionKind::Channel, true) => "subscribe",
            (SubscriptionKind::Channel, false) => "unsubscribe",
            (SubscriptionKind::Pattern, true) => "psubscribe",
            (SubscriptionKind::Pattern, false) => "punsubscribe",
        };
        let name = name.map_or(Reply::Null, |name| Reply::Bulk(name.clone()));
        Reply::Push(vec![Reply::name(what), name, Reply::count(self.count())])
    }
}

impl Drop for RedisSubscriber {
    fn drop(&mut self) {
        self.leave();
    }
}
