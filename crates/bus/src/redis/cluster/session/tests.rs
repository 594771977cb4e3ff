use std::collections::HashMap;

use super::super::scripted::{
    RecordedCalls, ScriptedReply, ScriptedServer, eventually, primary, settings, shared_with,
};
use super::super::topology::ServerPlace;
use super::super::view::TopologyView;
use super::*;

mod links;
mod losses;

/// Probes that never arrive are missing after this time. A busy server replies within it.
const SHORT: f64 = 0.3;
/// Probes that arrive do so within this time, on a busy machine too.
const LONG: f64 = 40.0;

/// The probes of a link to a server that counts its subscribers as `receivers`.
struct Fixture {
    server: ScriptedServer,
    shared: Arc<ClusterShared>,
    shard: Arc<ClusterShard>,
    probes: ShardProbes,
}

impl Fixture {
    /// `patience`: seconds for the arrival of a probe.
    async fn start(receivers: u8, patience: f64) -> Self {
        let server = ScriptedServer::start(move |_| ScriptedReply::Send(format!(":{receivers}\r\n"))).await;
        let config = settings(server.port, patience);
        let shared = shared_with(config, Arc::<RecordedCalls>::default());
        let place = ServerPlace { hosts: vec!["127.0.0.1".to_owned()], port: server.port, is_failed: false };
        let shard = Arc::new(ClusterShard::new(ServerId::from("one"), shared.servers.at(&place)));
        let probes = ShardProbes::default();
        probes.set_channel(Some("probe"));
        Self { server, shared, shard, probes }
    }

    async fn run(&self) -> Lost {
        let server = Arc::clone(&self.shard.server.borrow());
        let lost = self.probes.run(&self.shared, &self.shard, &server);
        timeout(Duration::from_secs(40), lost).await.expect("the link is given up")
    }

    /// The probes that the server got.
    fn sent(&self) -> usize {
        self.server.received().iter().filter(|command| command.starts_with("SPUBLISH probe ")).count()
    }
}

/// One may be late on a busy machine; the server sends the next one to the subscriber too.
#[tokio::test]
async fn link_that_does_not_deliver_probes_is_given_up() {
    let fixture = Fixture::start(1, SHORT).await;
    let lost = fixture.run().await;
    assert!(lost.0.contains("do not arrive"), "{}", lost.0);
    assert!(fixture.sent() >= usize::try_from(MISSING_MAX).unwrap());
}

/// The links lead to two servers.
#[tokio::test]
async fn probe_without_a_subscriber_gives_the_link_up_at_once() {
    let fixture = Fixture::start(0, 2.0).await;
    fixture.run().await;
    assert_eq!(fixture.sent(), 1);
}

#[tokio::test]
async fn link_that_delivers_probes_is_kept() {
    let fixture = Fixture::start(1, LONG).await;
    assert!(!fixture.probes.have_begun(&fixture.shard), "no probe has arrived yet");
    let delivered = async {
        for number in 1..=10 {
            while fixture.sent() < number {
                tokio::task::yield_now().await;
            }
            fixture.probes.on_received(number as u64, &fixture.shard);
        }
    };
    tokio::select! {
        lost = fixture.run() => panic!("{}", lost.0),
        () = delivered => {}
    }
    assert!(fixture.probes.have_begun(&fixture.shard));
    assert!(fixture.shard.status.lock().received_at.is_some());
}

/// A user that may not publish probes has the replies to checks.
#[tokio::test]
async fn refused_probes_keep_the_link() {
    let mut fixture = Fixture::start(1, LONG).await;
    fixture.server = ScriptedServer::start(|_| ScriptedReply::Send("-NOPERM no\r\n".to_owned())).await;
    let place =
        ServerPlace { hosts: vec!["127.0.0.1".to_owned()], port: fixture.server.port, is_failed: false };
    fixture.shard.server.send_replace(fixture.shared.servers.at(&place));
    let sent_five = async {
        while fixture.sent() < 5 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        lost = fixture.run() => panic!("{}", lost.0),
        () = sent_five => {}
    }
    ShardProbes::on_check(&fixture.shard);
    assert!(fixture.probes.have_begun(&fixture.shard));
}

/// Probes of one server alone, whose script may use those of the link.
async fn run_against(
    script: impl FnMut(u64, &ShardProbes) -> ScriptedReply + Send + 'static,
    patience: f64,
    is_done: impl Fn(&Fixture) -> bool,
) -> Result<Fixture, Lost> {
    let mut script = script;
    let mut fixture = Fixture::start(0, patience).await;
    let (probes, shard) = (Arc::new(std::mem::take(&mut fixture.probes)), Arc::clone(&fixture.shard));
    let of_script = Arc::clone(&probes);
    fixture.server = ScriptedServer::start(move |command| {
        let number = command.rsplit(' ').next().unwrap().parse().unwrap();
        script(number, &of_script)
    })
    .await;
    let place =
        ServerPlace { hosts: vec!["127.0.0.1".to_owned()], port: fixture.server.port, is_failed: false };
    let server = fixture.shared.servers.at(&place);
    let done = eventually(|| is_done(&fixture));
    tokio::select! {
        lost = probes.run(&fixture.shared, &shard, &server) => return Err(lost),
        () = done => {}
    }
    Ok(fixture)
}

fn receivers(count: u8) -> ScriptedReply {
    ScriptedReply::Send(format!(":{count}\r\n"))
}

/// Probes that are missing one at a time are late, and the link delivers.
#[tokio::test]
async fn probe_that_arrives_forgives_a_missing_one() {
    let script = |number, probes: &ShardProbes| {
        if number % 2 == 0 {
            probes.received.send_replace(number);
        }
        receivers(1)
    };
    assert!(run_against(script, SHORT, |fixture| fixture.sent() >= 7).await.is_ok());
}

/// The server of the former channel no longer has a subscriber for it.
#[tokio::test]
async fn probe_of_a_former_channel_is_not_missing() {
    let mut is_first = true;
    let script = move |number, probes: &ShardProbes| {
        if std::mem::take(&mut is_first) {
            probes.set_channel(Some("probe of another slot"));
            return receivers(0);
        }
        probes.received.send_replace(number);
        receivers(1)
    };
    let has_moved = |fixture: &Fixture| fixture.server.count("SPUBLISH probe of another slot") > 2;
    assert!(run_against(script, SHORT, has_moved).await.is_ok());
}

/// A pause is between probes, also if the channel is named again and again.
#[tokio::test]
async fn probes_do_not_follow_each_other_at_once() {
    let probes = ShardProbes::default();
    let mut channel = probes.channel.subscribe();
    probes.set_channel(Some("probe"));
    assert!(channel.has_changed().unwrap());
    channel.mark_unchanged();
    probes.set_channel(Some("probe"));
    assert!(!channel.has_changed().unwrap());
    let began = Instant::now();
    let script = |number, probes: &ShardProbes| {
        probes.received.send_replace(number);
        receivers(1)
    };
    let sent = |fixture: &Fixture| fixture.sent() > 10;
    assert!(run_against(script, LONG, sent).await.is_ok());
    assert!(began.elapsed() >= Duration::from_millis(100), "{:?}", began.elapsed());
}

/// Errors that pass say nothing about a right.
#[tokio::test]
async fn refusal_of_probes_is_noted_until_one_is_accepted() {
    let noted = |fixture: &Fixture| fixture.shard.status.lock().probe_refused.is_some();
    let refuse = |_, _: &ShardProbes| ScriptedReply::Send("-NOPERM no\r\n".to_owned());
    assert!(run_against(refuse, LONG, noted).await.is_ok());
    for line in ["MOVED 7 127.0.0.1:1", "CLUSTERDOWN no"] {
        let pass = move |_, _: &ShardProbes| ScriptedReply::Send(format!("-{line}\r\n"));
        let fixture = run_against(pass, LONG, |fixture| fixture.sent() > 3).await.ok().unwrap();
        assert!(!noted(&fixture), "{line}");
    }
    let pass = |_, _: &ShardProbes| ScriptedReply::Close;
    let fixture = run_against(pass, LONG, |fixture| fixture.sent() > 3).await.ok().unwrap();
    assert!(!noted(&fixture), "a lost link");
    let mut is_first = true;
    let accept = move |number, probes: &ShardProbes| {
        probes.received.send_replace(number);
        let is_refused = std::mem::take(&mut is_first);
        if is_refused { ScriptedReply::Send("-NOPERM no\r\n".to_owned()) } else { receivers(1) }
    };
    let fixture = run_against(accept, LONG, |fixture| fixture.sent() > 3).await.ok().unwrap();
    assert!(!noted(&fixture), "the right was given");
}

/// A demoted primary keeps its connections, and passes on only a part of the messages.
#[test]
fn link_to_a_replica_is_given_up() {
    let identity = |role: &str| {
        let hello = HashMap::from([("role", role), ("mode", "cluster")]);
        let pairs = hello.into_iter().map(|(name, value)| {
            (Value::SimpleString(name.to_owned()), Value::SimpleString(value.to_owned()))
        });
        ServerIdentity::of_hello(Value::Map(pairs.collect()))
    };
    assert!(check_role(&identity("replica")).is_err());
    assert!(check_role(&identity("slave")).is_err());
    assert!(check_role(&identity("master")).is_ok());
}

/// A search in vain tries 300,000 names.
#[test]
fn no_name_is_tried_while_all_slots_of_a_shard_move() {
    let topology = |slots: &str| {
        let text = primary(1, 1, 1, slots, true) + &primary(2, 2, 2, "100-16383", false);
        Topology::join(&[TopologyView::parse(&text, "127.0.0.1").unwrap()], None)
    };
    let target = format!("{:040}", 2);
    let (first, second) = (ServerId::from(format!("{:040}", 1)), ServerId::from(target.clone()));
    let tried = std::cell::Cell::new(0);
    let names = || {
        (0..NAMES_MAX).map(|number| {
            tried.set(tried.get() + 1);
            format!("probe/{number}")
        })
    };
    let moving = topology(&format!("7 [7->-{target}]"));
    assert_eq!(name_of_shard(&moving, &first, names()), None);
    assert_eq!(name_of_shard(&moving, &ServerId::from("no owner"), names()), None);
    assert_eq!(tried.get(), 0);
    assert!(name_of_shard(&moving, &second, names()).is_some());
    let one_is_settled = topology(&format!("7-8 [7->-{target}]"));
    let name = name_of_shard(&one_is_settled, &first, names()).unwrap();
    assert_eq!(slot_of(name.as_bytes()), 8);
}
