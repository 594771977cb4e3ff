//! Clients that read slowly or not at all.

use super::*;

/// Below the size of a segment on the loopback, windows open only when a timer of the kernel fires.
const SMALL: usize = 64 * 1024;

fn small() -> ClientOptions {
    ClientOptions { buffer: Some(SMALL), ..ClientOptions::default() }
}

/// A client gets whole frames, also from a socket that takes them in parts.
#[test]
fn frame_taken_in_parts_arrives_whole() {
    let mut scene = Scene::new(&Setting::default());
    let mut slow = scene.join("acme", small());
    let mut quick = scene.join("acme", ClientOptions::default());
    let payloads: Vec<_> = (0..5).map(|number| number.to_string().repeat(1_000_000)).collect();
    for payload in &payloads {
        scene.publish("acme", payload);
    }
    scene.until("the quick one has them", |_| quick.data().len() == 5);
    assert!(scene.shard.clients.iter().any(|(_, client)| client.behind), "the slow one is in the middle");
    scene.until("the slow one has them", |_| slow.data().len() == 5);
    assert_eq!(slow.data(), payloads);
    scene.until("nothing is kept", |scene| {
        scene.shard.broadcasts.iter().all(|(_, log)| log.buffer.after(log.buffer.head() - 1).is_empty())
    });
}

/// A private event arrives whole, also from a socket that takes it in parts.
#[test]
fn private_event_taken_in_parts_arrives_whole() {
    let mut scene = Scene::new(&Setting::default());
    let mut ann = scene.join("acme", ClientOptions { filter: user("ann"), ..small() });
    let mut ben = scene.join("acme", ClientOptions { filter: user("ben"), ..small() });
    for (number, users) in [&["ann"][..], &[], &["ben"], &["ann", "ben"], &["ben"]].into_iter().enumerate() {
        scene.log("acme", &number.to_string().repeat(800_000), users);
    }
    scene.until("each its own", |_| ann.data().len() == 3 && ben.data().len() == 4);
    let firsts =
        |client: &mut EngineClient| client.data().iter().map(|data| data[..1].to_owned()).collect::<String>();
    assert_eq!((firsts(&mut ann), firsts(&mut ben)), ("013".to_owned(), "1234".to_owned()));
    assert_eq!(scene.metrics().deliveries.get(), 7);
}

/// A lagging client gets the end of its frame, `tidings.reconnect` and a proper end.
#[test]
fn lagging_engine_client_gets_whole_frames_and_reconnect() {
    let mut scene = Scene::new(&Setting { ring_events: 16, ..Setting::default() });
    let mut slow: Vec<_> = (0..3).map(|_| scene.join("acme", small())).collect();
    let mut quick = scene.join("acme", ClientOptions::default());
    let payload = "x".repeat(200_000);
    for number in 1..=60 {
        scene.publish("acme", &format!("{number}:{payload}"));
        scene.until("the quick one has it", |_| quick.data().len() == number);
    }
    assert_eq!(scene.metrics().reconnects(ReconnectReason::Lagging.as_str()), 3);
    for client in &mut slow {
        scene.until("it has ended properly", |_| client.has_ended());
        assert!(client.body().trim_end().ends_with("}") && client.body().contains(r#""reason":"lagging""#));
        let data = client.data();
        assert!(!data.is_empty() && data.len() < 30, "{}", data.len());
        for (index, data) in data.iter().enumerate() {
            assert_eq!(*data, format!("{}:{payload}", index + 1), "no hole, and each whole");
        }
    }
    let held: usize = scene.shard.broadcasts.iter().map(|(_, log)| log.buffer.after(0).len()).sum();
    assert!(held < 20 * 201_000, "{held} bytes are kept");
    scene.publish("acme", "last");
    scene.until("the quick one goes on", |_| quick.data().len() == 61);
}

/// Stalled clients of many workspaces share one bound on memory. Those with the most events that
/// they lack get `tidings.reconnect`.
#[test]
fn stalled_clients_of_many_workspaces_share_one_bound() {
    const BOUND: usize = 4 << 20;
    const WORKSPACES: usize = 30;
    let mut scene = Scene::new(&Setting { unsent_bytes: BOUND, ..Setting::default() });
    let name = |number: usize| format!("w{number}");
    let mut stalled: Vec<_> = (0..WORKSPACES).map(|number| scene.join(&name(number), small())).collect();
    let mut quick: Vec<_> =
        (0..WORKSPACES).map(|number| scene.join(&name(number), ClientOptions::default())).collect();
    let mut little = scene.join("little", small());
    scene.publish("little", &"x".repeat(60_000));
    let payload = "x".repeat(150_000);
    let mut most = 0;
    for round in 1..=6 {
        for (number, client) in quick.iter_mut().enumerate() {
            scene.publish(&name(number), &format!("{round}:{payload}"));
            scene.until("the quick one has it", |_| client.data().len() == round);
            most = most.max(scene.metrics().unsent_bytes.get());
        }
    }
    // Without the bound it would be 27 MB. A turn may add one event before it applies the bound.
    assert!(most > 3 << 20 && most <= (BOUND + 2 * payload.len()) as i64, "{most}");
    assert!(scene.metrics().reconnects(ReconnectReason::Lagging.as_str()) >= 20);
    assert!(!little.has_ended(), "it lacks less than others");
    scene.until("it has everything", |_| little.data().len() == 1);
    for client in &mut stalled {
        scene.until("it ends, or gets everything", |_| client.has_ended() || client.data().len() == 6);
        let is_complete = client.data().len() == 6;
        assert!(is_complete || client.body().contains(r#""reason":"lagging""#));
    }
    drop((stalled, quick, little));
    scene.until("all have left", |scene| scene.streams_open() == 0);
    assert_eq!(scene.metrics().unsent_bytes.get(), 0);
}

/// The engine closes a connection that takes no bytes for the write timeout.
#[test]
fn socket_that_is_never_writable_again_is_closed() {
    let mut scene = Scene::new(&Setting { write_timeout: Duration::from_secs(1), ..Setting::default() });
    let mut stuck = scene.join("acme", small());
    let mut idle = scene.join("acme", ClientOptions::default());
    let mut slow = scene.join("acme", small());
    let payload = "x".repeat(1 << 20);
    (0..4).for_each(|_| scene.publish("acme", &payload));
    let began = Instant::now();
    scene.until("it is closed", |scene| {
        idle.read();
        // A client that takes a little from time to time is not aborted.
        slow.read_some(10_000);
        scene.streams_open() == 2
    });
    assert!(began.elapsed() >= Duration::from_secs(1));
    scene.until("the others have everything", |_| slow.data().len() == 4 && idle.data().len() == 4);
    scene.until("it was that one", |_| {
        stuck.read();
        stuck.closed
    });
    assert!(!stuck.has_ended());
}

#[test]
fn heartbeat_taken_in_part_continues_at_its_rest() {
    let mut scene = Scene::new(&Setting { heartbeat: Duration::from_millis(10), ..Setting::default() });
    let mut client = scene.join("acme", ClientOptions { buffer: Some(4096), ..ClientOptions::default() });
    // The client does not read: heartbeats fill the buffers until one does not fit.
    scene.until("it is blocked", |scene| scene.shard.clients.iter().any(|(_, client)| client.blocked));
    scene.publish("acme", "after");
    scene.until("the event", |_| client.data() == ["after"]);
    let body = client.body().to_owned();
    let heartbeat_wheel = body.matches("event: tidings.heartbeat\n").count();
    assert!(heartbeat_wheel > 10 && body.matches("data: {\"live\":true}\n\n").count() == heartbeat_wheel);
}
