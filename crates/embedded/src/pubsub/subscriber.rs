//! The subscriptions of one Redis client.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::listener::budget::Charge;
use crate::listener::output_buffer::OutputBuffer;
use crate::protocol::reply::Reply;
use crate::pubsub::{ClientId, PubSub, PubSubClient, SubscriptionKind, glob};

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
    /// The channels, and the patterns.
    names: [HashSet<Bytes>; 2],
    bytes: usize,
    charge: Charge,
}

impl RedisSubscriber {
    /// A client without subscriptions.
    pub(crate) fn new(pubsub: Arc<PubSub>, output_buffer: Arc<OutputBuffer>) -> Self {
        let charge = output_buffer.usage().hold(0, 0);
        let member = PubSubClient { id: pubsub.next_client(), output_buffer };
        Self { pubsub, member, names: Default::default(), bytes: 0, charge }
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
        self.names.iter().map(HashSet::len).sum()
    }

    /// Subscribes, and confirms it to the client, also if it is subscribed already. Otherwise
    /// returns the error.
    pub(crate) fn subscribe(&mut self, kind: SubscriptionKind, name: &Bytes) -> Result<(), Reply> {
        if name.len() > NAME_BYTES_MAX {
            return Err(Reply::error(format!(
                "ERR a channel or pattern of the embedded bus has at most {NAME_BYTES_MAX} bytes"
            )));
        }
        if kind == SubscriptionKind::Pattern {
            glob::check(name)?;
        }
        if self.names[kind as usize].contains(name) {
            self.output_buffer().reply(&self.change(kind, true, Some(name)));
            return Ok(());
        }
        let bytes = self.bytes + name.len() + SUBSCRIPTION_OVERHEAD;
        if bytes > SUBSCRIPTIONS_BYTES_MAX {
            return Err(Reply::error(format!(
                "ERR the subscriptions of one client of the embedded bus take at most {SUBSCRIPTIONS_BYTES_MAX} bytes"
            )));
        }
        self.charge.resize(bytes + SUBSCRIPTION_MEMORY * (self.count() + 1))?;
        self.bytes = bytes;
        // A copy: the name is a part of the whole input buffer and would keep all of it in memory.
        let name = Bytes::copy_from_slice(name);
        self.names[kind as usize].insert(name.clone());
        let confirmation = self.change(kind, true, Some(&name));
        self.pubsub.enter(kind, &name, &self.member, &confirmation);
        Ok(())
    }

    /// Ends a subscription, and confirms it to the client, also if there was none.
    pub(crate) fn unsubscribe(&mut self, kind: SubscriptionKind, name: &Bytes) {
        if self.names[kind as usize].remove(name) {
            self.bytes -= name.len() + SUBSCRIPTION_OVERHEAD;
            self.pubsub.leave(kind, name, self.member.id);
            // Less is never refused.
            let _ = self.charge.resize(self.bytes + SUBSCRIPTION_MEMORY * self.count());
        }
        self.output_buffer().reply(&self.change(kind, false, Some(name)));
    }

    /// Ends all subscriptions of a kind, and confirms each; without one it confirms that.
    pub(crate) fn unsubscribe_all(&mut self, kind: SubscriptionKind) {
        let names: Vec<Bytes> = self.names[kind as usize].iter().cloned().collect();
        if names.is_empty() {
            self.output_buffer().reply(&self.change(kind, false, None));
        }
        for name in names {
            self.unsubscribe(kind, &name);
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
        for kind in [SubscriptionKind::Channel, SubscriptionKind::Pattern] {
            for name in &self.names[kind as usize] {
                self.pubsub.leave(kind, name, self.member.id);
            }
        }
    }
}
