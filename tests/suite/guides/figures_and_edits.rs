//! Sums that guides state are those of the program, and their edits fit the files in `deploy/`.

use super::Document;
use super::terminal::Terminal;
use crate::support::directory::repository_file;
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
async fn edit_for_nginx_renames_host_and_certificate() {
    let document = Document::read("docs/guides/behind-a-proxy.md");
    let lines = document.blocks("nginx with TLS and the cookies of your app", "sh")[0];
    let terminal = Terminal::new();
    terminal.write("tidings.conf", &repository_file("deploy/nginx-host.conf"));
    let edit = lines.lines().find(|line| line.starts_with("sed ")).unwrap();
    terminal.run(&edit.replace("/etc/nginx/conf.d/", "")).await;
    let edited = std::fs::read_to_string(terminal.path().join("tidings.conf")).unwrap();
    assert!(!edited.contains("app.example.com"), "{edited}");
    for named in ["server_name app.your-domain.org;", "/etc/ssl/private/app.your-domain.org.key;"] {
        assert!(edited.contains(named), "{named} in {edited}");
    }
}
