//! The rules, the alerts and the dashboard of `deploy/monitoring`, against the metrics of a node.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use super::documents;
use crate::guides::Document;
use crate::support::broker::BrokerOptions;
use crate::support::directory::{Directory, repository, repository_file};
use crate::support::{Broker, DEADLINE, RedisServer, eventually, http};

/// The families that a node shows, with the metrics of its process, each as a list of its samples.
async fn samples() -> BTreeSet<String> {
    let broker = Broker::start_ready(BrokerOptions::embedded()).await;
    let metrics = broker.metrics().await;
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

/// The names in an expression of Prometheus that are metrics or recordings.
fn named(expression: &str) -> BTreeSet<String> {
    let is_name = |sign: char| sign.is_ascii_alphanumeric() || sign == '_' || sign == ':';
    let words = expression.split(|sign| !is_name(sign));
    let of_ours = |word: &&str| {
        word.starts_with("tidings_") || word.starts_with("tidings:") || word.starts_with("process_")
    };
    words.filter(of_ours).map(str::to_owned).collect()
}

/// The groups of the rules, flattened.
fn rules() -> Vec<Value> {
    let document = documents("deploy/monitoring/rules.yaml").remove(0);
    let groups = document["groups"].as_array().unwrap().clone();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

#[tokio::test]
async fn monitoring_names_metrics_that_a_node_has() {
    let mut known = samples().await;
    let recordings = rules().into_iter().filter_map(|rule| Some(rule["record"].as_str()?.to_owned()));
    known.extend(recordings);
    let dashboard: Value =
        serde_json::from_str(&repository_file("deploy/monitoring/grafana-dashboard.json")).unwrap();
    let mut expressions: Vec<String> =
        rules().iter().map(|rule| rule["expr"].as_str().unwrap().to_owned()).collect();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            expressions.push(target["expr"].as_str().unwrap().to_owned());
        }
    }
    assert!(expressions.len() > 50, "{}", expressions.len());
    for expression in &expressions {
        let names = named(expression);
        assert!(!names.is_empty() || expression.contains("up{"), "{expression}");
        for name in names {
            assert!(known.contains(&name), "no node has {name}: {expression}");
        }
    }
    let cases = repository_file("deploy/monitoring/rules-test.yaml");
    for name in named(&cases) {
        assert!(known.contains(&name), "no node has {name}: rules-test.yaml");
    }
}

#[test]
fn each_alert_fires_and_stays_quiet_in_a_case() {
    let alerts: Vec<String> =
        rules().iter().filter_map(|rule| Some(rule["alert"].as_str()?.to_owned())).collect();
    assert!(alerts.len() > 12, "{alerts:?}");
    let cases = documents("deploy/monitoring/rules-test.yaml").remove(0);
    for alert in &alerts {
        for (name, fires) in [("fires", true), ("does not fire", false)] {
            let name = format!("{alert} {name}");
            let case = cases["tests"].as_array().unwrap().iter().find(|case| case["name"] == *name);
            let test = &case.unwrap_or_else(|| panic!("no case `{name}`"))["alert_rule_test"][0];
            assert_eq!(test["alertname"], **alert, "{name}");
            assert_eq!(!test["exp_alerts"].as_array().unwrap().is_empty(), fires, "{name}");
        }
    }
    let directory = repository().join("deploy/monitoring");
    let run =
        Command::new("promtool").args(["test", "rules", "rules-test.yaml"]).current_dir(directory).output();
    let run = run.expect("promtool runs: scripts/test installs it");
    let output = [run.stdout, run.stderr].concat();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&output));
}

#[test]
fn each_alert_has_a_section_of_the_runbook() {
    let page = repository_file("docs/guides/alerts.md");
    let mut alerts = BTreeSet::new();
    for rule in rules() {
        let Some(alert) = rule["alert"].as_str() else { continue };
        assert!(page.contains(&format!("\n## {alert}\n")), "{alert}");
        let address = format!("https://example.com/tidings/docs/guides/alerts.md#{}", alert.to_lowercase());
        assert_eq!(rule["annotations"]["runbook_url"], address, "{alert}");
        assert!(rule["labels"]["severity"].is_string(), "{alert}");
        alerts.insert(alert.to_owned());
    }
    let sections = page.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_owned);
    assert_eq!(alerts, sections.collect(), "sections of alerts that do not exist");
    // The page shows a configuration of Prometheus.
    let document = Document::read("docs/guides/alerts.md");
    let scrape: Value = serde_saphyr::from_str(document.blocks("Alerts and dashboard", "yaml")[0]).unwrap();
    assert_eq!(scrape["scrape_configs"][0]["job_name"], "tidings");
    assert_eq!(scrape["scrape_configs"][0]["scrape_interval"], "15s");
}

/// Prometheus accepts the configurations of the page. Each gives the targets the name of the job,
/// which some expressions need.
#[test]
fn prometheus_accepts_the_configurations_of_the_guide() {
    let document = Document::read("docs/guides/alerts.md");
    let directory = Directory::new();
    directory.write("rules.yaml", repository_file("deploy/monitoring/rules.yaml"));
    let blocks = document.blocks("Alerts and dashboard", "yaml");
    for (name, block) in [("static", blocks[0]), ("kubernetes", blocks[1])] {
        // Some builds of Prometheus lack the discovery of Kubernetes.
        let found = "static_configs:\n      - targets: [\"node-1:8081\"]";
        let block = block.replace("kubernetes_sd_configs:\n      - role: pod", found);
        let file = directory.write(&format!("{name}.yaml"), block);
        let run = Command::new("promtool").args(["check", "config"]).arg(file).output();
        let run = run.expect("promtool runs: scripts/test installs it");
        let output = [run.stdout, run.stderr].concat();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&output));
    }
    let kubernetes: Value = serde_saphyr::from_str(blocks[1]).unwrap();
    let job = &kubernetes["scrape_configs"][0];
    let relabelled = job["relabel_configs"].as_array().unwrap();
    assert_eq!(job["kubernetes_sd_configs"][0]["role"], "pod");
    let job_is_set =
        relabelled.iter().any(|rule| rule["target_label"] == "job" && rule["replacement"] == "tidings");
    assert!(job["job_name"] == "tidings" && job_is_set, "{job}");
}

/// One cause pages once: each alert that the page inhibits exists.
#[test]
fn inhibit_rules_of_the_guide_name_alerts() {
    let document = Document::read("docs/guides/alerts.md");
    let inhibit: Value = serde_saphyr::from_str(document.blocks("Alerts and dashboard", "yaml")[2]).unwrap();
    let alerts: BTreeSet<String> =
        rules().iter().filter_map(|rule| Some(rule["alert"].as_str()?.to_owned())).collect();
    for rule in inhibit["inhibit_rules"].as_array().unwrap() {
        for side in ["source_matchers", "target_matchers"] {
            let matcher = rule[side][0].as_str().unwrap();
            let (_, names) = matcher.split_once('"').unwrap();
            for name in names.trim_end_matches('"').split('|') {
                assert!(alerts.contains(name), "{name}: {matcher}");
            }
        }
    }
}

/// With a scrape interval of a minute, a rate over a minute has no value.
#[test]
fn ranges_are_longer_than_a_scrape_interval() {
    for file in ["rules.yaml", "grafana-dashboard.json"] {
        let text = repository_file(&format!("deploy/monitoring/{file}"));
        assert!(!text.contains("[1m]"), "{file}");
    }
}

/// Each metric of a node, and the ones of its process that show a fault, are in the dashboard.
#[tokio::test]
async fn dashboard_shows_each_metric() {
    let dashboard = repository_file("deploy/monitoring/grafana-dashboard.json");
    let rules = repository_file("deploy/monitoring/rules.yaml");
    // Limits that no panel compares with, and counts that a panel has in another form.
    let left_out = [
        "tidings_bus_links_total",
        "tidings_connections_handed_off",
        "tidings_ring_max_bytes",
        "tidings_socket_writes_total",
    ];
    for sample in samples().await {
        let name = ["_bucket", "_sum", "_count"].iter().find_map(|end| sample.strip_suffix(end));
        let name = name.unwrap_or(&sample);
        let is_shown = dashboard.contains(name) || rules.contains(name) || left_out.contains(&name);
        assert!(is_shown || !name.starts_with("tidings_"), "{name}");
    }
}

/// `promtool check metrics` reads the older text format, and prints each breach of the conventions.
#[tokio::test]
async fn promtool_finds_nothing_in_the_metrics() {
    let broker = Broker::start_ready(BrokerOptions::embedded()).await;
    let response = http::get(broker.admin(), "/metrics").await;
    assert_eq!(response.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("promtool runs: scripts/test installs it");
    let mut stdin = check.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, response.text().as_bytes()).unwrap();
    drop(stdin);
    let run = check.wait_with_output().unwrap();
    let output = [run.stdout, run.stderr].concat();
    assert!(run.status.success() && output.is_empty(), "{}", String::from_utf8_lossy(&output));
    for metric in ["process_open_fds", "process_resident_memory_bytes", "process_start_time_seconds"] {
        assert!(broker.metric(metric).await.unwrap() > 0.0, "{metric}");
    }
}

#[tokio::test]
async fn metrics_show_that_redis_is_away() {
    let mut redis = RedisServer::start().await;
    let broker = Broker::start_ready(BrokerOptions::redis(&redis)).await;
    let metric = async |name: &str| broker.metric(name).await.unwrap();
    for name in ["tidings_ready", "tidings_bus_up", "tidings_bus_links_total"] {
        eventually(name, DEADLINE, async || metric(name).await == 1.0).await;
    }
    assert_eq!(metric("tidings_bus_interruptions_total").await, 0.0);
    let since = metric("tidings_bus_since_timestamp_seconds").await;
    redis.stop();
    for name in ["tidings_ready", "tidings_bus_up"] {
        eventually(name, DEADLINE, async || metric(name).await == 0.0).await;
    }
    assert_eq!(metric("tidings_bus_interruptions_total").await, 1.0);
    assert!(metric("tidings_bus_since_timestamp_seconds").await >= since);
}
