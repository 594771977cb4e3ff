//! The ends of streams.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use super::super::shard_sender::ShardMessage;
use super::*;
use tidings_limits::Ending;

#[test]
fn client_that_disconnects_while_idle_is_removed_at_once() {
    let mut scene = Scene::new(&Setting::default());
    let client = scene.join("acme", ClientOptions::default());
    let half = scene.join("acme", ClientOptions::default());
    let silent = scene.connect("else", ClientOptions::default());
    scene.until("all are there", |scene| scene.streams_open() == 3);
    drop(client);
    scene.until("it is gone", |scene| scene.streams_open() == 2);
    // A client that closes its sending side counts as gone too, as for the other writer.
    half.socket.shutdown(std::net::Shutdown::Write).unwrap();
    scene.until("it is gone", |scene| scene.streams_open() == 1);
    drop(silent);
    scene.until("it is gone", |scene| scene.streams_open() == 0);
    assert_eq!((scene.metrics().subscribers.get(), scene.open.len()), (0, 0));
    assert!(scene.shard.clients.is_empty() && scene.shard.broadcasts.is_empty());
}

#[test]
fn bytes_of_a_client_are_discarded_and_hide_no_disconnect() {
    let mut scene = Scene::new(&Setting::default());
    let mut client = scene.join("acme", ClientOptions::default());
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
fn disconnected_client_gets_no_later_event() {
    let mut scene = Scene::new(&Setting::default());
    let mut clients: Vec<_> = (0..3).map(|_| scene.join("acme", ClientOptions::default())).collect();
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
fn disconnected_client_gets_no_later_event_behind_many_messages() {
    let mut scene = Scene::new(&Setting::default());
    let mut client = scene.join("acme", ClientOptions::default());
    let mut other = scene.join("acme", ClientOptions::default());
    scene.publish("acme", "before");
    // More than a shard receives in a turn.
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
    let mut client = scene.join("acme", ClientOptions { until, ..ClientOptions::default() });
    let until = Until { expires: Some(SystemTime::now()), aged: None };
    let mut late = scene.connect("acme", ClientOptions { until, ..ClientOptions::default() });
    scene.until("both have ended", |_| client.has_ended() && late.has_ended());
    assert!(client.body().contains(r#""reason":"expired""#) && late.body().contains(r#""reason":"expired""#));
}

/// A clock that a test sets.
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
    let mut client = scene.join("acme", ClientOptions { until, ..ClientOptions::default() });
    let mut other = scene.join("acme", ClientOptions::default());
    scene.publish("acme", "1");
    scene.until("the event", |_| client.data() == ["1"]);
    // Forward, and not far enough; then beyond the end, while no event comes.
    ahead.store(1700, Ordering::Relaxed);
    scene.publish("acme", "2");
    scene.until("the event", |_| client.data() == ["1", "2"]);
    ahead.store(1900, Ordering::Relaxed);
    scene.until("it has ended", |_| client.has_ended());
    assert!(client.body().contains(r#""reason":"expired""#));
    scene.publish("acme", "3");
    scene.until("the other one goes on", |_| other.data() == ["1", "2", "3"]);
    // By a clock that is set back, the token is valid for longer.
    let until = Until { expires: Some(clock.now() + Duration::from_millis(400)), aged: None };
    let mut again = scene.join("acme", ClientOptions { until, ..ClientOptions::default() });
    ahead.store(1000, Ordering::Relaxed);
    scene.step();
    let later = Instant::now() + Duration::from_millis(900);
    scene.until("its former time is over", |_| Instant::now() > later);
    assert!(!again.has_ended());
    scene.publish("acme", "4");
    scene.until("the event", |_| again.data() == ["4"]);
}

#[test]
fn stream_with_an_unread_end_is_aborted() {
    let mut scene = Scene::new(&Setting::default());
    let mut client = scene.join("acme", ClientOptions { buffer: Some(4096), ..ClientOptions::default() });
    for _ in 0..20 {
        scene.publish("acme", &"x".repeat(50_000));
        scene.step();
    }
    client.stream.end(Ending::Disconnected);
    let began = Instant::now();
    // It takes a little from time to time, so its socket does not count as stuck.
    scene.until("it is gone", |scene| {
        client.read_some(1);
        scene.streams_open() == 0
    });
    assert!(began.elapsed() >= Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(scene.open.len(), 0);
}

#[test]
fn client_held_for_too_long_gets_reconnect() {
    let mut scene = Scene::new(&Setting { confirm: Duration::from_millis(50), ..Setting::default() });
    let mut client = scene.connect("acme", ClientOptions::default());
    scene.until("it has ended", |_| client.has_ended());
    assert!(client.body().contains(r#""reason":"unavailable""#));
}

#[test]
fn refused_workspace_ends_the_streams_of_its_clients() {
    let mut scene = Scene::new(&Setting::default());
    let mut clients: Vec<_> = (0..200).map(|_| scene.join("acme", ClientOptions::default())).collect();
    let mut other = scene.join("else", ClientOptions::default());
    scene.hub.refused(&WorkspaceId::parse("acme").unwrap(), "no permission");
    for client in &mut clients {
        scene.until("it has ended", |_| client.has_ended());
        assert!(client.body().contains(r#""reason":"unavailable""#));
    }
    scene.publish("else", "1");
    scene.until("the other one goes on", |_| other.data() == ["1"]);
    // A new client can join the workspace.
    let mut again = scene.join("acme", ClientOptions::default());
    scene.publish("acme", "2");
    scene.until("it works", |_| again.data() == ["2"]);
}

#[test]
fn drain_ends_each_stream_in_order_and_later_ones_too() {
    let mut scene = Scene::new(&Setting::default());
    let mut clients: Vec<_> = (0..50).map(|_| scene.join("acme", ClientOptions::default())).collect();
    let mut held = scene.connect("else", ClientOptions::default());
    scene.streams.drain.begin(Duration::from_millis(10));
    scene.engine.drain();
    let mut late = scene.connect("acme", ClientOptions::default());
    for client in clients.iter_mut().chain([&mut held, &mut late]) {
        scene.until("it has ended", |_| client.has_ended());
        assert!(client.body().contains(r#""reason":"draining""#));
    }
    drop(clients);
    drop((held, late));
    scene.until("all are gone", |scene| scene.streams_open() == 0);
}

#[test]
fn client_that_keeps_an_ended_connection_is_removed() {
    let mut scene = Scene::new(&Setting::default());
    let mut client = scene.join("acme", ClientOptions::default());
    client.stream.end(Ending::Disconnected);
    scene.until("it has ended", |_| client.has_ended());
    assert_eq!(scene.open.len(), 0, "its place is free at once");
    scene.until("the socket is closed", |scene| scene.streams_open() == 0);
}

#[test]
fn abandon_aborts_the_remaining_streams_and_stop_ends_the_shard() {
    let mut scene = Scene::new(&Setting::default());
    let mut client = scene.join("acme", ClientOptions::default());
    scene.engine.abandon();
    scene.until("it is aborted", |_| {
        client.read();
        client.closed
    });
    assert!(!client.has_ended(), "without a last chunk, which tells it from a proper end");
    scene.engine.stop();
    scene.shard.run();
}
