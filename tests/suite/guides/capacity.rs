//! `docs/guides/capacity.md` and `docs/guides/kubernetes.md`: their figures and edits are those of the program and its files.

use super::Document;
use super::terminal::Terminal;
use crate::support::directory::repository;
use crate::support::{Broker, BrokerOptions, RedisServer};

#[tokio::test]
async fn settings_for_two_gigabytes_come_to_the_stated_sum() {
    let document = Document::read("docs/guides/capacity.md");
    let server = RedisServer::start().await;
    let broker = Broker::start(BrokerOptions::embedded()).await;
    let terminal = Terminal::beside(&broker).with_redis(&server);
    terminal.write("tidings.toml", document.block("A machine with 2 GB", "toml"));
    // The exit code also depends on the limits of the machine that runs the test.
    let told = terminal.finish("tidings check --config tidings.toml").await.stdout;
    let sum = document.block("A machine with 2 GB", "text").trim();
    assert!(told.contains(sum), "{told}");
    let mebibytes: u64 = sum.split(' ').rev().nth(1).unwrap().parse().unwrap();
    assert!(mebibytes << 20 < 2_000_000_000, "{sum}");
}

#[tokio::test]
async fn edit_for_kubernetes_makes_three_nodes() {
    let document = Document::read("docs/guides/kubernetes.md");
    let lines = document.block("Three nodes", "sh");
    let (_, edit) = lines.split_once("\nsed ").unwrap();
    let (edit, _) = edit.split_once(" | kubectl").unwrap();
    let path = repository().join("deploy/kubernetes/deployment.yaml").display().to_string();
    let edit = format!("sed {}", edit.replace("deploy/kubernetes/deployment.yaml", &path));
    let manifest = Terminal::new().run(&edit).await;
    assert!(manifest.contains("replicas: 3\n"), "{manifest}");
    assert!(manifest.contains("image: registry.example.com/tidings:0.1.0\n"), "{manifest}");
}
