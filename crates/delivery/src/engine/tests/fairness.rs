//! No work delays other work for longer than a turn.

use super::*;

/// The number of turns until a client has an event that was just published.
fn turns_until(scene: &mut Scene, client: &mut EngineClient, data: &str) -> usize {
    for turns in 0..1000 {
        if client.last() == data {
            return turns;
        }
        scene.step();
    }
    panic!("it never came");
}

/// A small workspace does not wait for a large one on the same shard.
#[test]
fn client_does_not_wait_for_a_large_workspace() {
    const MANY: usize = 900;
    let mut scene = Scene::new(&Setting::default());
    let mut many: Vec<_> = (0..MANY).map(|_| scene.join("many", ClientOptions::default())).collect();
    let mut single = scene.join("single", ClientOptions::default());
    scene.publish("many", "to many");
    scene.step();
    let reached = |many: &mut [EngineClient]| {
        many.iter_mut().map(|client| usize::from(!client.last().is_empty())).sum::<usize>()
    };
    let begun = reached(&mut many);
    assert!(begun > 0 && begun < MANY, "{begun} were reached by one turn");
    scene.publish("single", "to one");
    let turns = turns_until(&mut scene, &mut single, "to one");
    assert!(turns <= 2, "{turns} turns");
    let reached_meanwhile = reached(&mut many);
    assert!(reached_meanwhile < MANY, "the many are still being served");
    scene.until("all of them are", |_| reached(&mut many) == MANY);
    // An event that arrives in the middle of a pass is sent with the rest of it.
    scene.publish("many", "a");
    scene.step();
    scene.publish("many", "b");
    scene.until("both", |_| many.iter_mut().all(|client| client.last() == "b"));
}

/// A long replay does not delay other clients of its shard.
#[test]
fn replay_of_10_000_events_does_not_delay_others() {
    const EVENTS: usize = 10_000;
    let mut scene = Scene::new(&Setting { ring_events: EVENTS + 1000, ..Setting::default() });
    let mut quick = scene.join("acme", ClientOptions::default());
    let known = scene.log("acme", "known", &[]);
    let payload = "x".repeat(300);
    for number in 0..EVENTS {
        scene.log("acme", &format!("{number}:{payload}"), &[]);
        if number % 500 == 0 {
            scene.until("the quick one has it", |_| quick.data().len() == number + 2);
        }
    }
    scene.until("the quick one has them", |_| quick.data().len() == EVENTS + 1);
    let mut back = scene.connect("acme", ClientOptions { after: Some(known), ..ClientOptions::default() });
    let mut published = 0;
    scene.step();
    loop {
        back.read();
        let is_replaying = scene
            .shard
            .clients
            .iter()
            .any(|(_, client)| matches!(client.phase, super::super::client::Phase::CatchingUp(_)));
        if !is_replaying {
            break;
        }
        let data = format!("live {published}");
        scene.log("acme", &data, &[]);
        published += 1;
        let turns = turns_until(&mut scene, &mut quick, &data);
        assert!(turns <= 2, "{turns} turns");
    }
    assert!(published > 5, "the replay took {published} turns");
    scene.until("everything", |_| back.data().len() == EVENTS + published);
    let data = back.data();
    assert!((0..EVENTS).all(|number| data[number].starts_with(&format!("{number}:"))));
    assert_eq!(data[EVENTS..], (0..published).map(|number| format!("live {number}")).collect::<Vec<_>>());
}

/// A storm of new clients does not delay the clients that a shard already serves.
#[test]
fn storm_of_new_clients_does_not_delay_connected_ones() {
    const STORM: usize = 400;
    let mut scene = Scene::new(&Setting::default());
    let mut there = scene.join("acme", ClientOptions::default());
    let mut storm: Vec<_> = (0..STORM).map(|_| scene.connect("acme", ClientOptions::default())).collect();
    scene.publish("acme", "now");
    let turns = turns_until(&mut scene, &mut there, "now");
    assert!(turns <= 2, "{turns} turns");
    for client in &mut storm {
        scene.until("connected", |_| client.body().contains("connected"));
    }
    scene.publish("acme", "later");
    for client in &mut storm {
        scene.until("the event", |_| client.last() == "later");
    }
    assert_eq!(
        scene.shard.broadcasts.iter().map(|(_, log)| log.broadcast_clients.len()).sum::<usize>(),
        STORM + 1
    );
}
