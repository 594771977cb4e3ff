//! The `Dockerfile`.

use std::process::Stdio;

use super::repository_file;
use crate::support::broker::{tidings, variable};
use crate::support::directory::repository;
use crate::support::{Broker, BrokerOptions};

/// The instructions of the `Dockerfile`, each with its argument, in order.
fn instructions() -> Vec<(String, String)> {
    let text = repository_file("Dockerfile").replace("\\\n", " ");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let split = |line: &str| {
        let (name, argument) = line.split_once(' ').unwrap_or_else(|| panic!("an instruction: {line:?}"));
        (name.to_owned(), argument.trim().to_owned())
    };
    lines.map(split).collect()
}

/// The argument of an instruction that stands there once.
fn only(name: &str) -> String {
    let found: Vec<_> = instructions().into_iter().filter(|(instruction, _)| instruction == name).collect();
    assert_eq!(found.len(), 1, "one {name}");
    found[0].1.clone()
}

/// A command in the exec form, a JSON list.
fn exec(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The command of the health check.
fn health_check() -> Vec<String> {
    let argument = only("HEALTHCHECK");
    exec(argument.split_once("CMD ").expect("a command").1)
}

/// What the image sets in the environment.
pub(super) fn environment() -> Vec<(String, String)> {
    let pair = |(_, argument): (String, String)| {
        let (name, value) = argument.split_once('=').expect("NAME=value");
        (name.to_owned(), value.to_owned())
    };
    instructions().into_iter().filter(|(name, _)| name == "ENV").map(pair).collect()
}

#[test]
fn it_is_built_from_what_is_there_with_the_toolchain_that_is_asked_for() {
    let manifest = repository_file("Cargo.toml");
    let toolchain =
        manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    let stages: Vec<_> = instructions().into_iter().filter(|(name, _)| name == "FROM").collect();
    assert!(stages[0].1.starts_with(&format!("rust:{toolchain}-")), "{stages:?}");

    let ignore = repository_file(".dockerignore");
    for (_, argument) in
        instructions().iter().filter(|(name, arg)| name == "COPY" && !arg.starts_with("--from"))
    {
        let mut paths: Vec<_> = argument.split(' ').collect();
        paths.pop();
        for path in paths {
            assert!(repository().join(path).exists(), "{path} is not there");
            assert!(
                ignore.lines().any(|line| line == format!("!{path}")),
                "{path} is left out by .dockerignore"
            );
        }
    }
    let build =
        instructions().into_iter().find(|(name, argument)| name == "RUN" && argument.contains("cargo build"));
    let build = build.expect("a build").1;
    assert!(build.contains("--locked") && build.contains("--bin tidings"), "{build}");
}

#[test]
fn it_runs_as_nobody_in_particular_and_is_ended_as_the_broker_expects() {
    assert!(only("USER").split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)));
    assert_eq!(only("STOPSIGNAL"), "SIGTERM");
    let listen = environment();
    assert_eq!(listen, [(variable("server.listen"), format!("0.0.0.0:{}", only("EXPOSE")))]);
}

#[tokio::test]
async fn its_command_starts_a_broker_only_where_auth_mode_is_written_out() {
    let mut command = exec(&only("ENTRYPOINT"));
    command.extend(exec(&only("CMD")));
    assert_eq!(command, ["tidings", "serve"], "what the harness runs");
    Broker::start_ready(BrokerOptions::embedded().on_all_addresses().set("auth.mode", "none")).await;

    // The address of the image, on a port that the system picks, should the broker start in spite of all.
    let mut refused = tidings();
    refused.args(&command[1..]).stdin(Stdio::null());
    refused.envs(environment().into_iter().map(|(name, value)| (name, value.replace(":8080", ":0"))));
    refused.env(variable("admin.listen"), "127.0.0.1:0").env(variable("embedded.listen"), "127.0.0.1:0");
    let output = tokio::process::Command::from(refused).kill_on_drop(true).output();
    let output =
        tokio::time::timeout(crate::support::DEADLINE, output).await.expect("it ends by itself").unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("auth.mode"), "{}: {told}", output.status);
}

#[tokio::test]
async fn its_health_check_tells_a_live_broker_from_a_dead_one() {
    let command = health_check();
    assert_eq!(command[0], "tidings");
    let mut broker = Broker::start(BrokerOptions::embedded()).await;
    let check = async |broker: &Broker| {
        let mut check = tidings();
        check
            .args(&command[1..])
            .env(variable("admin.listen"), broker.admin().to_string())
            .stdin(Stdio::null());
        let output = tokio::process::Command::from(check).kill_on_drop(true).output();
        tokio::time::timeout(crate::support::DEADLINE, output).await.expect("it ends by itself").unwrap()
    };
    let alive = check(&broker).await;
    assert!(alive.status.success(), "{alive:?}");
    broker.kill();
    let dead = check(&broker).await;
    assert!(dead.status.code().is_some_and(|code| code != 0), "{dead:?}");
}
