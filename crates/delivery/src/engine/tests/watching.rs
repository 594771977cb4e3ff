//! The deliveries of sampled events.

use super::*;
use tidings_event::Deliveries;
use tidings_hub::{TypeFilter, WATCH_TIME};
use tidings_metrics::TextFormat;

fn sampled() -> Option<TraceParent> {
    Some(TraceParent::begin(true))
}

impl Scene {
    /// The deliveries of the one event that is finished.
    fn finished(&self) -> Option<Deliveries> {
        let mut events = self.watch_list.take_finished(Instant::now(), WATCH_TIME);
        assert!(events.len() <= 1);
        events.pop().map(|event| event.watch.deliveries())
    }

    /// The deliveries of the one event that is watched, finished or not.
    fn until_finished(&mut self, what: &str) -> Deliveries {
        let mut finished = None;
        self.until(what, |scene| {
            finished = scene.finished();
            finished.is_some()
        });
        finished.unwrap()
    }

    fn kept(&self) -> usize {
        self.shard.broadcasts.iter().map(|(_, broadcast)| broadcast.watched.len()).sum()
    }
}

#[test]
fn each_client_counts_once_in_each_state() {
    let mut scene = Scene::new(&Setting::default());
    let mut clients: Vec<_> = (0..5).map(|_| scene.join("acme", ClientOptions::default())).collect();
    let named = SubscriptionFilter { named: true, ..SubscriptionFilter::default() };
    clients.push(scene.join("acme", ClientOptions { filter: named, ..ClientOptions::default() }));
    let types = SubscriptionFilter { types: Some(TypeFilter::parse("A").unwrap()), ..Default::default() };
    clients.push(scene.join("acme", ClientOptions { filter: types, ..ClientOptions::default() }));
    let other = SubscriptionFilter { types: Some(TypeFilter::parse("B").unwrap()), ..Default::default() };
    let _other = scene.join("acme", ClientOptions { filter: other, ..ClientOptions::default() });
    let _elsewhere = scene.join("other", ClientOptions::default());
    scene.log("acme", r#"{"type":"A","n":1}"#, &[]);
    scene.log_traced("acme", r#"{"type":"A","n":2}"#, &[], sampled());
    scene.log("acme", r#"{"type":"A","n":3}"#, &[]);
    let deliveries = scene.until_finished("it is finished");
    assert_eq!((deliveries.streams, deliveries.behind), (7, 0));
    assert!(deliveries.slowest.is_some());
    assert_eq!(scene.kept(), 0);
    for client in &mut clients {
        scene.until("all of it", |_| client.data().len() == 3);
    }
    assert!(scene.watch_list.is_empty());
}

#[test]
fn private_event_counts_its_users_alone() {
    let mut scene = Scene::new(&Setting::default());
    let join = |scene: &mut Scene, name| {
        scene.join("acme", ClientOptions { filter: user(name), ..ClientOptions::default() })
    };
    let _clients = ["ann", "ann", "ben"].map(|name| join(&mut scene, name));
    let _none = scene.join("acme", ClientOptions::default());
    scene.log_traced("acme", "x", &["ann"], sampled());
    let deliveries = scene.until_finished("it is finished");
    assert_eq!((deliveries.streams, deliveries.behind), (2, 0));
}

#[test]
fn client_that_does_not_read_is_named_until_it_has_the_event() {
    let mut scene = Scene::new(&Setting::default());
    let mut quick = scene.join("acme", ClientOptions::default());
    let options = ClientOptions { buffer: Some(64 * 1024), ..ClientOptions::default() };
    let mut slow = scene.join("acme", options);
    let _also_quick = scene.join("acme", ClientOptions::default());
    scene.log_traced("acme", &"x".repeat(1_000_000), &[], sampled());
    scene.until("the quick one has it", |_| quick.data().len() == 1);
    let name = {
        let behind = scene.shard.clients.iter().find(|(_, client)| client.behind);
        behind.and_then(|(_, client)| client.stream_stats.as_ref()).map(|stats| stats.stream_guard.id())
    };
    assert!(name.is_some() && scene.finished().is_none() && scene.kept() == 1);
    let events = scene.watch_list.take_finished(Instant::now() + WATCH_TIME, WATCH_TIME);
    let deliveries = events[0].watch.deliveries();
    assert_eq!((deliveries.streams, deliveries.behind, deliveries.slowest), (2, 1, name));

    scene.until("the slow one has it", |_| slow.data().len() == 1);
    scene.until("it is known", |_| events[0].watch.is_done());
    let deliveries = events[0].watch.deliveries();
    assert_eq!((deliveries.streams, deliveries.behind, deliveries.slowest), (3, 0, name));
    assert_eq!(scene.kept(), 0);
}

#[test]
fn client_that_leaves_without_the_event_owes_it_no_more() {
    let mut scene = Scene::new(&Setting::default());
    let mut quick = scene.join("acme", ClientOptions::default());
    let slow = scene.join("acme", ClientOptions { buffer: Some(64 * 1024), ..ClientOptions::default() });
    scene.log_traced("acme", &"x".repeat(1_000_000), &[], sampled());
    scene.until("the quick one has it", |_| quick.data().len() == 1);
    assert!(scene.finished().is_none());
    drop(slow);
    let deliveries = scene.until_finished("it is finished");
    assert_eq!((deliveries.streams, deliveries.behind), (1, 0));
    drop(quick);
    scene.until("nobody is there", |scene| scene.streams_open() == 0);
}

#[test]
fn sampled_event_is_the_exemplar_of_its_bucket() {
    let mut scene = Scene::new(&Setting::default());
    let mut client = scene.join("acme", ClientOptions::default());
    scene.log("acme", "unsampled", &[]);
    scene.until("it has it", |_| client.data().len() == 1);
    let text = |scene: &Scene| scene.metrics().encode(TextFormat::OpenMetrics).unwrap();
    assert!(!text(&scene).contains(" # {"));
    let trace = sampled();
    let id = scene.log_traced("acme", "sampled", &[], trace);
    scene.until("it has it", |_| client.data().len() == 2);
    scene.until_finished("it is finished");
    let text = text(&scene);
    let label = format!(" # {{trace_id=\"{}\",event_id=\"{id}\"}} ", trace.unwrap().trace);
    let lines: Vec<_> = text.lines().filter(|line| line.contains(&label)).collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert!(lines[0].starts_with("tidings_delivery_seconds_bucket{le="), "{}", lines[0]);
}
