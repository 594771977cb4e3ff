use futures_util::FutureExt;

use super::*;
use crate::pubsub::subscriber::{NAME_BYTES_MAX, RedisSubscriber};

/// A handler that records its calls.
#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl Recorder {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }

    fn note(&self, line: String) {
        self.0.lock().push(line);
    }
}

impl BusHandler for Recorder {
    fn confirmed(&self, workspace: &WorkspaceId) {
        self.note(format!("confirmed {workspace}"));
    }

    fn refused(&self, workspace: &WorkspaceId, reason: &str) {
        self.note(format!("refused {workspace} {reason}"));
    }

    fn message(&self, workspace: &WorkspaceId, message: Bytes) {
        self.note(format!("{workspace} {}", String::from_utf8_lossy(&message)));
    }

    fn control_confirmed(&self) {}

    fn control(&self, message: Bytes) {
        self.note(format!("order {}", String::from_utf8_lossy(&message)));
    }

    fn lost(&self, _workspace: &WorkspaceId) {}

    fn interrupted(&self) {
        self.note("interrupted".to_owned());
    }
}

fn pubsub() -> (Arc<PubSub>, Arc<Recorder>) {
    let pubsub = Arc::new(PubSub::new("workspace:", "tidings:control"));
    let bus_handler = Arc::new(Recorder::default());
    pubsub.attach(Arc::clone(&bus_handler) as Arc<dyn BusHandler>);
    (pubsub, bus_handler)
}

fn workspace(text: &str) -> WorkspaceId {
    WorkspaceId::parse(text).unwrap()
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn publish(pubsub: &PubSub, channel: &'static str, message: &'static str) -> usize {
    pubsub.publish(&bytes(channel), &bytes(message))
}

fn subscriber(pubsub: &Arc<PubSub>, output_bytes: usize) -> RedisSubscriber {
    RedisSubscriber::new(Arc::clone(pubsub), OutputBuffer::new(output_bytes))
}

/// The output of a subscriber, with visible line ends.
fn waiting(subscriber: &RedisSubscriber) -> String {
    let mut text = String::new();
    while let Some(Some(bytes)) = subscriber.output_buffer().next().now_or_never() {
        text += &String::from_utf8_lossy(&bytes.bytes).replace("\r\n", " ");
    }
    if subscriber.output_buffer().overrun().now_or_never().is_some() {
        text += "overrun";
    }
    text
}

#[test]
fn handler_gets_confirmed_workspaces_alone() {
    let (pubsub, bus_handler) = pubsub();
    assert_eq!(publish(&pubsub, "workspace:a", "too early"), 0);
    pubsub.confirm(&workspace("a"));
    for (channel, receivers) in [
        ("workspace:a", 1),
        ("workspace:b", 0),
        ("workspace:", 0),
        ("workspace:a/b", 0),
        ("a", 0),
        ("xworkspace:a", 0),
    ] {
        assert_eq!(publish(&pubsub, channel, "x"), receivers, "{channel}");
    }
    pubsub.confirm(&workspace("a"));
    pubsub.release(&workspace("a"));
    assert_eq!(publish(&pubsub, "workspace:a", "too late"), 0);
    assert_eq!(bus_handler.take(), ["confirmed a", "a x", "confirmed a"]);
}

#[test]
fn detached_handler_gets_nothing() {
    let (pubsub, bus_handler) = pubsub();
    pubsub.confirm(&workspace("a"));
    pubsub.detach();
    assert_eq!(publish(&pubsub, "workspace:a", "x"), 0);
    assert_eq!(bus_handler.take(), ["confirmed a"]);
    assert_eq!(Arc::strong_count(&bus_handler), 1);
}

#[test]
fn every_way_of_listening_counts_as_a_receiver() {
    let (pubsub, bus_handler) = pubsub();
    pubsub.confirm(&workspace("a"));
    let mut one = subscriber(&pubsub, 10_000);
    one.subscribe(SubscriptionKind::Channel, &bytes("workspace:a")).unwrap();
    one.subscribe(SubscriptionKind::Pattern, &bytes("work*")).unwrap();
    let mut two = subscriber(&pubsub, 10_000);
    two.subscribe(SubscriptionKind::Pattern, &bytes("work*")).unwrap();
    assert_eq!(pubsub.receivers(&bytes("workspace:a")), 4);
    assert_eq!(pubsub.receivers(&bytes("workspace:b")), 2);
    assert_eq!(publish(&pubsub, "workspace:a", "x"), 4);
    assert_eq!(pubsub.channels(b"*a", 1000), Some(vec![bytes("workspace:a")]));
    assert_eq!(pubsub.channels(b"*a", 10), None);
    assert_eq!(bus_handler.take(), ["confirmed a", "a x"]);
    assert_eq!(
        waiting(&one),
        "*3 $9 subscribe $11 workspace:a :1 *3 $10 psubscribe $5 work* :2 \
         *3 $7 message $11 workspace:a $1 x *4 $8 pmessage $5 work* $11 workspace:a $1 x "
    );
}

#[test]
fn a_dropped_subscriber_leaves_nothing_behind() {
    let (pubsub, _feed) = pubsub();
    let mut one = subscriber(&pubsub, 10_000);
    one.subscribe(SubscriptionKind::Channel, &bytes("a")).unwrap();
    one.subscribe(SubscriptionKind::Pattern, &bytes("*")).unwrap();
    drop(one);
    let state = pubsub.state.lock();
    assert!(state.members.iter().all(HashMap::is_empty));
}

#[test]
fn only_the_client_that_falls_behind_is_disconnected() {
    let (pubsub, handler) = pubsub();
    pubsub.confirm(&workspace("a"));
    let (mut slow, mut quick) = (subscriber(&pubsub, 1000), subscriber(&pubsub, 1000));
    slow.subscribe(SubscriptionKind::Channel, &bytes("workspace:a")).unwrap();
    quick.subscribe(SubscriptionKind::Channel, &bytes("workspace:a")).unwrap();
    let mut received = waiting(&quick).matches("message").count();
    for _ in 0..100 {
        publish(&pubsub, "workspace:a", "x");
        received += waiting(&quick).matches("message").count();
    }
    assert_eq!(received, 100);
    assert_eq!(waiting(&slow), "overrun");
    assert_eq!(handler.take().len(), 101);
}

#[test]
fn interruption_confirms_the_handler_again() {
    let (pubsub, handler) = pubsub();
    pubsub.confirm(&workspace("a"));
    pubsub.interrupt();
    publish(&pubsub, "workspace:a", "x");
    assert_eq!(handler.take(), ["confirmed a", "interrupted", "confirmed a", "a x"]);
}

/// The embedded bus has one order for the node and for every Redis client.
#[test]
fn handler_and_clients_see_one_order() {
    let (pubsub, handler) = pubsub();
    pubsub.confirm(&workspace("a"));
    let mut client = subscriber(&pubsub, 1 << 20);
    client.subscribe(SubscriptionKind::Channel, &bytes("workspace:a")).unwrap();
    waiting(&client);
    std::thread::scope(|scope| {
        for publisher in 0..4 {
            let pubsub = &pubsub;
            scope.spawn(move || {
                for number in 0..100 {
                    pubsub.publish(&bytes("workspace:a"), &Bytes::from(format!("{publisher}.{number}")));
                }
            });
        }
    });
    let seen = waiting(&client);
    let by_client: Vec<String> =
        seen.split(' ').filter(|word| word.contains('.')).map(|word| format!("a {word}")).collect();
    assert_eq!(by_client.len(), 400);
    assert_eq!(handler.take()[1..], by_client);
}

#[test]
fn subscriptions_are_bounded() {
    let (pubsub, _feed) = pubsub();
    let mut client = subscriber(&pubsub, 1 << 24);
    let long = Bytes::from(vec![b'x'; NAME_BYTES_MAX + 1]);
    assert!(client.subscribe(SubscriptionKind::Pattern, &long).is_err());
    assert!(client.subscribe(SubscriptionKind::Pattern, &bytes("a?")).is_err());
    client.subscribe(SubscriptionKind::Channel, &bytes("a?")).unwrap();
    let name = |number: usize| Bytes::from(format!("{number:0>NAME_BYTES_MAX$}"));
    let refused =
        (0..2000).find_map(|number| client.subscribe(SubscriptionKind::Channel, &name(number)).err());
    let Some(Reply::Error(refused)) = refused else { panic!("any number of subscriptions") };
    assert!(refused.contains("take at most"), "{refused}");
    client.subscribe(SubscriptionKind::Channel, &name(0)).unwrap();
    client.unsubscribe(SubscriptionKind::Channel, &name(0));
    client.subscribe(SubscriptionKind::Channel, &name(5000)).unwrap();
}
