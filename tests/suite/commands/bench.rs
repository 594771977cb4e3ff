//! `tidings bench`, against the real broker.

use std::time::Duration;

use serde_json::Value;

use super::url;
use crate::support::broker::tidings;
use crate::support::commands::{Finished, RunningCommand, run_tidings};
use crate::support::directory::Directory;
use crate::support::test_cluster::on_both_buses;
use crate::support::token::{JWT, SECRET};
use crate::support::{Bus, RedisOptions, RedisServer, TestCluster};

on_both_buses!(
    every_event_arrives_however_it_is_published,
    dropped_event_is_missing_with_a_reset,
    a_storm_loses_nothing,
    slow_readers_harm_only_themselves,
);

/// Runs `tidings bench` against a broker with further arguments. Returns its exit code and the
/// output of `--json`.
async fn bench(cluster: &TestCluster, bus: Bus, arguments: &str) -> (Option<i32>, Value) {
    let finished = run(cluster, bus, &format!("--json {arguments}")).await;
    let figures =
        serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished:?}"));
    (finished.code, figures)
}

async fn run(cluster: &TestCluster, bus: Bus, arguments: &str) -> Finished {
    let url = url(&cluster.broker);
    let arguments: Vec<&str> =
        ["bench", "--url", &url].into_iter().chain(arguments.split_whitespace()).collect();
    let (key, address) = match bus {
        Bus::Redis => ("redis.url", cluster.redis().url()),
        Bus::Embedded => ("embedded.listen", cluster.broker.embedded().to_string()),
    };
    run_tidings(&arguments, &[(key, &address)]).await
}

/// Small, so that it is over soon, and with a rate that a busy machine keeps.
const SMALL: &str = "--connections 200 --workspaces 4 --rate 50 --duration 1s --warm-up 500ms";

async fn every_event_arrives_however_it_is_published(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    for (publish, name) in [("http", "http"), ("redis", "redis-live"), ("redis --durable", "redis-durable")] {
        let (code, figures) = bench(&cluster, bus, &format!("{SMALL} --publish {publish}")).await;
        assert_eq!((code, &figures["passed"]), (Some(0), &Value::Bool(true)), "{publish}: {figures}");
        // 75 events, each for the 50 streams of its workspace.
        assert_eq!(figures["publishing"]["events"], 75, "{figures}");
        let receiving = &figures["receiving"];
        let counts = ["expected", "received", "missing", "duplicates", "out_of_order", "misdelivered"];
        assert_eq!(
            counts.map(|count| receiving[count].as_u64().unwrap()),
            [3750, 3750, 0, 0, 0, 0],
            "{figures}"
        );
        assert_eq!((&figures["load"]["publish"], &figures["streams"]["open"]), (&name.into(), &200.into()));
        // What was due while it was warming up is not measured.
        assert_eq!(figures["latency_ms"]["count"], 2500, "{figures}");
        let latency = |name: &str| figures["latency_ms"][name].as_f64().unwrap();
        assert!(0.0 < latency("p50") && latency("p50") <= latency("p99") && latency("p99") <= latency("max"));
        // The broker runs on this machine.
        let server = &figures["server"];
        assert_eq!(server["pids"], serde_json::json!([cluster.broker.pid()]), "{figures}");
        assert!(server["cpu_us_per_delivery"].as_f64().unwrap() > 0.0, "{figures}");
        assert!(server["memory_idle"]["pss_kib"].as_u64() > Some(1000), "{figures}");
    }
}

async fn dropped_event_is_missing_with_a_reset(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &[("limits.events_per_second", "10")]).await;
    let load =
        "--connections 20 --workspaces 1 --rate 100 --duration 1s --warm-up 0s --grace 2s --publish redis";
    let (code, figures) = bench(&cluster, bus, load).await;
    assert_eq!((code, &figures["passed"]), (Some(1), &Value::Bool(false)), "{figures}");
    let count = |name: &str| figures["receiving"][name].as_u64().unwrap();
    assert_eq!(count("received") + count("missing"), 100 * 20, "{figures}");
    assert!(count("missing_reported") > 50 * 20 && count("missing_unreported") == 0, "{figures}");
    assert!(count("resets") >= 20 && count("clients_missing") == 20, "{figures}");
    assert_eq!((count("duplicates"), count("out_of_order")), (0, 0), "{figures}");
    assert!(figures["problems"][0].as_str().unwrap().contains("deliveries are missing, at 20 clients"));

    // The same for people: the verdict is at the end of the table.
    let finished = run(&cluster, bus, load).await;
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(1), ""), "{finished:?}");
    let last = finished.stdout.lines().last().unwrap();
    assert!(last.starts_with("failed: ") && last.contains("deliveries are missing"), "{last}");
}

async fn a_storm_loses_nothing(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &[("sse.retry_ms", "300")]).await;
    for (storm, publish) in [("--storm", "redis --durable"), ("--storm=retry", "http")] {
        let (code, figures) = bench(&cluster, bus, &format!("{SMALL} {storm} --publish {publish}")).await;
        assert_eq!(code, Some(0), "{storm}: {figures}");
        let seen = &figures["storm"];
        assert_eq!((&seen["dropped"], &seen["reconnected"]), (&200.into(), &200.into()), "{figures}");
        assert_eq!(seen["reconnect_ms"]["count"], 200, "{figures}");
        let soonest = if storm == "--storm" { 0.0 } else { 200.0 };
        assert!(seen["reconnect_ms"]["p50"].as_f64().unwrap() > soonest, "{figures}");
        // Redis counts them; the embedded bus does not.
        assert_eq!(seen["xranges"].is_u64(), bus == Bus::Redis, "{figures}");
        assert_eq!(figures["receiving"]["missing"], 0);
    }
}

async fn slow_readers_harm_only_themselves(bus: Bus) {
    let settings = [
        ("ring.events", "60"),
        ("ring.bytes", "800000"),
        ("server.send_buffer_bytes", "16384"),
        ("limits.event_bytes", "100000"),
    ];
    let cluster = TestCluster::start_with(bus, &settings).await;
    let load =
        "--connections 22 --workspaces 2 --rate 60 --duration 4s --warm-up 0s --slow 2 --payload-bytes 8000";
    let (code, figures) = bench(&cluster, bus, &format!("{load} --publish redis")).await;
    assert_eq!(code, Some(0), "{figures}");
    assert_eq!(
        (&figures["receiving"]["expected"], &figures["receiving"]["missing"]),
        (&2400.into(), &0.into())
    );
    let slow = &figures["slow"];
    assert_eq!(
        (&slow["clients"], &slow["lagging"], &slow["open"]),
        (&2.into(), &2.into(), &0.into()),
        "{figures}"
    );
}

#[tokio::test]
async fn a_report_is_a_page_that_needs_nothing_else() {
    let cluster = TestCluster::start(Bus::Embedded).await;
    let directory = Directory::new();
    let file = directory.file("report.html");
    let load = "--connections 50 --workspaces 5 --rate 50 --duration 1s --warm-up 0s --report";
    let finished = run(&cluster, Bus::Embedded, &format!("{load} {}", file.display())).await;
    let table = finished.success();
    assert!(table.contains("50 in 5 workspaces") && table.contains("\npassed: "), "{table}");
    let page = std::fs::read_to_string(&file).unwrap();
    assert_eq!((page.matches("<svg ").count(), page.matches("<script").count()), (6, 0), "{page}");
    for words in [env!("CARGO_PKG_VERSION"), " cores, ", "tidings bench --url http://127.0.0.1:", "--rate 50"]
    {
        assert!(page.contains(words) && table.contains(words), "{words}: {table}");
    }
    assert!(page.contains("class=\"verdict passed\"") && !page.contains("NaN"), "{page}");
}

#[tokio::test]
async fn figures_say_when_where_and_how_without_secrets() {
    let cluster = TestCluster::start(Bus::Embedded).await;
    let url = url(&cluster.broker);
    let publish =
        format!("http://user:s3cret@{}/api/workspaces/{{workspace}}/events", cluster.broker.address());
    let load =
        ["--connections", "2", "--workspaces", "1", "--rate", "10", "--duration", "1s", "--warm-up", "0s"];
    let directory = Directory::new();
    let report = directory.file("report.html");
    let secret = ["--publish-url", &publish, "--path", "/workspaces/{workspace}/events?token=s3cret"];
    let arguments =
        [&["bench", "--json", "--url", &url, "--report", report.to_str().unwrap()][..], &load, &secret]
            .concat();
    let before = jiff::Timestamp::now();
    let finished = run_tidings(&arguments, &[]).await;
    let figures: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
    let started: jiff::Timestamp = figures["started"].as_str().unwrap().parse().unwrap();
    assert!(started.as_second() >= before.as_second() && started <= jiff::Timestamp::now(), "{figures}");
    assert_eq!(figures["tidings"], env!("CARGO_PKG_VERSION"));
    let machine = &figures["machine"];
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(machine["cores"].as_u64(), Some(cores as u64), "{machine}");
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert!(machine["system"].as_str().unwrap().contains(release.trim()), "{machine}");
    assert!(machine["memory_mib"].as_u64().is_some_and(|mib| mib > 0), "{machine}");
    let command = figures["command"].as_str().unwrap();
    assert!(command.starts_with("tidings bench --json --url http://127.0.0.1:"), "{command}");
    let page = std::fs::read_to_string(&report).unwrap();
    assert!(!page.contains("s3cret") && !figures.to_string().contains("s3cret"), "{figures}");
}

#[tokio::test]
async fn a_token_lets_it_in() {
    let cluster = TestCluster::start_with(Bus::Embedded, &JWT).await;
    let url = url(&cluster.broker);
    let load =
        ["--connections", "10", "--workspaces", "2", "--rate", "20", "--duration", "1s", "--warm-up", "0s"];
    let arguments = [&["bench", "--url", &url][..], &load].concat();
    let stderr = run_tidings(&arguments, &[]).await.failure(1);
    assert!(stderr.contains("401"), "{stderr}");
    let new = ["token", "new", "--workspace", "bench-*", "--publish", "bench-*"];
    let token = run_tidings(&new, &JWT).await.success();
    let mut command = tidings();
    command.args(&arguments).env("TIDINGS_TOKEN", token.trim());
    let finished = RunningCommand::start(command).finished().await;
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(!format!("{finished:?}").contains(token.trim()) && !format!("{finished:?}").contains(SECRET));
}

#[tokio::test]
async fn impossible_load_is_rejected() {
    for (arguments, code, word) in [
        ("--url http://127.0.0.1:1/api", 1, "cannot reach http://127.0.0.1:1/api"),
        ("--url nonsense", 2, "not a URL"),
        ("--url https://127.0.0.1:1/api", 2, "plain HTTP/1.1"),
        ("--duration soon", 2, "--duration"),
        ("--live", 2, "--publish redis"),
        ("--report /nowhere/at/all.html", 1, "/nowhere/at/all.html"),
    ] {
        let arguments: Vec<&str> = ["bench"].into_iter().chain(arguments.split_whitespace()).collect();
        let stderr = run_tidings(&arguments, &[]).await.failure(code);
        assert!(stderr.contains(word), "{arguments:?}: {stderr}");
    }
    let cluster = TestCluster::start(Bus::Embedded).await;
    let nowhere = url(&cluster.broker).replace("/api", "/elsewhere");
    let stderr = run_tidings(&["bench", "--url", &nowhere], &[]).await.failure(1);
    assert!(stderr.contains("404"), "{stderr}");
}

#[tokio::test]
async fn unreachable_bus_is_reported_before_any_stream_opens() {
    let cluster = TestCluster::start(Bus::Embedded).await;
    let server = RedisServer::start_with(RedisOptions {
        password: Some("secret".to_owned()),
        ..RedisOptions::default()
    })
    .await;
    let url = url(&cluster.broker);
    let wrong = server.url().replace("secret", "hidden");
    let arguments = ["bench", "--url", &url, "--publish", "redis"];
    let finished =
        tokio::time::timeout(Duration::from_secs(10), run_tidings(&arguments, &[("redis.url", &wrong)]))
            .await;
    let stderr = finished.unwrap().failure(1);
    assert!(stderr.contains("cannot reach the bus") && !stderr.contains("hidden"), "{stderr}");
}

#[tokio::test]
async fn too_few_open_files_are_reported_with_a_fix() {
    let mut command = std::process::Command::new("sh");
    let line = "ulimit -n 300 && exec \"$0\" bench --connections 1000";
    command.args(["-c", line]).arg(tidings().get_program());
    let stderr = RunningCommand::start(command).finished().await.failure(2);
    assert!(stderr.contains("1100 open files") && stderr.contains("may have 300"), "{stderr}");
    assert!(stderr.contains("`ulimit -n 1100`"), "{stderr}");
}
