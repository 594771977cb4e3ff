//! How often an event takes memory on its way from the bus to the sockets of its workspace, through
//! the engine.
//!
//! The cost of a client and of a delivery is one figure. A cost of either would show as a
//! difference between few clients and many that get the same events.

use bytes::Bytes;
use tidings_event::UserId;
use tidings_event::workspace::WorkspaceId;
use tidings_hub::{SubscriptionFilter, TypeFilter};

use super::support::shard_harness::{Publisher, RING_EVENTS, ShardHarness};
use super::{ALONE, least, taken};

/// Events of a round; more than the ring holds, so that it is full from the second round on.
const EVENTS: usize = 256;

const PAYLOAD: &str = r#"{"type":"CHANNEL_UPDATED","id":12345}"#;

const FEW: usize = 2;
const MANY: usize = 200;

/// The clients, and the audiences of the events.
#[derive(Clone, Copy)]
struct Case {
    /// The view of the client with a number.
    view: fn(usize) -> SubscriptionFilter,
    /// The audience of the event with a number; empty for every client.
    to: fn(usize) -> &'static [&'static str],
    /// Whether they are in the log and arrive as envelopes.
    logged: bool,
    /// How often an event may take memory in all: for its bytes, its type, the frame, its audience.
    most: f64,
}

/// Clients without a filter, and logged events for all of them.
const PLAIN: Case = Case { view: |_| SubscriptionFilter::default(), to: |_| &[], logged: true, most: 5.1 };

fn user(name: &str) -> SubscriptionFilter {
    SubscriptionFilter { user: Some(UserId::parse(name).unwrap().key()), ..SubscriptionFilter::default() }
}

/// Every other client is ann, and all others are ben.
fn ann_or_ben(number: usize) -> SubscriptionFilter {
    user(["ann", "ben"][number % 2])
}

impl Case {
    /// How many of so many clients get the event with a number.
    fn reached(&self, event: usize, clients: usize) -> u64 {
        let to = (self.to)(event);
        let gets = |client: &usize| {
            let name = (self.view)(*client).user;
            to.is_empty() || name.is_some_and(|key| to.iter().any(|to| user(to).user == Some(key)))
        };
        (0..clients).filter(gets).count() as u64
    }

    /// How often memory is taken while [`EVENTS`] events go to so many clients, `burst` of them at
    /// a time.
    fn takes(&self, clients: usize, burst: usize) -> usize {
        let mut shard_harness = ShardHarness::new();
        let workspace = WorkspaceId::parse("acme").unwrap();
        for client in 0..clients {
            shard_harness.join(&workspace, (self.view)(client));
        }
        shard_harness.confirm(&workspace);
        shard_harness.greet();
        let deliveries: Vec<u64> = (0..EVENTS).map(|event| self.reached(event, clients)).collect();
        let mut publisher = Publisher::default();
        let mut round = || {
            let message = |event| match self.logged {
                true => publisher.logged(PAYLOAD, (self.to)(event)),
                false => Bytes::from_static(PAYLOAD.as_bytes()),
            };
            let mut messages: Vec<_> = (0..EVENTS).map(message).collect();
            taken(|| {
                let mut messages = messages.drain(..);
                for deliveries in deliveries.chunks(burst) {
                    shard_harness.publish(&workspace, messages.by_ref().take(burst));
                    shard_harness.deliver(deliveries.iter().sum());
                    shard_harness.drain();
                }
            })
        };
        const { assert!(EVENTS > RING_EVENTS) };
        // What is kept from then on is there.
        round();
        least(round)
    }

    /// Neither a client nor a delivery takes memory, and an event does not take it often.
    fn check(&self) {
        for burst in [1, 64] {
            let (few, many) = (self.takes(FEW, burst), self.takes(MANY, burst));
            // The shard's inbox takes memory for some dozens of words at a time, so it may do so
            // once more or less.
            assert!(
                few.abs_diff(many) <= 1,
                "{few} with {FEW} clients, {many} with {MANY}, {burst} at a time"
            );
            let each = few as f64 / EVENTS as f64;
            assert!(each <= self.most, "{each:.2} for an event, {burst} at a time");
            println!("{each:.2} for an event, {burst} at a time");
        }
    }
}

#[test]
fn an_event_takes_memory_once_however_many_clients_get_it() {
    let _alone = ALONE.lock();
    PLAIN.check();
}

#[test]
fn a_live_event_takes_no_more() {
    let _alone = ALONE.lock();
    Case { logged: false, most: 4.1, ..PLAIN }.check();
}

#[test]
fn that_clients_have_names_and_terms_takes_nothing() {
    let _alone = ALONE.lock();
    Case { view: |number| user(&format!("user-{number}")), ..PLAIN }.check();
}

#[test]
fn named_form_takes_memory_once_for_all_clients() {
    let _alone = ALONE.lock();
    Case {
        view: |_| SubscriptionFilter { named: true, ..SubscriptionFilter::default() },
        most: 6.1,
        ..PLAIN
    }
    .check();
}

#[test]
fn private_event_takes_no_memory_for_any_client() {
    let _alone = ALONE.lock();
    Case { view: ann_or_ben, to: |_| &["ann"], most: 13.1, ..PLAIN }.check();
}

#[test]
fn events_of_changing_audiences_take_no_memory_for_a_client() {
    let _alone = ALONE.lock();
    let to = |event| [&[][..], &["ann"], &["ben"], &["ann", "ben"]][event % 4];
    Case { view: ann_or_ben, to, most: 11.6, ..PLAIN }.check();
}

/// A client with a filter is woken and read for alone. That takes eight bytes in the inbox, which
/// has memory for some dozens of them at a time.
#[test]
fn client_with_a_filter_takes_eight_bytes_more() {
    let _alone = ALONE.lock();
    let view = |_| SubscriptionFilter {
        types: TypeFilter::parse("CHANNEL_UPDATED").ok(),
        ..SubscriptionFilter::default()
    };
    let case = Case { view, ..PLAIN };
    let (few, many) = (case.takes(FEW, 1), case.takes(MANY, 1));
    let more = (MANY - FEW) * EVENTS;
    assert!(many - few < more / 24, "{few} with {FEW} clients, {many} with {MANY}: {more} deliveries more");
}
