//! Nodes of another version and of this one, side by side over one Redis. No event is lost without
//! a reset while nodes are exchanged.
//!
//! The other program is at the path in `TIDINGS_OTHER_PROGRAM`. `scripts/mixed-versions` builds one
//! and runs this. Without it there is nothing to compare. So this program has its own `main`: it
//! reports that nothing ran, and lists no test that did not.

#![expect(clippy::expect_used, reason = "a failed step ends the test, with a backtrace")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use tidings_testkit::ledger::{Clients, LiveShare, Mixed, Setting, Settings, Setup, Way};
use tidings_testkit::{BrokerOptions, RedisServer};

const VARIABLE: &str = "TIDINGS_OTHER_PROGRAM";
const TEST: &str = "nodes_are_exchanged_for_those_of_another_version";
/// How long a broker may take to end, when asked.
const END: Duration = Duration::from_secs(10);

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let is_meant =
        arguments.iter().filter(|word| !word.starts_with('-')).all(|filter| TEST.contains(filter.as_str()));
    if !is_meant {
        println!("versions: 0 tests of this name");
        return;
    }
    let Some(other) = std::env::var_os(VARIABLE).map(PathBuf::from) else {
        println!(
            "versions: 0 tests: {VARIABLE} names no program; scripts/mixed-versions builds one and runs {TEST}"
        );
        return;
    };
    if arguments.iter().any(|word| word == "--list") {
        println!("{TEST}: test");
        return;
    }
    assert!(other.is_file(), "{VARIABLE}: there is no {}", other.display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(exchange_nodes(&other));
    println!("test {TEST} ... ok");
}

/// Durable workspaces with clients that hop over nodes of both versions. A mixed workspace has a
/// client on a node of this version: an older node need not report live events that it did not
/// receive.
fn setting() -> Setting {
    let publisher = |live| Settings { pace: Duration::from_millis(40), ..Settings::mixed(&Way::ALL, live) };
    let durable = Mixed {
        workspaces: 2,
        clients: 3,
        go: Clients::Random,
        resident: false,
        stay: Some(Duration::from_millis(400)..Duration::from_millis(1_500)),
        publishers: vec![publisher(LiveShare::None); 2],
    };
    let mixed = Mixed {
        workspaces: 1,
        clients: 0,
        resident: true,
        publishers: vec![publisher(LiveShare::Dense)],
        ..durable.clone()
    };
    let mixed = vec![durable, mixed];
    let mut setting = Setting { workspaces: 2, nodes: 4, mixed, ..Setting::default() };
    setting.publishers.pace = Duration::from_millis(40);
    setting.brokers.push(("ring.linger_seconds", "1".to_owned()));
    setting
}

async fn exchange_nodes(other: &Path) {
    let redis = RedisServer::start().await;
    let options = |program: Option<&Path>| match program {
        Some(program) => BrokerOptions::redis(&redis).program(program),
        None => BrokerOptions::redis(&redis),
    };
    // The first node of each version stays.
    let programs = [None, Some(other), Some(other), Some(other)];
    let nodes = programs.iter().map(|program| options(*program)).collect();
    let mut setup = Setup::open_with("nodes of two versions", setting(), nodes, &redis.url()).await;
    // Forward, and back again.
    for (node, program) in [(2, None), (3, None), (2, Some(other)), (3, Some(other)), (2, None)] {
        setup.more(20).await;
        assert_eq!(setup.brokers[node].terminate(END).await, Some(0));
        setup.brokers[node].set_program(program);
        setup.brokers[node].restart().await;
        setup.brokers[node].ready().await;
    }
    setup.more(30).await;
    setup.close().await;
}
