//! A log ends while its workspace lives on: it is deleted, it expires, its newest entry is taken
//! out. The next event begins another log, whose ids need not lie behind those of the former.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidings_testkit::ledger::{Clients, LiveShare, Mixed, Setting, Settings, Setup, Verdict, Way};

use crate::server::Server;
use crate::support::{Bus, DEADLINE, eventually, test_cluster::on_both_buses};

/// Events of plain commands may vanish before any node reads them, and then no node can know.
const ANNOUNCED: [Way; 3] = [Way::Post, Way::Script, Way::Function];
const HOUR_MS: u128 = 3_600_000;

on_both_buses!(
    a_log_is_deleted_under_connected_clients,
    a_log_expires_before_each_event_under_connected_clients,
    log_ahead_of_the_clock_is_deleted_beside_connected_clients,
);

/// Clients that stay connected; one of the workspaces carries live events too.
fn steady() -> Setting {
    let mixed = Mixed {
        workspaces: 1,
        clients: 3,
        go: Clients::Spread,
        resident: false,
        stay: None,
        publishers: vec![Settings::mixed(&ANNOUNCED, LiveShare::Dense)],
    };
    let mut setting = Setting { workspaces: 1, mixed: vec![mixed], ..Setting::default() };
    setting.publishers.ways = ANNOUNCED.to_vec();
    setting
}

/// Clients that hop, and are away now and then while the log ends.
fn hopping() -> Setting {
    let mut setting = steady();
    let stay = Some(Duration::from_millis(300)..Duration::from_millis(1_200));
    let mixed = Mixed { go: Clients::Random, stay, ..setting.mixed[0].clone() };
    let durable = vec![Settings::mixed(&ANNOUNCED, LiveShare::None)];
    setting.mixed.extend([mixed.clone(), Mixed { publishers: durable, ..mixed }]);
    setting.brokers.push(("ring.linger_seconds", "1".to_owned()));
    setting
}

fn logs(setup: &Setup) -> Vec<String> {
    setup.publishers.iter().map(|publisher| format!("workspace:{}", publisher.workspace())).collect()
}

async fn delete(server: &Server, setup: &Setup) {
    for log in logs(setup) {
        server.tell(&["DEL", &log]).await;
    }
}

/// Each connected client got every event, and no reset.
fn check_steady(verdict: &Verdict) {
    assert!(verdict.resets.is_empty(), "{verdict}");
    assert_eq!((verdict.durable.covered, verdict.live.covered), (0, 0), "{verdict}");
}

async fn a_log_is_deleted_under_connected_clients(bus: Bus) {
    let (server, setup) = Server::open(bus, "log deleted, clients connected", steady()).await;
    for _ in 0..5 {
        setup.more(20).await;
        delete(&server, &setup).await;
    }
    setup.more(20).await;
    check_steady(&setup.close().await);
}

/// The same for the connected clients, while others hop.
fn check_steady_among_hopping(verdict: &Verdict) {
    let is_steady = |client: &str| client.ends_with("ledger-0") || client.ends_with("mixed-0-0");
    let told = verdict.told.keys().find(|client| is_steady(client));
    assert!(told.is_none(), "{told:?} was told: {verdict}");
}

#[tokio::test]
async fn a_log_is_deleted_under_clients_that_hop() {
    let (server, setup) = Server::open(Bus::Redis, "log deleted, clients hop", hopping()).await;
    for _ in 0..8 {
        setup.more(20).await;
        delete(&server, &setup).await;
    }
    setup.more(20).await;
    check_steady_among_hopping(&setup.close().await);
}

#[tokio::test]
async fn all_keys_are_flushed_under_connected_clients() {
    let (server, setup) = Server::open(Bus::Redis, "FLUSHALL, clients connected", steady()).await;
    for _ in 0..5 {
        setup.more(20).await;
        server.tell(&["FLUSHALL"]).await;
    }
    setup.more(20).await;
    check_steady(&setup.close().await);
}

#[tokio::test]
async fn the_newest_entry_is_deleted_under_connected_clients() {
    type Entry = (String, Vec<String>);
    let (server, setup) =
        Server::open(Bus::Redis, "XDEL of the newest entry, clients connected", steady()).await;
    for _ in 0..10 {
        setup.more(8).await;
        for log in logs(&setup) {
            let newest: Vec<Entry> = server.command(&["XREVRANGE", &log, "+", "-", "COUNT", "1"]).await;
            for (id, _) in newest {
                server.tell(&["XDEL", &log, &id]).await;
            }
        }
    }
    setup.more(20).await;
    check_steady(&setup.close().await);
}

/// Publishes an event in each workspace after each log has expired.
async fn expire(server: &Server, setup: &Setup, rounds: usize) {
    for _ in 0..rounds {
        tokio::join!(setup.more(1), async {
            setup.publishers.iter().for_each(|publisher| publisher.publish_one());
        });
        eventually("every log expires", DEADLINE, async || {
            let mut left = 0;
            for log in logs(setup) {
                left += server.command::<u64>(&["XLEN", &log]).await;
            }
            left == 0
        })
        .await;
    }
}

/// Nothing is published unless the scenario says so, and logs expire after a second.
fn expiring(mut setting: Setting) -> Setting {
    let one_by_one = |publisher: &mut Settings| {
        publisher.retention_seconds = 1;
        publisher.pace = Duration::from_hours(1);
        publisher.waits = true;
    };
    one_by_one(&mut setting.publishers);
    setting.mixed.iter_mut().flat_map(|mixed| &mut mixed.publishers).for_each(one_by_one);
    setting
}

async fn a_log_expires_before_each_event_under_connected_clients(bus: Bus) {
    let (server, setup) = Server::open(bus, "log expires, clients connected", expiring(steady())).await;
    expire(&server, &setup, 6).await;
    check_steady(&setup.close().await);
}

#[tokio::test]
async fn a_log_expires_before_each_event_under_clients_that_hop() {
    let (server, setup) = Server::open(Bus::Redis, "log expires, clients hop", expiring(hopping())).await;
    expire(&server, &setup, 6).await;
    check_steady_among_hopping(&setup.close().await);
}

/// The clock of the server was ahead and is set right: ids of the log lie ahead of it until the log
/// is deleted.
async fn clock_ahead(server: &Server, setup: &Setup, rounds: usize) {
    for _ in 0..rounds {
        setup.more(10).await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis();
        let id = format!("{}-0", now + HOUR_MS);
        for log in logs(setup) {
            let mut transaction = redis::pipe();
            transaction.atomic();
            transaction.cmd("XADD").arg(&log).arg(&id).arg("data").arg(r#"{"type":"CLOCK"}"#);
            transaction.cmd("PUBLISH").arg(&log).arg("");
            server.send::<(String, u64)>(&transaction).await;
        }
        // Each publisher has at least one durable event at such an id, by which the ledger knows.
        setup.more(20).await;
        delete(server, setup).await;
    }
    setup.more(20).await;
}

async fn log_ahead_of_the_clock_is_deleted_beside_connected_clients(bus: Bus) {
    let (server, setup) =
        Server::open(bus, "log ahead of the clock deleted, clients connected", steady()).await;
    clock_ahead(&server, &setup, 2).await;
    let verdict = setup.close().await;
    assert_eq!((verdict.durable.covered, verdict.live.covered), (0, 0), "{verdict}");
}

#[tokio::test]
async fn log_ahead_of_the_clock_is_deleted_beside_moving_clients() {
    let (server, setup) =
        Server::open(Bus::Redis, "log ahead of the clock deleted, clients hop", hopping()).await;
    clock_ahead(&server, &setup, 2).await;
    setup.close().await;
}
