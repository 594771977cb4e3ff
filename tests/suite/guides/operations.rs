//! The guides for operators: Kubernetes, upgrades, an outage of Redis, and the path of a former
//! route.

use std::os::unix::fs::symlink;

use serde_json::Value;

use super::Document;
use super::terminal::Terminal;
use crate::deploy_files::{kustomize, rendered};
use crate::support::directory::{Directory, repository, repository_file};
use crate::support::nginx_host::NginxHost;
use crate::support::{Broker, BrokerOptions, DEADLINE, RedisServer, eventually};

/// The overlay that the guide starts with.
const OVERLAY: &str = "fleet-redis";

fn manifest(kind: &str) -> Value {
    rendered(OVERLAY).into_iter().find(|document| document["kind"] == kind).expect("a document")
}

/// The secrets that the deployment mounts, each as `name key`. A key is the name of a file that a
/// setting names.
fn secrets() -> Vec<String> {
    let pod = &manifest("Deployment")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let list = |value: &Value| value.as_array().unwrap().clone();
    let mut secrets = Vec::new();
    for volume in list(&pod["volumes"]) {
        let mounts = list(&container["volumeMounts"]);
        let mount = mounts.iter().find(|mount| mount["name"] == volume["name"]).unwrap();
        let folder = format!("{}/", mount["mountPath"].as_str().unwrap());
        for variable in list(&container["env"]) {
            let key = variable["value"].as_str().and_then(|value| value.strip_prefix(&folder));
            let name = volume["secret"]["secretName"].as_str().unwrap();
            secrets.extend(key.map(|key| format!("{name} {key}")));
        }
    }
    secrets
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
    assert_eq!(secrets().len(), 2);
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
    document.block("An overlay of your own", "yaml");
    document.block("The network", "yaml");
    document.every_block_ran(&[]);
}

/// The overlay of the guide refers to those of the repository.
#[test]
fn overlay_of_the_guide_makes_three_nodes_of_its_image() {
    let document = Document::read("docs/guides/kubernetes.md");
    let text = document.block("An overlay of your own", "yaml");
    let directory = Directory::new();
    let deploy = directory.path().join("tidings/deploy");
    std::fs::create_dir_all(&deploy).unwrap();
    let copy = std::process::Command::new("cp")
        .arg("-r")
        .args([repository().join("deploy/kubernetes"), deploy.join("kubernetes")])
        .status();
    assert!(copy.unwrap().success());
    let own = directory.path().join("production");
    std::fs::create_dir(&own).unwrap();
    // With the lines for IPv6 further down on the page.
    let text = format!("{text}{}", document.block("The network", "yaml"));
    std::fs::write(own.join("kustomization.yaml"), text).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&kustomize(&own)).unwrap();
    let of = |kind: &str| documents.iter().find(|document| document["kind"] == kind).unwrap();
    let deployment = &of("Deployment")["spec"];
    assert_eq!(deployment["replicas"], 3);
    let container = &deployment["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "registry.example.com/tidings:0.1.0");
    let variables = container["env"].as_array().unwrap();
    let proxies = variables.iter().find(|entry| entry["name"] == "TIDINGS__SERVER__TRUSTED_PROXIES");
    assert_eq!(proxies.unwrap()["value"], "10.244.0.0/16");
    for (name, address) in [("SERVER", "[::]:8080"), ("ADMIN", "[::]:8081")] {
        let name = format!("TIDINGS__{name}__LISTEN");
        let values: Vec<_> = variables.iter().filter(|entry| entry["name"] == *name).collect();
        assert!(values.len() == 1 && values[0]["value"] == address, "{values:?}");
    }
    assert_eq!(of("Service")["spec"]["ipFamilyPolicy"], "PreferDualStack");
    assert_eq!(of("Ingress")["spec"]["rules"][0]["host"], "app.your-domain.org");
    assert_eq!(of("Ingress")["spec"]["tls"][0]["hosts"][0], "app.your-domain.org");
}

/// The rules are tried as regular expressions, which is how ingress-nginx applies them.
#[tokio::test]
async fn ingress_leads_streams_and_tickets_to_the_service() {
    let ingress = manifest("Ingress");
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
