//! The `Dockerfile`.

use std::fs;
use std::path::Path;
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

/// The argument of the only instruction of a name.
fn only(name: &str) -> String {
    let found: Vec<_> = instructions().into_iter().filter(|(instruction, _)| instruction == name).collect();
    assert_eq!(found.len(), 1, "one {name}");
    found[0].1.clone()
}

/// The argument of the one FROM that contains a text.
fn only_stage(text: &str) -> String {
    let mut stages = instructions().into_iter().filter(|(name, it)| name == "FROM" && it.contains(text));
    stages.next().expect(text).1
}

/// The value of a key in a TOML file.
fn setting(file: &str, key: &str) -> String {
    let line = file.lines().find_map(|line| line.strip_prefix(&format!("{key} = ")));
    line.expect(key).trim_matches('"').to_owned()
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

/// The sources and the target of each COPY of the build stage.
fn copies() -> Vec<(Vec<String>, String)> {
    let copies = instructions().into_iter().filter(|(name, it)| name == "COPY" && !it.starts_with("--from"));
    let split = |(_, argument): (String, String)| {
        let mut paths: Vec<_> = argument.split_whitespace().map(str::to_owned).collect();
        let target = paths.pop().expect("a target");
        (paths, target)
    };
    copies.map(split).collect()
}

/// Copies files with their times, so that cargo builds only what has changed since the last run.
fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            copy(&path, &to.join(path.file_name().unwrap()));
        }
    } else {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
        let modified = fs::metadata(from).unwrap().modified().unwrap();
        fs::File::options().write(true).open(to).unwrap().set_modified(modified).unwrap();
    }
}

#[test]
fn image_uses_the_oldest_compiler_that_builds_the_program() {
    let manifest = repository_file("Cargo.toml");
    let version = setting(&manifest, "rust-version");
    assert!(only_stage("AS build").starts_with(&format!("rust:{version}-")));
}

#[test]
fn image_has_the_version_of_the_program() {
    let version = env!("CARGO_PKG_VERSION");
    let mut checked = 0;
    for path in ["Dockerfile", "docker-compose.yml", "docs/guides/kubernetes.md"] {
        for (line, tag) in
            repository_file(path).lines().filter_map(|line| Some((line, line.split_once("tidings:")?.1)))
        {
            // `kubectl set image` in the guide to upgrades names a later one, and is not in these
            // files.
            if tag.starts_with(|c: char| c.is_ascii_digit()) {
                let tag = tag.split(|c: char| c.is_whitespace()).next();
                assert_eq!(tag, Some(version), "{path}: {line}");
                checked += 1;
            }
        }
    }
    assert!(checked >= 5, "only {checked} tags were found");
}

/// The folder and the target directory remain for the next run.
#[test]
fn program_compiles_from_the_copied_files_alone() {
    let ignore = repository_file(".dockerignore");
    let ignored: Vec<_> = ignore.lines().filter(|line| !line.starts_with(['#', '!'])).collect();
    assert_eq!(ignored, ["*"], "this test copies whole folders");

    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("image");
    let _ = fs::remove_dir_all(&folder);
    for (sources, target) in copies() {
        for source in &sources {
            assert!(ignore.lines().any(|line| line == format!("!{source}")), ".dockerignore omits {source}");
            let from = repository().join(source);
            assert!(from.exists(), "the Dockerfile copies {source}, which does not exist");
            let is_folder = target.ends_with('/') && from.is_file();
            let to = folder.join(&target);
            copy(&from, &if is_folder { to.join(from.file_name().unwrap()) } else { to });
        }
    }
    let runs = instructions().into_iter().filter(|(name, _)| name == "RUN");
    let build =
        runs.map(|(_, command)| command).find(|command| command.contains("cargo build")).expect("a build");
    assert!(build.contains("--locked") && build.contains("--bin tidings"), "{build}");
    let mut check = std::process::Command::new(env!("CARGO"));
    check.args(["check", "--quiet", "--offline", "--locked", "--bin", "tidings"]).current_dir(&folder);
    check.env("CARGO_TARGET_DIR", folder.parent().unwrap().parent().unwrap()).stdin(Stdio::null());
    let output = check.output().expect("run cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn image_runs_unprivileged_and_stops_by_sigterm() {
    assert!(only("USER").split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)));
    assert_eq!(only("STOPSIGNAL"), "SIGTERM");
    let listen = environment();
    assert_eq!(listen, [(variable("server.listen"), format!("0.0.0.0:{}", only("EXPOSE")))]);
}

#[tokio::test]
async fn image_starts_only_with_an_explicit_auth_mode() {
    let mut command = exec(&only("ENTRYPOINT"));
    command.extend(exec(&only("CMD")));
    assert_eq!(command, ["tidings", "serve"], "what the harness runs");
    Broker::start_ready(BrokerOptions::embedded().on_all_addresses().set("auth.mode", "none")).await;

    // The address of the image, on a port that the system picks, should the broker start in spite
    // of all.
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
async fn health_check_distinguishes_a_live_node_from_a_dead_one() {
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
