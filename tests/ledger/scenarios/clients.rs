//! Clients that are away, or do not read.

use std::time::Duration;

use tidings_testkit::ledger::{Setting, Setup, Way};

use crate::support::RedisServer;

/// Opens a setup in which nothing is published before every client was greeted, so that the log of
/// each is empty until then.
async fn open_before_the_log_begins(name: &str) -> (RedisServer, Setup) {
    let mut setting = Setting::default();
    // A log that plain commands began proves no position from before it.
    setting.publishers.ways.retain(|way| *way != Way::Plain);
    setting.publishers.waits = true;
    let pace = setting.publishers.pace;
    let (redis, setup) = Setup::open(name, setting).await;
    setup.publishers.iter().for_each(|publisher| publisher.set_pace(pace));
    (redis, setup)
}

/// A client that reconnects within the retention gets all missed events from any node.
#[tokio::test]
async fn clients_stay_away_and_come_back_within_the_retention() {
    let (_redis, setup) = open_before_the_log_begins("clients away, log kept").await;
    // From here on each client has a place in the log.
    setup.more(1).await;
    setup.delivered().await;
    for round in 0..4 {
        let away = || setup.listeners.iter().skip(round % 2).step_by(2);
        away().for_each(|listener| listener.leave());
        // More than the rings hold.
        setup.more(if round == 3 { 300 } else { 50 }).await;
        away().for_each(|listener| listener.come_back());
        setup.more(10).await;
    }
    let verdict = setup.close().await;
    assert!(verdict.resets.is_empty(), "nothing had to be given up: {verdict}");
}

/// The position of an empty log names the epoch that its first event begins, and is good on every
/// node.
#[tokio::test]
async fn clients_leave_before_the_log_begins_and_change_nodes() {
    let (_redis, setup) = open_before_the_log_begins("clients away before the log began").await;
    let away = || setup.listeners.iter().step_by(2);
    // At once: the first event is yet to be published.
    away().for_each(|listener| listener.leave());
    setup.more(50).await;
    away().for_each(|listener| listener.come_back());
    setup.more(10).await;
    let verdict = setup.close().await;
    assert!(verdict.resets.is_empty(), "{verdict}");
}

/// The log is trimmed past the positions of the absent clients.
#[tokio::test]
async fn the_log_is_trimmed_faster_than_clients_return() {
    let mut setting = Setting::default();
    setting.publishers.retention = 100;
    setting.publishers.pace = Duration::from_millis(5);
    setting.brokers.push(("ring.events", "50".to_owned()));
    let (_redis, setup) = Setup::open("log trimmed faster than clients return", setting).await;
    for round in 0..3 {
        let away = || setup.listeners.iter().skip(round % 2).step_by(2);
        away().for_each(|listener| listener.leave());
        setup.more(400).await;
        away().for_each(|listener| listener.come_back());
        setup.more(20).await;
    }
    let verdict = setup.close().await;
    assert!(verdict.durable.covered > 0 && verdict.resets.contains_key("trimmed"), "{verdict}");
}

/// A client that hangs is dropped when it is a ring behind, and gets what it missed from the log.
#[tokio::test]
async fn a_client_does_not_read_for_20_seconds() {
    let mut setting = Setting::default();
    // More than the buffers of sockets hold in that time.
    setting.publishers.padding = 30_000;
    setting.brokers.push(("ring.bytes", "1500000".to_owned()));
    let (_redis, setup) = Setup::open("a client does not read for 20 s", setting).await;
    let slow = || setup.listeners.iter().step_by(3);
    slow().for_each(|listener| listener.hang());
    // However slow the machine is, more than the ring and the sockets hold.
    tokio::join!(tokio::time::sleep(Duration::from_secs(20)), setup.more(150));
    for publisher in &setup.publishers {
        publisher.set_pace(Duration::from_millis(100));
    }
    slow().for_each(|listener| listener.come_back());
    setup.more(10).await;
    let verdict = setup.close().await;
    assert!(verdict.reconnects > 0, "who hung was dropped: {verdict}");
}
