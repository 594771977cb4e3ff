//! A message of a channel or an entry of a log is false, or the log cannot be read. Each attempt to
//! read makes progress or pauses. A client gets one reset, and other workspaces get none.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::Value;
use tidings_testkit::ledger::{
    Clients, LiveShare, Mixed, SCRIPT, Setting, Settings, Setup, Verdict, Way, tell,
};

use crate::server::Server;
use crate::support::{
    BrokerOptions, Bus, DEADLINE, RedisOptions, RedisServer, eventually, test_cluster::on_both_buses,
};

on_both_buses!(envelope_announces_an_event_outside_the_log);

const ANNOUNCED: [Way; 2] = [Way::Script, Way::Function];
/// Reads of logs that a setup of a few seconds may take beside those of the publish script, one for
/// each event.
const READS_MAX: u64 = 1_000;
const PACE: Duration = Duration::from_millis(40);

/// Connected clients of two durable workspaces and a mixed one.
fn setting() -> Setting {
    let mixed = Mixed {
        workspaces: 1,
        clients: 3,
        go: Clients::Spread,
        resident: false,
        stay: None,
        publishers: vec![Settings { pace: PACE, ..Settings::mixed(&ANNOUNCED, LiveShare::Dense) }],
    };
    let mut setting = Setting { mixed: vec![mixed], ..Setting::default() };
    setting.publishers.ways = ANNOUNCED.to_vec();
    setting.publishers.pace = PACE;
    setting
}

/// Of the workspaces, those to which something is done; `ledger-1` is to notice nothing.
const STRUCK: [&str; 2] = ["workspace:ledger-0", "workspace:mixed-0-0"];
const SPARED: &str = "ledger-1";

/// How often logs were read, or that was refused. The embedded bus does not count that.
async fn reads(redis: Option<&RedisServer>) -> u64 {
    let Some(redis) = redis else { return 0 };
    let stats = redis.info("commandstats").await;
    let of_command = |line: &str| -> Option<u64> {
        let fields = ["xrange", "xrevrange", "xinfo|stream"]
            .iter()
            .find_map(|command| line.strip_prefix(&format!("cmdstat_{command}:")))?;
        let number = |name: &str| {
            fields
                .split(',')
                .find_map(|field| field.strip_prefix(name)?.strip_prefix('=')?.parse::<u64>().ok())
        };
        Some(number("calls")? + number("rejected_calls").unwrap_or_default())
    };
    stats.lines().filter_map(of_command).sum()
}

/// The script and the function read the log twice for each event.
fn check_reads(verdict: &Verdict, reads: u64) {
    let of_publishers = 2 * verdict.durable.published;
    assert!(
        reads < of_publishers + READS_MAX,
        "{reads} reads of logs, of {of_publishers} for publishing: {verdict}"
    );
}

/// No client got more resets than this, no client of the spared workspace any, and no client lost a
/// connection.
fn check_resets(verdict: &Verdict, most: u64) {
    let most_told = verdict.told.values().copied().max().unwrap_or_default();
    assert!(most_told <= most, "{most} resets at most: {:?}; {verdict}", verdict.told);
    let spared = verdict.told.iter().find(|(client, _)| client.ends_with(SPARED));
    assert!(spared.is_none(), "{spared:?} was told too: {verdict}");
    assert_eq!(verdict.reconnects, 0, "{verdict}");
}

async fn envelope_announces_an_event_outside_the_log(bus: Bus) {
    let (server, setup) = Server::open(bus, "false envelopes", setting()).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis();
    let ids = [
        "18446744073709551614-5 0-0".to_owned(),
        format!("{}-0 0-0", now + 3_600_000),
        format!("{}-1 {}-0", now + 3_600_000, now + 3_600_000),
        format!("{}-18446744073709551615 {}-18446744073709551614", now + 60_000, now + 60_000),
    ];
    let before = reads(server.redis.as_ref()).await;
    for id in &ids {
        setup.more(15).await;
        for channel in STRUCK {
            server.tell(&["PUBLISH", channel, &format!("tidings/1 {id}\nx")]).await;
        }
    }
    setup.more(40).await;
    let reads = reads(server.redis.as_ref()).await - before;
    let verdict = setup.close().await;
    check_reads(&verdict, reads);
    check_resets(&verdict, ids.len() as u64);
}

/// Publishing to the struck workspaces fails meanwhile.
#[tokio::test]
async fn key_of_a_log_has_another_type_meanwhile() {
    let (redis, setup) = Setup::open("the key of a log is no stream", setting()).await;
    let spared =
        setup.publishers.iter().find(|publisher| publisher.workspace() == SPARED).expect("a publisher");
    let before = reads(Some(&redis)).await;
    let rounds = 2;
    for _ in 0..rounds {
        setup.more(15).await;
        for log in STRUCK {
            // The event belongs to a log that no node can read any more.
            let mut transaction = redis::pipe();
            transaction.atomic();
            transaction.cmd("DEL").arg(log);
            transaction.cmd("EVAL").arg(SCRIPT).arg(1).arg(log).arg(r#"{"type":"LAST"}"#);
            transaction.cmd("SET").arg(log).arg("no stream");
            let mut connection = redis.connection().await.expect("a connection");
            transaction.query_async::<Value>(&mut connection).await.expect("a key that is no stream");
        }
        let wanted = spared.acknowledged() + 40;
        eventually("the others go on", DEADLINE, async || spared.acknowledged() >= wanted).await;
        for log in STRUCK {
            tell(&redis, &["DEL", log]).await;
        }
    }
    setup.more(20).await;
    let reads = reads(Some(&redis)).await - before;
    let verdict = setup.close().await;
    check_reads(&verdict, reads);
    // Once that the log cannot be read, and once that what lay between was trimmed.
    check_resets(&verdict, 2 * rounds);
}

/// The nodes may do all but read logs.
#[tokio::test]
async fn nodes_may_not_read_logs() {
    let users = vec!["tidings on >secret ~* &* +@all -xrange".to_owned()];
    let redis = RedisServer::start_with(RedisOptions { users, ..RedisOptions::default() }).await;
    let options = BrokerOptions::embedded().set("redis.url", redis.url_as("tidings", "secret"));
    let setting = Setting { may_count_as_mixed: true, ..setting() };
    let setup = Setup::open_on("nodes may not read logs", setting, options, &redis.url()).await;
    let before = reads(Some(&redis)).await;
    let rounds = 3;
    for _ in 0..rounds {
        setup.more(15).await;
        for log in STRUCK {
            tell(&redis, &["DEL", log]).await;
        }
    }
    setup.more(40).await;
    let reads = reads(Some(&redis)).await - before;
    let verdict = setup.close().await;
    check_reads(&verdict, reads);
    check_resets(&verdict, rounds);
}
