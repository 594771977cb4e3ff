use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::super::scripted::{
    RecordedCalls, ScriptedReply, ScriptedServer, eventually, settings_with, workspace,
};
use super::*;
use crate::LinkState;

const LONG: Duration = Duration::from_secs(40);

/// A bus over a server that has all slots.
struct Fixture {
    server: ScriptedServer,
    bus: Arc<ClusterBus>,
    calls: Arc<RecordedCalls>,
    desired: Arc<DesiredSubscriptions>,
    stop: CancellationToken,
    run: tokio::task::JoinHandle<()>,
}

impl Fixture {
    async fn start(
        values: &[(&str, &str)],
        script: impl FnMut(&str) -> Option<ScriptedReply> + Send + 'static,
    ) -> Self {
        let slots = Arc::new(Mutex::new("0-16383".to_owned()));
        let server = ScriptedServer::start_primary(slots, script).await;
        let values = [&[("probe_seconds", "0.01"), ("ping_seconds", "0.02")], values].concat();
        let config = settings_with("127.0.0.1", server.port, &values);
        let retention =
            RetentionConfig { events: 10, seconds: tidings_settings::Seconds::new(LONG), bytes: 1 << 20 };
        let (desired, metrics) = (Arc::<DesiredSubscriptions>::default(), Arc::<Metrics>::default());
        let bus = ClusterBus::new(&config, &retention, NodeId::random(), Arc::clone(&desired), metrics);
        let (bus, calls, stop) = (Arc::new(bus.unwrap()), Arc::default(), CancellationToken::new());
        let handler: Arc<RecordedCalls> = Arc::clone(&calls);
        let run = tokio::spawn(Arc::clone(&bus).run(handler, stop.clone()));
        Self { server, bus, calls, desired, stop, run }
    }
}

#[tokio::test]
async fn bus_follows_the_desired_subscriptions_until_it_is_stopped() {
    let fixture = Fixture::start(&[], |_| None).await;
    fixture.desired.want(&workspace("acme"));
    fixture.calls.until("confirmed acme").await;
    eventually(|| fixture.bus.state().link == LinkState::Up).await;
    let cluster = fixture.bus.state().cluster.unwrap();
    assert_eq!((cluster.shards.len(), cluster.slots_uncovered), (1, 0));
    fixture.desired.release(&workspace("acme"));
    fixture.calls.until("lost acme").await;
    fixture.stop.cancel();
    tokio::time::timeout(LONG, fixture.run).await.expect("the bus ends").unwrap();
    assert_eq!(fixture.bus.state().interruptions, 0);
}

/// The state is composed from time to time, and the loss counts once.
#[tokio::test]
async fn lost_link_counts_as_one_interruption() {
    let is_away = Arc::<AtomicBool>::default();
    let of_script = Arc::clone(&is_away);
    let values = [("backoff_max_seconds", "0.1"), ("cluster.poll_seconds", "0.1")];
    let fixture = Fixture::start(&values, move |command| {
        let is_now = command.starts_with("HELLO") && of_script.load(Ordering::SeqCst);
        is_now.then(|| ScriptedReply::Send("-ERR no\r\n".to_owned()))
    })
    .await;
    for round in 0..2 {
        eventually(|| fixture.bus.state().link == LinkState::Up).await;
        assert_eq!(fixture.bus.state().interruptions, round);
        is_away.store(true, Ordering::SeqCst);
        eventually(|| fixture.bus.state().interruptions > round).await;
        // Several states later it is the same interruption.
        let before = fixture.server.count("CLUSTER NODES");
        eventually(|| fixture.server.count("CLUSTER NODES") > before + 10).await;
        assert_eq!(fixture.bus.state().interruptions, round + 1);
        is_away.store(false, Ordering::SeqCst);
    }
}

/// The node tries the right to marks of live events until the server accepts or rejects it.
#[tokio::test]
async fn right_to_marks_is_tried_until_there_is_an_outcome() {
    for (outcome, is_final) in [(":1\r\n", true), ("-NOPERM no\r\n", true), ("", false)] {
        let attempts = Arc::<AtomicUsize>::default();
        let of_script = Arc::clone(&attempts);
        let values = [("backoff_min_seconds", "0.001"), ("backoff_max_seconds", "0.2")];
        let fixture = Fixture::start(&values, move |command| {
            if !command.starts_with("EVAL") {
                return None;
            }
            of_script.fetch_add(1, Ordering::SeqCst);
            Some(match outcome {
                "" => ScriptedReply::Close,
                outcome => ScriptedReply::Send(outcome.to_owned()),
            })
        })
        .await;
        let began = Instant::now();
        if is_final {
            eventually(|| attempts.load(Ordering::SeqCst) > 0).await;
            // The pause before another attempt would end meanwhile.
            eventually(|| fixture.server.count("TIME") > 30).await;
            assert_eq!(attempts.load(Ordering::SeqCst), 1, "{outcome}");
        } else {
            eventually(|| attempts.load(Ordering::SeqCst) > 3).await;
            assert!(began.elapsed() >= Duration::from_millis(600), "{:?}", began.elapsed());
        }
        fixture.stop.cancel();
    }
}

/// While a slot moves, a server rejects a command with several keys of which one is nowhere. A new
/// idempotency key is nowhere.
#[tokio::test]
async fn idempotency_key_is_reserved_while_its_slot_moves() {
    const KEY: &str = "{workspace:acme}/once/key";
    let fixture = Fixture::start(&[], |command| {
        let is_publication = command.contains(KEY) && !command.starts_with("SET");
        let reply = "-TRYAGAIN Multiple keys request during rehashing of slot\r\n";
        is_publication.then(|| ScriptedReply::Send(reply.to_owned()))
    })
    .await;
    let key = crate::IdempotencyKey::parse("key").unwrap();
    let publication = Publication::one(Bytes::from_static(b"event")).with_idempotency_key(Some(key));
    let acme = workspace("acme");
    let reserved = eventually(|| fixture.server.count(&format!("SET {KEY} ")) == 1);
    tokio::select! {
        outcome = fixture.bus.publish(&acme, publication) => panic!("{outcome:?}"),
        () = reserved => {}
    }
}
