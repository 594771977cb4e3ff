//! `tidings bench` against the servers in `benches/peers`, and the script that compares with them.

use std::process::Command;

use serde_json::Value;

use crate::support::RedisServer;
use crate::support::commands::{RunningCommand, run_tidings};
use crate::support::programs::{Program, example, installed, run};
use crate::support::wait::{DEADLINE, eventually_some};

/// Waits until a server says where it listens.
async fn address(server: &Program) -> String {
    eventually_some("the server listens", DEADLINE, async || {
        let log = server.log();
        log.lines().find_map(|line| line.strip_prefix("listening on ").map(str::to_owned))
    })
    .await
}

/// The figures of a short run with a few events under way, which passes.
async fn bench(server: &Program, redis: &RedisServer, arguments: &str) -> Value {
    let url = format!("http://{}", address(server).await);
    let pid = server.pid().to_string();
    let load = "--connections 20 --in-flight 4 --duration 500ms --warm-up 100ms --publish redis";
    let mut all = vec!["bench", "--json", "--url", &url, "--pid", &pid];
    all.extend(load.split(' ').chain(arguments.split(' ')));
    let finished = run_tidings(&all, &[("redis.url", &redis.url())]).await;
    let figures: Value =
        serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished:?}"));
    assert_eq!((finished.code, &figures["passed"]), (Some(0), &Value::Bool(true)), "{figures}");
    let receiving = &figures["receiving"];
    assert!(receiving["received"].as_u64() > Some(100), "{figures}");
    assert_eq!((&receiving["received"], &receiving["missing"]), (&receiving["expected"], &0.into()));
    figures
}

#[tokio::test]
async fn the_floor_delivers_everything() {
    let redis = RedisServer::start().await;
    let mut command = Command::new(example("floor"));
    command.arg("127.0.0.1:0").arg(redis.url().trim_start_matches("redis://"));
    let floor = Program::start("floor", command);
    let figures = bench(&floor, &redis, "--workspaces 1 --path /events").await;
    let load = &figures["load"];
    assert_eq!((&load["in_flight"], &load["rate"]), (&4.into(), &Value::Null), "{figures}");
    assert_eq!(figures["server"]["pids"], serde_json::json!([floor.pid()]), "{figures}");
    assert!(figures["latency_ms"]["p50"].as_f64() > Some(0.0), "{figures}");
}

#[tokio::test]
async fn the_naive_server_delivers_everything() {
    let redis = RedisServer::start().await;
    let mut command = Command::new("node");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/naive.js"));
    command.args(["0", &redis.url()]).env("NODE_PATH", installed("node").join("node_modules"));
    let naive = Program::start("naive", command);
    bench(&naive, &redis, "--workspaces 4").await;
}

#[tokio::test]
async fn comparing_makes_a_row_for_every_server_and_scenario() {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/compare"));
    command.args(["--tidings", env!("CARGO_BIN_EXE_tidings")]).arg("--floor").arg(example("floor"));
    command.env("NODE_PATH", installed("node").join("node_modules"));
    let load = "--servers floor,naive,tidings --scenarios flood,many --rounds 1 --scale 0.004 --seconds 0.3";
    command.args(load.split(' '));
    let printed = tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap();
    let runs = printed.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let runs: Vec<Value> = runs.filter(|run| run["passed"] == true && run["missing"] == 0).collect();
    assert_eq!(runs.len(), 5, "{printed}");
    let (figures, ratios) = printed.split_once("As a multiple of floor").expect(&printed);
    for row in ["flood | floor", "flood | naive", "flood | tidings", "many | naive", "many | tidings"] {
        assert!(figures.contains(&format!("\n| {row} | ")), "{row}: {printed}");
    }
    for row in ["flood | naive", "flood | tidings"] {
        assert!(ratios.contains(&format!("\n| {row} | ")), "{row}: {printed}");
    }
}

#[tokio::test]
async fn compare_reports_a_missing_server() {
    for (arguments, words) in [
        ("--servers floor,nothing", "there is no nothing"),
        ("--scale 2", "--scale"),
        ("--tidings /nowhere/tidings", "cargo build --release"),
    ] {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/compare"));
        command.args(arguments.split(' '));
        let finished = RunningCommand::start(command).finished().await;
        assert!(finished.code != Some(0) && finished.stderr.contains(words), "{arguments}: {finished:?}");
    }
}
