use std::time::Duration;

use super::*;
use crate::admin::ApiSettings;
use crate::config::Config;
use tidings_auth::control::Bans;
use tidings_auth::tickets::Tickets;
use tidings_delivery::engine::{BroadcastBounds, EngineSettings, Shard};
use tidings_delivery::{Drain, WallClock};
use tidings_embedded::{ChannelNames, EmbeddedBus};
use tidings_event::{DesiredSubscriptions, NodeId};
use tidings_hub::rate::Rates;
use tidings_hub::{HubSettings, LiveEvents, Start, SubscriptionFilter};
use tidings_limits::StreamLimits;
use tidings_metrics::AuthenticationTimes;

const LONG: Duration = Duration::from_secs(3600);

/// A node on an embedded bus without a listener. Its shards do not run.
async fn node() -> (QuestionResponder, Vec<Shard>) {
    let (config, id, metrics) = (Config::defaults(), NodeId::random(), Arc::new(Metrics::new()));
    let desired = Arc::new(DesiredSubscriptions::default());
    let names = ChannelNames { prefix: "workspace:", control: "tidings:control" };
    let bus =
        EmbeddedBus::open(&config.embedded, &config.retention, names, 1 << 18, Arc::clone(&desired), None);
    let bus: Arc<dyn Bus> = Arc::new(bus.await.unwrap());
    let api = ApiSettings {
        origin: String::new(),
        base_path: "/api".to_owned(),
        admin_origin: String::new(),
        bounds: Vec::new(),
    };
    let hub = HubSettings {
        ring_events: 10,
        ring_bytes: 1 << 20,
        ring_bytes_in_all: 1 << 20,
        replay_bytes: 1 << 20,
        rates: Rates::default(),
        event_bytes: 1 << 18,
        linger: LONG,
        workspaces: 10,
        live: LiveEvents::Auto,
        retention: LONG,
        traces_in_streams: false,
    };
    let streams = Arc::new(StreamSettings {
        heartbeat: LONG,
        retry: LONG,
        confirm: LONG,
        age: None,
        drain: Drain::default(),
        schemas: None,
        clock: WallClock::default(),
        metrics: Arc::clone(&metrics),
        bodies: Arc::default(),
    });
    let engine = EngineSettings {
        streams: Arc::clone(&streams),
        write_timeout: LONG,
        bounds: BroadcastBounds { frames: 10, bytes: 1 << 20 },
        unsent_bytes: 1 << 20,
    };
    let (engine, shards) = Engine::new(1, &engine).unwrap();
    let tickets = Tickets::new(Arc::clone(&bus), LONG, None);
    let times = AuthenticationTimes::default();
    let authenticator = Authenticator::new(Vec::new(), tickets, Arc::new(Bans::default()), None, times);
    let responder = QuestionResponder::new(QuestionParts {
        node: Arc::new(Node::new(id, Arc::clone(&bus), Arc::clone(&metrics), LONG, &api)),
        bus,
        hub: Arc::new(Hub::new(id, hub, desired, metrics)),
        registry: Arc::new(StreamRegistry::new(id, StreamLimits::default())),
        authenticator: Arc::new(authenticator),
        streams,
        engine: Some(Arc::new(engine)),
        lines: RecentLines::default(),
        payloads: true,
        url: None,
    });
    (responder, shards)
}

/// A reply without the streams of a writer would say that there are none.
#[tokio::test]
async fn writer_that_does_not_respond_leaves_the_question_without_a_reply() {
    let (responder, _shards) = node().await;
    let workspace = WorkspaceId::parse("acme").unwrap();
    let _held = responder.parts.hub.join(&workspace, Start::Head, SubscriptionFilter::default()).unwrap();
    let event = "0-0".parse().unwrap();
    let trace = QuestionSubject::Trace { workspace: workspace.clone(), event };
    assert_eq!(responder.reply(&trace).await, None);
    let explain = QuestionSubject::Explain { workspace, user: None, token: None, after: None };
    let began = Instant::now();
    assert_eq!(responder.reply(&explain).await, None);
    assert!((PATIENCE..REPLY_TIME).contains(&began.elapsed()), "the asker still waits");
    assert!(responder.reply(&QuestionSubject::Nodes).await.is_some(), "its state has no streams");
}

/// The asker of a late question has gone.
#[tokio::test]
async fn late_question_gets_no_reply() {
    let (responder, _shards) = node().await;
    let question = NodeQuestion::new(QuestionSubject::Nodes);
    let replies = SharedSet::Replies(question.id);
    let late = Instant::now().checked_sub(REPLY_TIME).unwrap();
    responder.handle(&question.message(), late).await;
    assert_eq!(responder.parts.bus.list_set(replies).await.unwrap().members.len(), 0);
    responder.handle(&question.message(), Instant::now()).await;
    assert_eq!(responder.parts.bus.list_set(replies).await.unwrap().members.len(), 1);
}
