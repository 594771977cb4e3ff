//! How streams end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use super::super::shard_sender::ShardMessage;
use super::*;
use tidings_limits::Ending;

#[test]
fn who_hangs_up_while_nothing_happens_is_gone_at_once() {
    let mut scene = Scene::new(&Setting::default());
    let client = scene.join("acme", Coming::default());
    let half = scene.join("acme", Coming::default());
    let silent = scene.arrive("else", Coming::default());
    scene.until("all are there", |scene| scene.streams_open() == 3);
    drop(client);
    scene.until("it is gone", |scene| scene.streams_open() == 2);
    // Who closes its sending side while it listens counts as gone too, as it does for the other writer.
    half.socket.shutdown(std::net::Shutdown::Write).unwrap();
    scene.until("it is gone", |scene| scene.streams_open() == 1);
    drop(silent);
    scene.until("it is gone", |scene| scene.streams_open() == 0);
    assert_eq!((scene.metrics().subscribers.get(), scene.open.len()), (0, 0));
    assert!(scene.shard.clients.is_empty() && scene.shard.logs.is_empty());
}

#[test]
fn what_a_client_sends_is_thrown_away_and_does_not_hide_its_leaving() {
    let mut scene = Scene::new(&Setting::default());
    let mut client = scene.join("acme", Coming::default());
    client.socket.set_nonblocking(false).unwrap();
    client.socket.write_all(&b"GET / HTTP/1.1\r\n\r\n".repeat(10_000)).unwrap_or_default();
    client.socket.set_nonblocking(true).unwrap();
    scene.publish("acme", "1");
    scene.until("the event", |_| client.data() == ["1"]);
    let _ = client.socket.write(&[b'x'; 100_000]);
    drop(client);
    scene.until("it is gone", |scene| scene.streams_open() == 0);
}

/// A stream that ends before an event is published does not get the event.
#[test]
fn who_is_disconnected_gets_nothing_that_came_after() {
    let mut scene = Scene::new(&Setting::default());
    let mut clients: Vec<_> = (0..3).map(|_| scene.join("acme", Coming::default())).collect();
    clients[1].stream.end(Ending::Disconnected);
    scene.publish("acme", "after");
    for (index, client) in clients.iter_mut().enumerate() {
        if index == 1 {
            scene.until("it has ended", |_| client.has_ended());
            assert!(client.body().contains(r#""reason":"disconnected""#));
            assert!(client.data().is_empty());
        } else {
            scene.until("the event", |_| client.data() == ["after"]);
        }
    }
    assert_eq!(scene.metrics().subscribers.get(), 2);
}

#[test]
fn who_is_disconnected_gets_nothing_that_came_after_also_behind_many_words() {
    let mut scene = Scene::new(&Setting::default());
    let mut client = scene.join("acme", Coming::default());
    let mut other = scene.join("acme", Coming::default());
    scene.publish("acme", "before");
    // More than are heard in a turn.
    (0..3_000).for_each(|_| scene.shard.shard_sender.send(ShardMessage::Look(u32::MAX)));
    client.stream.end(Ending::Disconnected);
    scene.publish("acme", "after");
    scene.until("it has ended", |_| client.has_ended());
    assert!(!client.body().contains("after"));
    scene.until("the other one has both", |_| other.data() == ["before", "after"]);
}

#[test]
fn a_stream_ends_when_its_time_is_over() {
    let mut scene = Scene::new(&Setting::default());
    let soon = SystemTime::now() + Duration::from_millis(100);
    let until = Until { expires: Some(soon), aged: None };
    let mut client = scene.join("acme", Coming { until, ..Coming::default() });
    let until = Until { expires: Some(SystemTime::now()), aged: None };
    let mut late = scene.arrive("acme", Coming { until, ..Coming::default() });
    scene.until("both have ended", |_| client.has_ended() && late.has_ended());
    assert!(client.body().contains(r#""reason":"expired""#) && late.body().contains(r#""reason":"expired""#));
}

/// A clock that is set by a test.
fn settable_clock() -> (WallClock, Arc<AtomicU64>) {
    let ahead = Arc::new(AtomicU64::new(0));
    let read = Arc::clone(&ahead);
    let hour = Duration::from_secs(3600);
    let clock = move || SystemTime::now() - hour + Duration::from_secs(read.load(Ordering::Relaxed));
    (WallClock::new(clock), ahead)
}

#[test]
fn expiry_follows_a_clock_that_is_set() {
    let (clock, ahead) = settable_clock();
    let heartbeat = Duration::from_millis(200);
    let mut scene = Scene::new(&Setting { clock: clock.clone(), heartbeat, ..Setting::default() });
    let until = Until { expires: Some(clock.now() + Duration::from_secs(1800)), aged: None };
    let mut client = scene.join("acme", Coming { until, ..Coming::default() });
    let mut other = scene.join("acme", Coming::default());
    scene.publish("acme", "1");
    scene.until("the event", |_| client.data() == ["1"]);
    // Forward, and not far enough; then beyond it, while nothing happens.
    ahead.store(1700, Ordering::Relaxed);
    scene.publish("acme", "2");
    scene.until("the event", |_| client.data() == ["1", "2"]);
    ahead.store(1900, Ordering::Relaxed);
    scene.until("it has ended", |_| client.has_ended());
    assert!(client.body().contains(r#""reason":"expired""#));
    scene.publish("acme", "3");
    scene.until("the other one goes on", |_| other.data() == ["1", "2", "3"]);
    // A clock that is set back gives the time that the token has by it.
    let until = Until { expires: Some(clock.now() + Duration::from_millis(400)), aged: None };
    let mut again = scene.join("acme", Coming { until, ..Coming::default() });
    ahead.store(1000, Ordering::Relaxed);
    scene.step();
    let later = Instant::now() + Duration::from_millis(900);
    scene.until("its former time is over", |_| Instant::now() > later);
    assert!(!again.has_ended());
    scene.publish("acme", "4");
    scene.until("the event", |_| again.data() == ["4"]);
}

#[test]
fn stream_whose_client_does_not_read_its_end_is_cut() {
    let mut scene = Scene::new(&Setting::default());
    let mut client = scene.join("acme", Coming { buffer: Some(4096), ..Coming::default() });
    for _ in 0..20 {
        scene.publish("acme", &"x".repeat(50_000));
        scene.step();
    }
    client.stream.end(Ending::Disconnected);
    let began = Instant::now();
    // It takes a little now and then, which keeps it from being stuck.
    scene.until("it is gone", |scene| {
        client.read_some(1);
        scene.streams_open() == 0
    });
    assert!(began.elapsed() >= Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(scene.open.len(), 0);
}

#[test]
fn who_is_held_for_too_long_is_told_to_come_back() {
    let mut scene = Scene::new(&Setting { confirm: Duration::from_millis(50), ..Setting::default() });
    let mut client = scene.arrive("acme", Coming::default());
    scene.until("it has ended", |_| client.has_ended());
    assert!(client.body().contains(r#""reason":"unavailable""#));
}

#[test]
fn a_workspace_that_is_refused_ends_the_streams_of_all_its_clients() {
    let mut scene = Scene::new(&Setting::default());
    let mut clients: Vec<_> = (0..200).map(|_| scene.join("acme", Coming::default())).collect();
    let mut other = scene.join("else", Coming::default());
    scene.hub.refused(&WorkspaceId::parse("acme").unwrap(), "no permission");
    for client in &mut clients {
        scene.until("it has ended", |_| client.has_ended());
        assert!(client.body().contains(r#""reason":"unavailable""#));
    }
    scene.publish("else", "1");
    scene.until("the other one goes on", |_| other.data() == ["1"]);
    // The workspace can be had again.
    let mut again = scene.join("acme", Coming::default());
    scene.publish("acme", "2");
    scene.until("it works", |_| again.data() == ["2"]);
}

#[test]
fn a_drain_ends_every_stream_properly_and_whoever_comes_late() {
    let mut scene = Scene::new(&Setting::default());
    let mut clients: Vec<_> = (0..50).map(|_| scene.join("acme", Coming::default())).collect();
    let mut held = scene.arrive("else", Coming::default());
    scene.streams.drain.begin(Duration::from_millis(10));
    scene.engine.drain();
    let mut late = scene.arrive("acme", Coming::default());
    for client in clients.iter_mut().chain([&mut held, &mut late]) {
        scene.until("it has ended", |_| client.has_ended());
        assert!(client.body().contains(r#""reason":"draining""#));
    }
    drop(clients);
    drop((held, late));
    scene.until("all are gone", |scene| scene.streams_open() == 0);
}

#[test]
fn who_does_not_hang_up_after_the_end_is_cut_a_little_later() {
    let mut scene = Scene::new(&Setting::default());
    let mut client = scene.join("acme", Coming::default());
    client.stream.end(Ending::Disconnected);
    scene.until("it has ended", |_| client.has_ended());
    assert_eq!(scene.open.len(), 0, "its place is free at once");
    scene.until("the socket is closed", |scene| scene.streams_open() == 0);
}

#[test]
fn what_is_left_at_the_end_is_cut_and_the_shard_ends() {
    let mut scene = Scene::new(&Setting::default());
    let mut client = scene.join("acme", Coming::default());
    scene.engine.abandon();
    scene.until("it is cut", |_| {
        client.read();
        client.closed
    });
    assert!(!client.has_ended(), "without a last chunk, which tells it from a proper end");
    scene.engine.stop();
    scene.shard.run();
}
