//! The guides for operators: Kubernetes, upgrades, an outage of Redis, and the path of a former
//! route.

use std::os::unix::fs::symlink;

use serde_json::Value;

use super::Document;
use super::terminal::Terminal;
use crate::deploy_files::documents;
use crate::support::directory::{repository, repository_file};
use crate::support::nginx_host::NginxHost;
use crate::support::{Broker, BrokerOptions, DEADLINE, RedisServer, eventually};

const MANIFEST: &str = "deploy/kubernetes/deployment.yaml";

fn manifest(kind: &str) -> Value {
    documents(MANIFEST).into_iter().find(|document| document["kind"] == kind).expect("a document")
}

/// The secrets that the deployment refers to, each as `name key`.
fn secrets() -> Vec<String> {
    let deployment = manifest("Deployment");
    let containers = deployment["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    let variables = containers[0]["env"].as_array().unwrap().iter();
    let of = |entry: &Value| {
        let secret = &entry["valueFrom"]["secretKeyRef"];
        let [name, key] = ["name", "key"].map(|field| secret[field].as_str().map(str::to_owned));
        Some(format!("{} {}", name?, key?))
    };
    variables.filter_map(of).collect()
}

#[test]
fn commands_for_kubernetes_name_parts_of_the_manifest() {
    let deployment = manifest("Deployment");
    let (name, container) =
        (&deployment["metadata"]["name"], &deployment["spec"]["template"]["spec"]["containers"][0]["name"]);
    let document = Document::read("docs/guides/kubernetes.md");
    let lines = document.block("Three nodes", "sh");
    for secret in secrets() {
        let (name, key) = secret.split_once(' ').unwrap();
        let line = format!("kubectl create secret generic {name} --from-literal={key}=");
        assert!(lines.contains(&line), "{line}");
    }
    assert!(!secrets().is_empty());
    let rollout = format!("kubectl rollout status deployment/{}\n", name.as_str().unwrap());
    assert!(lines.contains(&rollout), "{rollout}");

    let upgrade = Document::read("docs/guides/upgrade.md");
    let lines = upgrade.block("Several nodes", "sh");
    let image =
        format!("kubectl set image deployment/{} {}=", name.as_str().unwrap(), container.as_str().unwrap());
    assert!(lines.contains(&image) && lines.contains(&rollout), "{lines}");
    let limit = deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
        .as_str()
        .unwrap()
        .to_owned();
    let page = repository_file("docs/guides/kubernetes.md");
    assert!(page.contains(&format!("memory limit {limit} with")), "the page states another limit");
}

/// The rules are tried as regular expressions, which is how ingress-nginx applies them.
#[tokio::test]
async fn ingress_leads_streams_and_tickets_to_the_service() {
    let document = Document::read("docs/guides/kubernetes.md");
    let ingress = serde_saphyr::from_str::<Value>(document.block("The ingress", "yaml")).unwrap();
    let paths = ingress["spec"]["rules"][0]["http"]["paths"].as_array().unwrap();
    let backend = &paths[0]["backend"]["service"];
    let service = manifest("Service");
    assert_eq!(backend["name"], service["metadata"]["name"]);
    let ports = service["spec"]["ports"].as_array().unwrap();
    assert!(ports.iter().any(|port| port["name"] == backend["port"]["name"]), "{service}");

    let rule = paths[0]["path"].as_str().unwrap();
    let terminal = Terminal::new().variable("RULE", &format!("^{rule}"));
    for (path, is_ours) in [
        ("/api/workspaces/demo/events", true),
        ("/api/workspaces/demo/position", true),
        ("/api/workspaces/demo/access", true),
        ("/api/tickets", true),
        ("/api/workspaces/demo", false),
        ("/api/workspaces/demo/events/7", false),
        ("/api/ticketsystem", false),
        ("/", false),
    ] {
        let found = terminal.finish(&format!("echo '{path}' | grep -qE \"$RULE\"")).await;
        assert_eq!(found.code == Some(0), is_ours, "{path}");
    }
    document.block("Three nodes", "sh");
    document.every_block_ran(&[]);
}

#[tokio::test]
async fn new_program_is_tried_before_an_upgrade() {
    let document = Document::read("docs/guides/upgrade.md");
    let server = RedisServer::start().await;
    let terminal = Terminal::new();
    symlink(env!("CARGO_BIN_EXE_tidings"), terminal.path().join("tidings-new")).unwrap();
    terminal.write("tidings.toml", &format!("[redis]\nurl = \"{}\"\n", server.url()));
    let shown = terminal.run(document.block("Before", "sh")).await;
    assert!(shown.contains("[redis]") && shown.contains("responds\nok    server: redis"), "{shown}");
    document.block("Several nodes", "sh");
    assert_eq!(document.block("One node", "sh").trim(), "systemctl restart tidings");
    assert!(repository().join("deploy/tidings.service").is_file());
    document.every_block_ran(&[]);
}

#[tokio::test]
async fn redis_keeps_its_data_after_the_commands_of_the_page() {
    let document = Document::read("docs/guides/redis-outage.md");
    let server = RedisServer::start().await;
    let broker = Broker::start_ready(BrokerOptions::redis(&server)).await;
    let terminal = Terminal::beside(&broker).variable("PORT", &server.port().to_string());
    let lines = document.block("Keep the data", "sh");
    terminal.run(&lines.replace("redis-cli ", "redis-cli -p \"$PORT\" ")).await;
    for (key, value) in [("appendonly", "yes"), ("appendfsync", "everysec")] {
        let set = server.command::<Vec<String>>(&["CONFIG", "GET", key]).await;
        assert_eq!(set, [key, value]);
    }
    let status = terminal.run(document.block("Watch it", "sh")).await;
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["bus"]["state"], "up");
    document.every_block_ran(&[]);
}

#[tokio::test]
async fn nginx_rewrites_the_path_of_a_former_route() {
    let document = Document::read("docs/guides/migrate.md");
    let shipped = repository_file("deploy/nginx-host.conf");
    let (_, rest) = shipped.split_once("proxy_pass http://tidings;\n").unwrap();
    let (lines, _) = rest.split_once("\n    }\n").unwrap();
    let location = document.block("4. Move the path", "nginx");
    let placeholder = "# and the lines of deploy/nginx-host.conf";
    assert!(location.contains(placeholder), "{location}");
    let location = location.replace(placeholder, lines);

    let broker = Broker::start_ready(BrokerOptions::embedded().set("auth.mode", "none")).await;
    let host = NginxHost::start_with(&broker, &location).await;
    let stream = host.open("/stream/demo");
    eventually("the stream begins", DEADLINE, async || stream.log().contains("connected")).await;
    broker.publish("demo", "through the former path").await;
    eventually("the event arrives", DEADLINE, async || {
        stream.log().contains("data: through the former path")
    })
    .await;
    let app = host.request("GET", "/stream/a/b").await;
    assert!(app.ends_with("the app at /stream/a/b"), "{app}");
}
