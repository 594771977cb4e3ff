//! Who gets what.

use super::*;
use tidings_hub::TypeFilter;

#[test]
fn everybody_gets_everything_from_its_hello_on() {
    let mut scene = Scene::new(&Setting::default());
    let mut first = scene.join("acme", Coming::default());
    scene.publish("acme", "1");
    let mut second = scene.join("acme", Coming::default());
    scene.publish("acme", "2");
    scene.publish("acme", "3");
    scene.until("all of it", |_| first.data().len() == 3 && second.data().len() == 2);
    assert_eq!(first.data(), ["1", "2", "3"]);
    assert_eq!(second.data(), ["2", "3"]);
    assert_eq!(scene.metrics().deliveries.get(), 5);
    assert_eq!(scene.metrics().subscribers.get(), 2);
    assert_eq!(scene.shard.logs.len(), 1);
    assert!(scene.shard.logs.iter().all(|(_, log)| log.wire.after(0).is_empty()), "nothing is kept");
    assert!(first.body().starts_with("retry: "));
}

#[test]
fn many_joins_and_events_in_between_leave_no_hole() {
    let mut scene = Scene::new(&Setting::default());
    let mut clients = Vec::new();
    for number in 0..60 {
        clients.push((number, scene.join("acme", Coming::default())));
        scene.publish("acme", &number.to_string());
        if number % 3 == 0 {
            scene.step();
        }
        if number % 7 == 6 {
            clients.swap_remove(number % clients.len());
        }
    }
    let expected = |from: usize| (from..60).map(|number| number.to_string()).collect::<Vec<_>>();
    for (from, client) in &mut clients {
        scene.until("all of it", |_| client.data().len() == 60 - *from);
        assert_eq!(client.data(), expected(*from));
    }
}

/// A burst ends no fast client, up to 4 times the bytes or 16 times the events of a ring.
#[test]
fn a_burst_that_comes_before_the_shard_had_a_turn_reaches_everybody() {
    let mut scene = Scene::new(&Setting { ring_events: 16, ..Setting::default() });
    let mut clients: Vec<_> = (0..3).map(|_| scene.join("acme", Coming::default())).collect();
    (0..200).for_each(|number| scene.publish("acme", &number.to_string()));
    for client in &mut clients {
        scene.until("all of it", |_| client.data().len() == 200);
    }
    // Nobody can be kept waiting for ever: what is far beyond the bounds is gone, and they are told to come back for it.
    (0..400).for_each(|number| scene.publish("acme", &number.to_string()));
    for client in &mut clients {
        scene.until("it has ended", |_| client.has_ended());
        assert!(client.body().contains(r#""reason":"lagging""#) && client.data().len() == 200);
    }
}

#[test]
fn a_heartbeat_has_the_place_of_its_client_also_within_one_tick() {
    let mut scene = Scene::new(&Setting { heartbeat: Duration::from_millis(10), ..Setting::default() });
    let _first = scene.join("acme", Coming::default());
    let mut second = scene.join("acme", Coming::default());
    scene.log("acme", "one", &[]);
    scene.until("they are no newcomers", |scene| {
        let ages = scene
            .shard
            .clients
            .iter()
            .filter_map(|(_, client)| client.stream_stats.as_ref().map(|it| it.age()));
        second.data() == ["one"] && ages.min() > Some(Duration::from_millis(5))
    });
    let numbers: Vec<_> = scene.shard.clients.iter().map(|(number, _)| number as u32).collect();
    let log = scene.shard.logs.iter().map(|(log, _)| log as u32).next().unwrap();
    scene.shard.beat(numbers[0]);
    let two = scene.log("acme", "two", &[]);
    scene.shard.read_later(log);
    scene.shard.read(log);
    scene.shard.visit_some(log);
    scene.shard.beat(numbers[1]);
    scene.until("the event and a heartbeat", |_| {
        let after = second.body().split_once("data: two").map_or("", |(_, after)| after);
        after.contains("tidings.heartbeat") && after.ends_with("\n\n")
    });
    let (_, after) = second.body().split_once("data: two\n\n").unwrap();
    assert!(after.split("\n\n").next().unwrap().contains(&format!("id: {two}\n")), "{after}");
}

#[test]
fn a_named_stream_has_a_log_of_its_own() {
    let mut scene = Scene::new(&Setting::default());
    let mut plain = scene.join("acme", Coming::default());
    let mut named = scene.join(
        "acme",
        Coming {
            filter: SubscriptionFilter { named: true, ..SubscriptionFilter::default() },
            ..Coming::default()
        },
    );
    scene.publish("acme", r#"{"type":"A"}"#);
    scene.until("both", |_| !plain.data().is_empty() && !named.data().is_empty());
    assert!(named.body().contains("event: A\n") && !plain.body().contains("event: A\n"));
    assert_eq!(scene.shard.logs.len(), 2);
    drop((plain, named));
    scene.until("they are gone", |scene| scene.streams_open() == 0);
    assert!(scene.shard.logs.is_empty() && scene.shard.log_of.is_empty());
    assert_eq!(scene.metrics().subscribers.get(), 0);
}

#[test]
fn a_private_event_reaches_its_users_alone_among_those_who_share_a_log() {
    let mut scene = Scene::new(&Setting::default());
    let mut ann = scene.join("acme", Coming { filter: user("ann"), ..Coming::default() });
    let mut ben = scene.join("acme", Coming { filter: user("ben"), ..Coming::default() });
    let mut nobody = scene.join("acme", Coming::default());
    scene.log("acme", "all", &[]);
    scene.log("acme", "ann", &["ann"]);
    scene.log("acme", "both", &["ann", "ben"]);
    scene.log("acme", "all again", &[]);
    scene.until("all of it", |_| ann.data().len() == 4 && ben.data().len() == 3 && nobody.data().len() == 2);
    assert_eq!(ben.data(), ["all", "both", "all again"]);
    assert_eq!(nobody.data(), ["all", "all again"]);
    assert_eq!(scene.metrics().deliveries.get(), 9);
    scene.log("acme", "ann alone", &["ann"]);
    scene.until("it", |_| ann.data().len() == 5);
    for _ in 0..5 {
        scene.step();
    }
    assert_eq!((ben.data().len(), nobody.data().len()), (3, 2));
    assert_eq!(scene.metrics().deliveries.get(), 10);
    assert!(scene.shard.logs.iter().all(|(_, log)| log.behind == 0 && !log.wire.has_private_after(0)));
}

#[test]
fn a_filter_is_one_client_s_alone() {
    let mut scene = Scene::new(&Setting::default());
    let types = Some(TypeFilter::parse("B").unwrap());
    let mut client = scene.join(
        "acme",
        Coming { filter: SubscriptionFilter { types, ..SubscriptionFilter::default() }, ..Coming::default() },
    );
    for kind in ["A", "B", "C", "B"] {
        scene.publish("acme", &format!(r#"{{"type":"{kind}"}}"#));
    }
    scene.until("those it wants", |_| client.data().len() == 2);
    assert!(client.data().iter().all(|data| data.contains('B')));
    assert!(scene.shard.logs.is_empty());
}

#[test]
fn who_comes_back_gets_what_it_missed_and_then_what_is_new() {
    let mut scene = Scene::new(&Setting::default());
    let mut there = scene.join("acme", Coming::default());
    let known = scene.log("acme", "1", &[]);
    scene.log("acme", "2", &[]);
    scene.until("both", |_| there.data().len() == 2);
    let mut back = scene.join("acme", Coming { after: Some(known), ..Coming::default() });
    scene.log("acme", "3", &[]);
    scene.until("all of it", |_| back.data().len() == 2 && there.data().len() == 3);
    assert_eq!(back.data(), ["2", "3"]);
    assert!(back.body().contains(r#""resumed":true"#));
    assert_eq!(scene.shard.logs.iter().map(|(_, log)| log.broadcast_cursors.len()).sum::<usize>(), 2);
}

#[test]
fn who_comes_is_held_until_its_workspace_is_confirmed() {
    let mut scene = Scene::new(&Setting::default());
    let mut client = scene.arrive("acme", Coming::default());
    scene.until("retry", |_| client.body().starts_with("retry: "));
    scene.publish("acme", "before");
    for _ in 0..5 {
        scene.step();
    }
    assert!(!client.body().contains("connected"));
    scene.confirm("acme");
    scene.until("the hello", |_| client.body().contains("connected"));
    scene.publish("acme", "after");
    scene.until("it", |_| client.data().len() == 1);
    assert_eq!(client.data(), ["after"]);
}

#[test]
fn heartbeats_reach_everybody_at_the_place_where_it_is() {
    let setting = Setting { heartbeat: Duration::from_millis(100), ..Setting::default() };
    let mut scene = Scene::new(&setting);
    let mut held = scene.arrive("else", Coming::default());
    let mut clients: Vec<_> = (0..20).map(|_| scene.join("acme", Coming::default())).collect();
    let id = scene.log("acme", "1", &[]);
    let beat = format!("event: tidings.heartbeat\nid: {id}\ndata: {{\"live\":true}}\n\n");
    for client in &mut clients {
        scene.until("three heartbeats", |_| client.body().matches(&beat).count() >= 3);
    }
    let away = "event: tidings.heartbeat\ndata: {\"live\":false}\n\n";
    scene.until("one that says it is not live", |_| held.body().contains(away));
}
