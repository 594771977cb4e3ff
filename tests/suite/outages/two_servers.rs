//! The address leads to another server than before, and the old one continues to respond. It is a
//! demoted primary behind a name, a virtual address or a proxy, without Sentinels.

use std::time::Duration;

use super::{RECOVERY, check_no_silent_loss};
use crate::support::commands::run_tidings;
use crate::support::ledger::SCRIPT;
use crate::support::{
    Broker, BrokerOptions, Connect, DEADLINE, RedisOptions, RedisServer, SseClient, TcpProxy, eventually,
    http,
};

/// A user with the documented rights and no others: it may not ask for `INFO`.
const DOCUMENTED: &str = "node on >secret ~workspace:* ~{workspace:* ~tidings/workspace:* &workspace:* &tidings:control -@all +subscribe +unsubscribe \
    +publish +eval +evalsha +xadd +xtrim +xlen +xrange +xrevrange +xinfo|stream +expire +get +set +time +del +zadd +zrevrange \
    +zrangebyscore +zremrangebyrank +zremrangebyscore +pexpireat +ping +hello";

/// A port on which nothing listens.
const NOWHERE: &str = "1";

/// Two servers of which the second replicates the first, and a broker that reaches the first
/// through a proxy.
struct Pair {
    // Ends first, so that its log is not about the end of the others.
    broker: Broker,
    proxy: TcpProxy,
    old: RedisServer,
    new: RedisServer,
}

impl Pair {
    async fn start(user: &str) -> Self {
        Self::start_with(user, |options| options).await
    }

    async fn start_with(user: &str, settings: impl FnOnce(BrokerOptions) -> BrokerOptions) -> Self {
        let options = || RedisOptions { users: vec![DOCUMENTED.to_owned()], ..RedisOptions::default() };
        let (old, new) = (RedisServer::start_with(options()).await, RedisServer::start_with(options()).await);
        new.command::<String>(&["REPLICAOF", "127.0.0.1", &old.port().to_string()]).await;
        eventually("the replica is linked", DEADLINE, async || {
            new.info("replication").await.contains("master_link_status:up")
        })
        .await;
        let proxy = TcpProxy::start(old.port()).await;
        let options = BrokerOptions::embedded().set("redis.url", proxy.url(user));
        let broker = Broker::start_ready(settings(options.set("sse.heartbeat_seconds", 0.5))).await;
        Self { broker, proxy, old, new }
    }

    /// Waits until the replica has all that was published.
    async fn settle(&self) {
        self.old.command::<String>(&["SET", "settled", "1"]).await;
        eventually("the replica has it", DEADLINE, async || {
            self.new.command::<Option<String>>(&["GET", "settled"]).await.is_some()
        })
        .await;
    }

    /// Makes the second server the primary. The first becomes a replica that does not reach it.
    async fn fail_over(&self) {
        self.new.command::<String>(&["REPLICAOF", "NO", "ONE"]).await;
        self.old.command::<String>(&["REPLICAOF", "127.0.0.1", NOWHERE]).await;
        self.proxy.point_to(self.new.port());
    }

    /// Publishes numbers through the broker until each is acknowledged, and checks that they come,
    /// in order.
    async fn check_acknowledged_comes(&self, client: &mut SseClient, numbers: std::ops::Range<u32>) {
        for number in numbers.clone() {
            eventually("an event is acknowledged", DEADLINE, async || {
                self.broker.try_publish("acme", &number.to_string()).await.is_some()
            })
            .await;
        }
        let last = (numbers.end - 1).to_string();
        client.wait_for(DEADLINE, |event| event.data == last).await;
        let expected: Vec<_> = numbers.map(|number| number.to_string()).collect();
        let data = client.application_data();
        assert!(data.ends_with(&expected), "{data:?}");
    }
}

#[tokio::test]
async fn demoted_primary_is_left_for_its_successor() {
    let pair = Pair::start("").await;
    let mut client = pair.broker.connect("acme").await;
    client.connected().await;
    pair.check_acknowledged_comes(&mut client, 0..5).await;
    pair.settle().await;
    pair.fail_over().await;
    pair.check_acknowledged_comes(&mut client, 5..25).await;
    let resets = client.events().iter().filter(|event| event.kind == "tidings.reset").count();
    assert_eq!((resets, client.end()), (0, None), "the log proves that nothing is missing");

    let mut late = pair.broker.connect("acme").await;
    late.connected().await;
    assert_eq!(pair.new.publish("workspace:acme", "live").await, 1);
    late.wait_for(DEADLINE, |event| event.data == "live").await;
    client.wait_for(DEADLINE, |event| event.data == "live").await;
    pair.broker.ready().await;
}

/// Two servers that both call themselves the primary choose different ids. So a client that has the
/// event of one of them learns that it misses the event of the other. In both copies of the log the
/// newest id is ahead of the clock, which would be the base of both next ids.
#[tokio::test]
async fn second_primary_gives_no_id_of_the_first() {
    let pair = Pair::start("").await;
    let ahead = ["XADD", "workspace:acme", "9999999999999-0", "data", "0"];
    pair.old.command::<String>(&ahead).await;
    pair.settle().await;
    pair.new.command::<String>(&["REPLICAOF", "NO", "ONE"]).await;
    let mut client = pair.broker.connect("acme").await;
    client.connected().await;
    pair.broker.publish("acme", "of the first").await;
    let seen = client.wait_for(DEADLINE, |event| event.data == "of the first").await;
    pair.new.command::<String>(&["EVAL", SCRIPT, "1", "workspace:acme", "of the second"]).await;

    let other = Broker::start_ready(BrokerOptions::embedded().set("redis.url", pair.new.url())).await;
    let from = Connect { last_event_id: Some(seen.id), ..Connect::default() };
    let mut moved = other.connect_with("acme", from).await;
    moved.wait_for(DEADLINE, |event| event.kind == "tidings.reset").await;
}

#[tokio::test]
async fn live_events_around_a_demotion_arrive_or_cause_a_reset() {
    const LAST: u64 = 150;
    let pair = Pair::start("").await;
    let mut client = pair.broker.connect("acme").await;
    client.connected().await;
    for number in 0..=LAST {
        let primary = if number < 20 { &pair.old } else { &pair.new };
        primary.publish("workspace:acme", &number.to_string()).await;
        if number == 19 {
            client.wait_for(DEADLINE, |event| event.data == "19").await;
            pair.fail_over().await;
        }
        if number == LAST - 1 {
            eventually("the node listens to the new primary", RECOVERY, async || {
                pair.new.subscribers("workspace:acme").await == 1
            })
            .await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    client.wait_for(DEADLINE, |event| event.data == LAST.to_string()).await;
    check_no_silent_loss(&client.events(), LAST);
    assert!((client.application_data().len() as u64) < LAST, "nothing was lost, so nothing was tested");
}

#[tokio::test]
async fn demotion_without_successor_holds_new_clients() {
    let pair = Pair::start_with("", |options| options.set("redis.confirm_seconds", 60)).await;
    let mut client = pair.broker.connect("acme").await;
    client.connected().await;
    client
        .wait_for(DEADLINE, |event| event.kind == "tidings.heartbeat" && event.json()["live"] == true)
        .await;
    pair.new.command::<String>(&["REPLICAOF", "NO", "ONE"]).await;
    pair.old.command::<String>(&["REPLICAOF", "127.0.0.1", &pair.new.port().to_string()]).await;

    eventually("the node says why it is not ready", DEADLINE, async || {
        let ready = http::get(pair.broker.admin(), "/ready").await;
        ready.status == 503 && ready.text().contains("a replica")
    })
    .await;
    client
        .wait_for(DEADLINE, |event| event.kind == "tidings.heartbeat" && event.json()["live"] == false)
        .await;
    let mut late = pair.broker.connect("acme").await;
    late.wait_for(DEADLINE, |event| event.kind == "tidings.heartbeat").await;
    assert!(late.events().iter().all(|event| event.kind == "tidings.heartbeat"), "{:?}", late.events());

    pair.proxy.point_to(pair.new.port());
    late.wait_for(RECOVERY, |event| event.is_connected()).await;
    pair.broker.ready().await;
    pair.new.publish("workspace:acme", "heard").await;
    late.wait_for(DEADLINE, |event| event.data == "heard").await;
    client.wait_for(DEADLINE, |event| event.data == "heard").await;
}

/// Both servers are primaries by their own word, and commands go to the second one.
async fn check_links_on_two_primaries(user: &str) {
    let pair = Pair::start(user).await;
    let mut client = pair.broker.connect("acme").await;
    client.connected().await;
    pair.check_acknowledged_comes(&mut client, 0..5).await;
    pair.settle().await;
    pair.new.command::<String>(&["REPLICAOF", "NO", "ONE"]).await;
    pair.proxy.point_to(pair.new.port());
    pair.proxy.close_commands();
    pair.check_acknowledged_comes(&mut client, 5..25).await;
    eventually("the node left the old primary", DEADLINE, async || {
        pair.old.subscribers("workspace:acme").await == 0
    })
    .await;
    assert_eq!(client.end(), None);
    pair.broker.ready().await;
}

#[tokio::test]
async fn links_on_two_primaries_are_both_given_up() {
    check_links_on_two_primaries("").await;
}

#[tokio::test]
async fn documented_rights_give_up_links_on_two_primaries() {
    check_links_on_two_primaries("node:secret@").await;
}

#[tokio::test]
async fn address_of_two_primaries_is_named_and_no_link() {
    let (one, other) = (RedisServer::start().await, RedisServer::start().await);
    let proxy = TcpProxy::start(one.port()).await;
    let url = proxy.url("");
    proxy.point_once_to(other.port());
    let check = run_tidings(&["check"], &[("redis.url", &url)]).await;
    assert_eq!(check.code, Some(1), "{}", check.stdout);
    assert!(check.stdout.contains("reached two servers"), "{}", check.stdout);

    proxy.point_once_to(other.port());
    let broker = Broker::start_ready(BrokerOptions::embedded().set("redis.url", &url)).await;
    let (refused, linked) = (broker.log().find("leads to two servers"), broker.log().find("linked to Redis"));
    assert!(refused.is_some() && refused < linked, "{}", broker.log());
    assert_eq!(broker.log().matches("linked to Redis").count(), 1, "{}", broker.log());
}

#[tokio::test]
async fn probes_that_stay_out_are_a_lost_link() {
    let server = RedisServer::start().await;
    let proxy = TcpProxy::start(server.port()).await;
    let options = BrokerOptions::embedded().set("redis.url", proxy.url(""));
    let broker = Broker::start_ready(options).await;
    let mut client = broker.connect_with("acme", Connect::default()).await;
    client.connected().await;
    server.publish("workspace:acme", "before").await;
    client.wait_for(DEADLINE, |event| event.data == "before").await;

    proxy.deafen();
    server.publish("workspace:acme", "unheard").await;
    let reset = client.wait_for(RECOVERY, |event| event.kind == "tidings.reset").await;
    assert_eq!(reset.json()["reason"], "interrupted");
    server.publish("workspace:acme", "after").await;
    client.wait_for(DEADLINE, |event| event.data == "after").await;
    assert_eq!(broker.status().await["bus"]["interruptions"], 1);
}
