//! The embedded bus as the broker itself sees it: interest, feed, durable events.

use std::time::Duration;

use bytes::Bytes;
use tidings_bus::{Bus, LinkState, Publication, PublishError};
use tidings_event::EntryId;
use tidings_event::envelope;
use tidings_event::envelope::Message;
use tidings_event::workspace::WorkspaceId;
use tokio::net::TcpStream;

use super::wire::{Wire, command, show, words};
use super::{Embedded, eventually};

fn workspace(text: &str) -> WorkspaceId {
    WorkspaceId::parse(text).unwrap()
}

#[tokio::test]
async fn the_feed_follows_the_interest() {
    let embedded = Embedded::start().await;
    let mut publisher = Wire::tcp(embedded.address).await;
    assert!(publisher.ask(&words("PUBLISH workspace:a early")).await.starts_with(b":0\r\n"));
    embedded.interest.want(&workspace("a"));
    eventually("a is confirmed", || embedded.feed.seen() == ["confirmed a"]).await;
    assert!(publisher.ask(&words("PUBLISH workspace:a x")).await.starts_with(b":1\r\n"));
    assert!(publisher.ask(&words("PUBLISH workspace:b x")).await.starts_with(b":0\r\n"));
    let channels = publisher.ask(&words("PUBSUB CHANNELS")).await;
    assert!(show(&channels).starts_with("*1 $11 workspace:a "), "{}", show(&channels));
    // A second request for it has not seen the first confirmation.
    embedded.interest.want(&workspace("a"));
    eventually("a is confirmed again", || embedded.feed.seen().len() == 3).await;
    embedded.interest.release(&workspace("a"));
    publisher.ask_until(&words("PUBLISH workspace:a late"), b":0\r\n").await;
    assert_eq!(embedded.feed.seen()[..3], ["confirmed a", "a x", "confirmed a"]);
}

#[tokio::test]
async fn a_payload_above_the_limit_reaches_the_feed_which_decides() {
    let embedded = Embedded::start().await;
    embedded.interest.want(&workspace("a"));
    eventually("a is confirmed", || !embedded.feed.seen().is_empty()).await;
    let mut publisher = Wire::tcp(embedded.address).await;
    let payload = vec![b'x'; 300 << 10];
    assert!(
        publisher.ask(&command(&[b"PUBLISH", &b"workspace:a"[..], &payload])).await.starts_with(b":1\r\n")
    );
    assert_eq!(embedded.feed.seen()[1].len(), payload.len() + "a ".len());
}

async fn publish(embedded: &Embedded, workspace: &WorkspaceId, payload: &str) -> EntryId {
    let publication = Publication::one(Bytes::from(payload.to_owned()));
    embedded.bus.publish(workspace, publication).await.unwrap()[0]
}

/// The id and the id before it, of an announcement that a client received.
fn announced(message: &str) -> (EntryId, EntryId, Bytes) {
    match envelope::parse(&Bytes::from(message.to_owned())) {
        Ok(Message::Logged { id, previous, payload, to: None, trace: None }) => (id, previous, payload),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn durable_events_are_one_chain_however_they_come() {
    let embedded = Embedded::start().await;
    let team = workspace("team-1");
    embedded.interest.want(&team);
    eventually("team-1 is confirmed", || !embedded.feed.seen().is_empty()).await;
    let mut wire = Wire::tcp(embedded.address).await;

    let first = publish(&embedded, &team, "one").await;
    let answer = show(&wire.ask(&words("FCALL tidings_publish 1 workspace:team-1 two")).await);
    let second: EntryId = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let third = publish(&embedded, &team, "three").await;

    let seen = embedded.feed.seen();
    let messages: Vec<_> =
        seen[1..].iter().map(|line| announced(line.strip_prefix("team-1 ").unwrap())).collect();
    assert_eq!(
        messages,
        [
            (first, EntryId::ZERO, Bytes::from_static(b"one")),
            (second, first, Bytes::from_static(b"two")),
            (third, second, Bytes::from_static(b"three")),
        ]
    );
}

#[tokio::test]
async fn a_redis_client_sees_the_announcement() {
    let embedded = Embedded::start().await;
    let mut wire = Wire::tcp(embedded.address).await;
    wire.ask(&words("SUBSCRIBE workspace:a")).await;
    let id = publish(&embedded, &workspace("a"), "{}").await;
    let expected = command(&["message", "workspace:a", &format!("tidings/1 {id} 0-0\n{{}}")]);
    assert_eq!(show(&wire.read_until(b"{}\r\n").await), show(&expected));
}

#[tokio::test]
async fn publish_function_describes_its_arguments() {
    let embedded = Embedded::start().await;
    let mut wire = Wire::tcp(embedded.address).await;
    let key = "-ERR tidings_publish takes as its key the channel of a workspace, `workspace:` and its id ";
    let number = "-ERR value is not an integer or out of range ";
    for (line, expected) in [
        ("FCALL", "-ERR wrong number of arguments for 'fcall' command "),
        ("FCALL other 0", "-ERR Function not found "),
        ("FCALL tidings_publish x", number),
        ("FCALL tidings_publish -1", number),
        ("FCALL tidings_publish 2 a", key),
        ("FCALL tidings_publish 0 workspace:a", key),
        ("FCALL tidings_publish 4 workspace:a b c d e", key),
        ("FCALL tidings_publish 1 a b", key),
        ("FCALL tidings_publish 1 workspace:a/b c", key),
        ("FCALL tidings_publish 1 workspace:a", "-ERR tidings_publish takes an argument, the payload "),
        (
            "FCALL tidings_publish 1 workspace:a b c",
            "-ERR tidings_publish: `c` is no whole number above zero ",
        ),
        ("FCALL tidings_publish 1 workspace:a b 0", "-ERR tidings_publish: `0` is no whole number "),
        ("FCALL tidings_publish 1 workspace:a b 1 -1", "-ERR tidings_publish: `-1` is no whole number "),
    ] {
        let answer = wire.ask(&words(line)).await;
        let answer = String::from_utf8(answer).unwrap().replace("\r\n", " ");
        assert!(answer.starts_with(expected), "{line}: {answer}");
    }
}

/// The embedded bus has one order for the node and for every Redis client.
#[tokio::test]
async fn feed_and_clients_see_one_order() {
    let embedded = Embedded::start().await;
    embedded.interest.want(&workspace("a"));
    eventually("a is confirmed", || !embedded.feed.seen().is_empty()).await;
    let mut listener = Wire::tcp(embedded.address).await;
    listener.ask(&words("SUBSCRIBE workspace:a")).await;
    let publish_live = async |name: &str| {
        let mut wire = Wire::tcp(embedded.address).await;
        for number in 0..50 {
            wire.ask(&words(&format!("PUBLISH workspace:a {name}.{number}"))).await;
        }
    };
    let log = async {
        for number in 0..50 {
            publish(&embedded, &workspace("a"), &format!("log.{number}")).await;
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(publish_live("one"), publish_live("two"), log);
    let heard = String::from_utf8(listener.ask(b"").await).unwrap();
    let by_feed = embedded.feed.seen();
    let mut at = 0;
    for line in &by_feed[1..] {
        let found = heard[at..].find(&format!("{}\r\n", line.strip_prefix("a ").unwrap()));
        at += found.unwrap_or_else(|| panic!("{line} is missing or in another order"));
    }
    assert_eq!(by_feed.len(), 151);
}

#[tokio::test]
async fn state_shows_a_run_and_a_stop_leaves_nothing() {
    let mut embedded = Embedded::start().await;
    eventually("it runs", || embedded.bus.state().link == LinkState::Up).await;
    assert_eq!(embedded.bus.state().last_received, Some(Duration::ZERO));
    embedded.interest.want(&workspace("a"));
    let mut idle = Wire::tcp(embedded.address).await;
    let mut subscriber = Wire::tcp(embedded.address).await;
    idle.ask(b"").await;
    subscriber.ask(&words("SUBSCRIBE a")).await;
    embedded.stop().await;
    assert!(matches!(embedded.bus.state().link, LinkState::Down { .. }));
    assert_eq!(embedded.bus.state().last_received, None);
    for wire in [&mut idle, &mut subscriber] {
        assert_eq!(wire.read_to_end().await, b"");
    }
    assert!(TcpStream::connect(embedded.address).await.is_err());
    let late = Publication::one(Bytes::from_static(b"late"));
    let refused = embedded.bus.publish(&workspace("a"), late).await;
    assert_eq!(refused, Err(PublishError::Unavailable("the bus was stopped".to_owned())));
    assert!(embedded.feed.seen().iter().all(|line| line == "confirmed a"));
}
