use std::sync::OnceLock;

use futures_util::FutureExt as _;

use super::super::scripted::{RecordedCalls, settings_with, shared, shared_with, text, topology, workspace};
use super::super::view::ServerId;
use super::*;

mod checks;
mod counts;
mod orders;

/// The subscriptions of a shard, without a server.
struct Fixture {
    calls: Arc<RecordedCalls>,
    subscriptions: ShardSubscriptions,
}

impl Fixture {
    fn new() -> Self {
        Self::with_prefix("workspace:")
    }

    fn with_prefix(prefix: &str) -> Self {
        let calls = Arc::new(RecordedCalls::default());
        let config = settings_with("127.0.0.1", 1, &[("channel_prefix", prefix)]);
        let subscriptions = subscriptions(shared_with(config, Arc::clone(&calls)));
        Self { calls, subscriptions }
    }

    /// Applies a change of one workspace while there is a link.
    fn apply(&mut self, id: &str, change: SubscriptionChange) {
        self.subscriptions.apply([(workspace(id), change)].into(), true);
    }

    /// Sends the commands that wait, and returns their words with blanks between.
    fn send(&mut self) -> Vec<String> {
        let (commands, _) = self.subscriptions.commands(Instant::now());
        let words = |command: &Cmd| -> Vec<String> {
            let packed = redis::parse_redis_value(&command.get_packed_command()).unwrap();
            redis::from_redis_value(packed).unwrap()
        };
        commands.iter().map(|command| words(command).join(" ")).collect()
    }

    /// Sends all commands and replies to them; returns them.
    fn answer(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let sent = self.send();
            if sent.is_empty() {
                return all;
            }
            self.reply_to(&sent);
            all.extend(sent);
        }
    }

    /// Replies to commands as a server does.
    fn reply_to(&mut self, sent: &[String]) {
        for command in sent {
            let (name, channels) = command.split_once(' ').unwrap();
            let kind = match name {
                "SSUBSCRIBE" => PushKind::SSubscribe,
                "SUBSCRIBE" => PushKind::Subscribe,
                "SUNSUBSCRIBE" => PushKind::SUnsubscribe,
                _ => {
                    assert!(self.subscriptions.on_reply(Ok(Value::Okay)).is_ok(), "{command}");
                    continue;
                }
            };
            for channel in channels.split(' ') {
                assert!(self.push(&kind, channel, Value::Int(1)).is_ok(), "{command}");
            }
        }
    }

    fn reject(&mut self, line: &str) {
        assert!(self.subscriptions.on_reply(error(line)).is_ok(), "{line}");
    }

    fn push(&mut self, kind: &PushKind, channel: &str, more: Value) -> Result<Learned, Lost> {
        self.subscriptions.on_push(kind, vec![text(channel), more])
    }

    /// Subscribes to a workspace, and has it confirmed.
    fn confirm(&mut self, id: &str) {
        self.apply(id, SubscriptionChange::Want);
        assert_eq!(self.send(), [format!("SSUBSCRIBE workspace:{id}")]);
        assert!(self.push(&PushKind::SSubscribe, &format!("workspace:{id}"), Value::Int(1)).is_ok());
        assert_eq!(self.calls.take(), [format!("confirmed {id}")]);
    }

    /// Returns the workspaces that were given back.
    fn returned(&self) -> Vec<String> {
        let returned = self.subscriptions.shared.returned.take().now_or_never().unwrap_or_default();
        returned.into_iter().map(|(workspace, _)| workspace.to_string()).collect()
    }
}

fn subscriptions(shared: Arc<ClusterShared>) -> ShardSubscriptions {
    let topology = topology(1, &["0-16383"]);
    let (id, place) = topology.servers.first_key_value().unwrap();
    let shard = ClusterShard::new(id.clone(), shared.servers.at(place));
    ShardSubscriptions::new(shared, Arc::new(shard))
}

fn error(line: &str) -> RedisResult<Value> {
    let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
    let Value::ServerError(error) = value else { panic!("{line} is no error") };
    Err(error.into())
}

/// Only the messages of a confirmed subscription have a place in the order.
#[tokio::test]
async fn messages_outside_of_a_subscription_are_dropped() {
    let mut fixture = Fixture::new();
    fixture.apply("acme", SubscriptionChange::Want);
    fixture.send();
    let channel = "workspace:acme";
    let _ = fixture.push(&PushKind::SMessage, channel, text("early"));
    let _ = fixture.push(&PushKind::SSubscribe, channel, Value::Int(1));
    let _ = fixture.push(&PushKind::SMessage, channel, text("message"));
    let _ = fixture.push(&PushKind::SUnsubscribe, channel, Value::Int(0));
    let _ = fixture.push(&PushKind::SMessage, channel, text("late"));
    assert_eq!(fixture.calls.take(), ["confirmed acme", "message acme message", "lost acme"]);
}

/// The slot belongs to another server now.
#[tokio::test]
async fn unrequested_end_of_a_subscription_gives_the_workspace_back() {
    let mut fixture = Fixture::new();
    fixture.confirm("acme");
    fixture.confirm("other");
    let _ = fixture.push(&PushKind::SUnsubscribe, "workspace:acme", Value::Int(0));
    assert_eq!(fixture.calls.take(), ["lost acme"]);
    assert_eq!(fixture.returned(), ["acme"]);
}

/// The end of a link concerns what was confirmed. The next link subscribes to everything.
#[tokio::test]
async fn lost_link_loses_each_confirmed_workspace() {
    let mut fixture = Fixture::new();
    fixture.confirm("acme");
    fixture.apply("other", SubscriptionChange::Want);
    fixture.send();
    fixture.subscriptions.end();
    assert_eq!(fixture.calls.take(), ["lost acme"]);
    assert!(fixture.returned().is_empty());
    fixture.subscriptions.begin();
    let mut sent = fixture.send();
    sent.sort();
    let expected = ["SSUBSCRIBE workspace:acme", "SSUBSCRIBE workspace:other", "SUBSCRIBE tidings:control"];
    assert_eq!(sent, expected);
}

/// The new owner may confirm a workspace as soon as it is given back.
#[tokio::test]
async fn loss_is_reported_before_the_workspace_is_given_back() {
    #[derive(Default)]
    struct Order {
        shared: OnceLock<Arc<ClusterShared>>,
        losses: parking_lot::Mutex<Vec<bool>>,
    }
    impl tidings_event::BusHandler for Order {
        fn confirmed(&self, _: &WorkspaceId) {}
        fn refused(&self, _: &WorkspaceId, _: &str) {}
        fn message(&self, _: &WorkspaceId, _: Bytes) {}
        fn interrupted(&self) {}
        fn lost(&self, _: &WorkspaceId) {
            let is_returned = self.shared.get().unwrap().returned.take().now_or_never().is_some();
            self.losses.lock().push(is_returned);
        }
    }

    let order = Arc::new(Order::default());
    let base = Arc::into_inner(shared(Arc::default())).unwrap();
    let shared = Arc::new(ClusterShared { handler: Arc::clone(&order) as _, ..base });
    assert!(order.shared.set(Arc::clone(&shared)).is_ok());
    for give_back in [
        |subscriptions: &mut ShardSubscriptions| {
            let released = [(workspace("acme"), SubscriptionChange::Release)].into();
            subscriptions.apply(released, true);
        },
        ShardSubscriptions::give_all_back,
        |subscriptions: &mut ShardSubscriptions| {
            let _ = subscriptions.on_push(&PushKind::SUnsubscribe, vec![text("workspace:acme")]);
        },
    ] {
        let mut subscriptions = subscriptions(Arc::clone(&shared));
        subscriptions.apply([(workspace("acme"), SubscriptionChange::Want)].into(), true);
        subscriptions.commands(Instant::now());
        let _ = subscriptions.on_push(&PushKind::SSubscribe, vec![text("workspace:acme"), Value::Int(1)]);
        give_back(&mut subscriptions);
        assert!(shared.returned.take().now_or_never().is_some());
        assert_eq!(std::mem::take(&mut *order.losses.lock()), [false]);
    }
}

/// The subscription is confirmed after the node has released the workspace.
#[tokio::test]
async fn late_confirmation_is_undone() {
    let mut fixture = Fixture::new();
    fixture.apply("acme", SubscriptionChange::Want);
    fixture.send();
    fixture.apply("acme", SubscriptionChange::Release);
    assert_eq!(fixture.returned(), ["acme"]);
    assert!(fixture.push(&PushKind::SSubscribe, "workspace:acme", Value::Int(1)).is_ok());
    assert_eq!(fixture.send(), ["SUNSUBSCRIBE workspace:acme", "HELLO 3"]);
    assert!(fixture.calls.take().is_empty());
}

/// A reply that belongs to no command would confirm the wrong workspace.
#[tokio::test]
async fn reply_out_of_order_ends_the_link() {
    let mut fixture = Fixture::new();
    fixture.apply("acme", SubscriptionChange::Want);
    fixture.send();
    assert!(fixture.push(&PushKind::SSubscribe, "workspace:other", Value::Int(1)).is_err());
    assert!(fixture.push(&PushKind::Subscribe, "tidings:control", Value::Int(1)).is_err());
    assert!(fixture.calls.take().is_empty());
    assert!(Fixture::new().subscriptions.on_reply(Ok(Value::Okay)).is_err());
}

#[tokio::test]
async fn redirected_subscription_gives_the_workspaces_back() {
    let lines = ["MOVED 7 127.0.0.1:7001", "CLUSTERDOWN Hash slot not served", "TRYAGAIN busy"];
    for line in lines {
        let mut fixture = Fixture::new();
        fixture.apply("acme", SubscriptionChange::Want);
        fixture.send();
        assert!(fixture.subscriptions.on_reply(error(line)).is_ok());
        assert_eq!(fixture.returned(), ["acme"], "{line}");
        assert!(fixture.calls.take().is_empty(), "it was never confirmed");
    }
    let mut fixture = Fixture::new();
    fixture.apply("acme", SubscriptionChange::Want);
    fixture.send();
    assert!(fixture.subscriptions.on_reply(error("NOPERM no")).is_ok());
    assert_eq!(fixture.calls.take(), ["refused acme"]);
    assert!(fixture.returned().is_empty(), "no other server allows it");
}

#[tokio::test]
async fn commands_without_a_reply_are_bounded() {
    let mut fixture = Fixture::new();
    let wanted = (0..20_000).map(|number| (workspace(&format!("w{number}")), SubscriptionChange::Want));
    fixture.subscriptions.apply(wanted.collect(), true);
    assert_eq!(fixture.send().len(), UNDER_WAY_MAX);
    assert!(fixture.send().is_empty());
}

/// A node that is subscribed at the source does not receive the announcements of the target.
#[tokio::test]
async fn confirmed_workspaces_of_migrating_slots_are_read() {
    let mut fixture = Fixture::new();
    fixture.confirm("acme");
    fixture.apply("other", SubscriptionChange::Want);
    let slot = |id: &str| slot_of(format!("workspace:{id}").as_bytes());
    let migrating = [slot("acme"), slot("other")].into();
    let moving: Vec<_> = fixture.subscriptions.on_the_move(&migrating).collect();
    assert_eq!(moving, [&workspace("acme")]);
    assert_eq!(fixture.subscriptions.on_the_move(&[].into()).count(), 0);
}

/// Each primary has a copy of a command, and the node carries it out once.
#[tokio::test]
async fn control_command_is_passed_on_once() {
    let mut fixture = Fixture::new();
    for id in ["one", "other"] {
        let server = Arc::clone(&fixture.subscriptions.shard.server.borrow());
        fixture.subscriptions.shard = Arc::new(ClusterShard::new(ServerId::from(id), server));
        let _ = fixture.push(&PushKind::Message, "tidings:control", text("{}"));
    }
    assert_eq!(fixture.calls.take(), ["control {}"]);
}
