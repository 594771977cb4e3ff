//! The events that each client gets.

use super::*;
use tidings_hub::TypeFilter;

#[test]
fn each_client_gets_every_event_after_connected() {
    let mut scene = Scene::new(&Setting::default());
    let mut first = scene.join("acme", ClientOptions::default());
    scene.publish("acme", "1");
    let mut second = scene.join("acme", ClientOptions::default());
    scene.publish("acme", "2");
    scene.publish("acme", "3");
    scene.until("all of it", |_| first.data().len() == 3 && second.data().len() == 2);
    assert_eq!(first.data(), ["1", "2", "3"]);
    assert_eq!(second.data(), ["2", "3"]);
    assert_eq!(scene.metrics().deliveries.get(), 5);
    assert_eq!(scene.metrics().subscribers.get(), 2);
    assert_eq!(scene.shard.broadcasts.len(), 1);
    assert!(scene.shard.broadcasts.iter().all(|(_, log)| log.buffer.after(0).is_empty()), "nothing is kept");
    assert!(first.body().starts_with("retry: "));
}

#[test]
fn many_joins_and_events_in_between_leave_no_hole() {
    let mut scene = Scene::new(&Setting::default());
    let mut clients = Vec::new();
    for number in 0..60 {
        clients.push((number, scene.join("acme", ClientOptions::default())));
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
fn burst_before_a_turn_of_the_shard_reaches_each_client() {
    let mut scene = Scene::new(&Setting { ring_events: 16, ..Setting::default() });
    let mut clients: Vec<_> = (0..3).map(|_| scene.join("acme", ClientOptions::default())).collect();
    (0..200).for_each(|number| scene.publish("acme", &number.to_string()));
    for client in &mut clients {
        scene.until("all of it", |_| client.data().len() == 200);
    }
    // The shard cannot wait forever: frames far beyond the bounds are dropped, and the clients have
    // to reconnect for them.
    (0..400).for_each(|number| scene.publish("acme", &number.to_string()));
    for client in &mut clients {
        scene.until("it has ended", |_| client.has_ended());
        assert!(client.body().contains(r#""reason":"lagging""#) && client.data().len() == 200);
    }
}

#[test]
fn heartbeat_has_the_client_position_also_within_one_tick() {
    let mut scene = Scene::new(&Setting { heartbeat: Duration::from_millis(10), ..Setting::default() });
    let _first = scene.join("acme", ClientOptions::default());
    let mut second = scene.join("acme", ClientOptions::default());
    scene.log("acme", "one", &[]);
    scene.until("they are no longer new", |scene| {
        let ages = scene
            .shard
            .clients
            .iter()
            .filter_map(|(_, client)| client.stream_stats.as_ref().map(|it| it.age()));
        second.data() == ["one"] && ages.min() > Some(Duration::from_millis(5))
    });
    let numbers: Vec<_> = scene.shard.clients.iter().map(|(number, _)| number as u32).collect();
    let log = scene.shard.broadcasts.iter().map(|(log, _)| log as u32).next().unwrap();
    scene.shard.heartbeat_to(numbers[0]);
    let two = scene.log("acme", "two", &[]);
    scene.shard.read_later(log);
    scene.shard.read(log);
    scene.shard.deliver_some(log);
    scene.shard.heartbeat_to(numbers[1]);
    scene.until("the event and a heartbeat", |_| {
        let after = second.body().split_once("data: two").map_or("", |(_, after)| after);
        after.contains("tidings.heartbeat") && after.ends_with("\n\n")
    });
    let (_, after) = second.body().split_once("data: two\n\n").unwrap();
    assert!(after.split("\n\n").next().unwrap().contains(&format!("id: {two}\n")), "{after}");
}

#[test]
fn named_stream_has_a_buffer_of_its_own() {
    let mut scene = Scene::new(&Setting::default());
    let mut plain = scene.join("acme", ClientOptions::default());
    let mut named = scene.join(
        "acme",
        ClientOptions {
            filter: SubscriptionFilter { named: true, ..SubscriptionFilter::default() },
            ..ClientOptions::default()
        },
    );
    scene.publish("acme", r#"{"type":"A"}"#);
    scene.until("both", |_| !plain.data().is_empty() && !named.data().is_empty());
    assert!(named.body().contains("event: A\n") && !plain.body().contains("event: A\n"));
    assert_eq!(scene.shard.broadcasts.len(), 2);
    drop((plain, named));
    scene.until("they are gone", |scene| scene.streams_open() == 0);
    assert!(scene.shard.broadcasts.is_empty() && scene.shard.broadcast_of.is_empty());
    assert_eq!(scene.metrics().subscribers.get(), 0);
}

#[test]
fn private_event_reaches_only_its_users_in_a_shared_buffer() {
    let mut scene = Scene::new(&Setting::default());
    let mut ann = scene.join("acme", ClientOptions { filter: user("ann"), ..ClientOptions::default() });
    let mut ben = scene.join("acme", ClientOptions { filter: user("ben"), ..ClientOptions::default() });
    let mut anonymous = scene.join("acme", ClientOptions::default());
    scene.log("acme", "all", &[]);
    scene.log("acme", "ann", &["ann"]);
    scene.log("acme", "both", &["ann", "ben"]);
    scene.log("acme", "all again", &[]);
    scene.until("all of it", |_| {
        ann.data().len() == 4 && ben.data().len() == 3 && anonymous.data().len() == 2
    });
    assert_eq!(ben.data(), ["all", "both", "all again"]);
    assert_eq!(anonymous.data(), ["all", "all again"]);
    assert_eq!(scene.metrics().deliveries.get(), 9);
    scene.log("acme", "ann alone", &["ann"]);
    scene.until("it", |_| ann.data().len() == 5);
    for _ in 0..5 {
        scene.step();
    }
    assert_eq!((ben.data().len(), anonymous.data().len()), (3, 2));
    assert_eq!(scene.metrics().deliveries.get(), 10);
    assert!(
        scene.shard.broadcasts.iter().all(|(_, log)| log.behind == 0 && !log.buffer.has_private_after(0))
    );
}

#[test]
fn filter_applies_to_one_client_only() {
    let mut scene = Scene::new(&Setting::default());
    let types = Some(TypeFilter::parse("B").unwrap());
    let mut client = scene.join(
        "acme",
        ClientOptions {
            filter: SubscriptionFilter { types, ..SubscriptionFilter::default() },
            ..ClientOptions::default()
        },
    );
    for kind in ["A", "B", "C", "B"] {
        scene.publish("acme", &format!(r#"{{"type":"{kind}"}}"#));
    }
    scene.until("those it wants", |_| client.data().len() == 2);
    assert!(client.data().iter().all(|data| data.contains('B')));
    assert!(scene.shard.broadcasts.is_empty());
}

#[test]
fn client_that_resumes_gets_missed_events_before_new_ones() {
    let mut scene = Scene::new(&Setting::default());
    let mut there = scene.join("acme", ClientOptions::default());
    let known = scene.log("acme", "1", &[]);
    scene.log("acme", "2", &[]);
    scene.until("both", |_| there.data().len() == 2);
    let mut back = scene.join("acme", ClientOptions { after: Some(known), ..ClientOptions::default() });
    scene.log("acme", "3", &[]);
    scene.until("all of it", |_| back.data().len() == 2 && there.data().len() == 3);
    assert_eq!(back.data(), ["2", "3"]);
    assert!(back.body().contains(r#""resumed":true"#));
    assert_eq!(scene.shard.broadcasts.iter().map(|(_, log)| log.broadcast_clients.len()).sum::<usize>(), 2);
}

#[test]
fn client_is_held_until_its_workspace_is_confirmed() {
    let mut scene = Scene::new(&Setting::default());
    let mut client = scene.connect("acme", ClientOptions::default());
    scene.until("retry", |_| client.body().starts_with("retry: "));
    scene.publish("acme", "before");
    for _ in 0..5 {
        scene.step();
    }
    assert!(!client.body().contains("connected"));
    scene.confirm("acme");
    scene.until("connected", |_| client.body().contains("connected"));
    scene.publish("acme", "after");
    scene.until("it", |_| client.data().len() == 1);
    assert_eq!(client.data(), ["after"]);
}

#[test]
fn heartbeat_has_the_position_of_its_client() {
    let setting = Setting { heartbeat: Duration::from_millis(100), ..Setting::default() };
    let mut scene = Scene::new(&setting);
    let mut held = scene.connect("else", ClientOptions::default());
    let mut clients: Vec<_> = (0..20).map(|_| scene.join("acme", ClientOptions::default())).collect();
    let id = scene.log("acme", "1", &[]);
    let heartbeat_to = format!("event: tidings.heartbeat\nid: {id}\ndata: {{\"live\":true}}\n\n");
    for client in &mut clients {
        scene.until("three heartbeats", |_| client.body().matches(&heartbeat_to).count() >= 3);
    }
    let away = "event: tidings.heartbeat\ndata: {\"live\":false}\n\n";
    scene.until("one that says it is not live", |_| held.body().contains(away));
}
