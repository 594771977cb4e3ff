//! `docker-compose.yml`.

use std::process::Command;

use serde_json::Value;

use super::{documents, image, repository_file, seconds_to_end, texts};
use crate::support::directory::Directory;
use crate::support::ports::Port;
use crate::support::programs::{Program, run};
use crate::support::{Broker, BrokerOptions, DEADLINE, RedisServer, eventually, proxies};

fn services() -> Value {
    documents("docker-compose.yml").remove(0)["services"].take()
}

/// The services that run a broker.
fn brokers() -> Vec<(String, Value)> {
    let services = services();
    let services = services.as_object().unwrap();
    services
        .iter()
        .filter(|(_, service)| service["build"] == ".")
        .map(|(n, s)| (n.clone(), s.clone()))
        .collect()
}

/// What a service finds in its environment, the image's part included.
fn environment(service: &Value) -> Vec<(String, String)> {
    let own = service["environment"].as_object().unwrap();
    let own = own.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
    image::environment().into_iter().chain(own).collect()
}

#[tokio::test]
async fn its_brokers_start_and_share_a_redis() {
    assert_eq!(brokers().len(), 2);
    let redis = RedisServer::start().await;
    let mut running = Vec::new();
    for (name, service) in brokers() {
        let command = texts(&service["command"]);
        assert_eq!(command[0], "serve", "what the harness runs");
        let mut options = BrokerOptions::embedded().on_all_addresses();
        // The health check of the image knows no flags of the broker.
        assert_eq!(command.len(), 1, "{name}: {command:?}");
        // The listeners are the harness's to choose.
        for (variable, value) in
            environment(&service).into_iter().filter(|(name, _)| !name.ends_with("__LISTEN"))
        {
            options = options.environment(&variable, &value.replace("redis://redis:6379", &redis.url()));
        }
        assert!(seconds_to_end(&environment(&service)) < seconds(&service["stop_grace_period"]), "{name}");
        running.push(Broker::start_ready(options).await);
    }
    let mut client = running[1].connect("demo").await;
    client.connected().await;
    running[0].publish("demo", "from one to the other").await;
    assert_eq!(client.application_event().await.data, "from one to the other");
}

#[tokio::test]
async fn its_redis_starts_and_its_health_check_finds_it() {
    let redis = services()["redis"].take();
    let command = texts(&redis["command"]);
    assert_eq!(command[0], "redis-server");
    let (directory, port) = (Directory::new(), Port::claim());
    let mut server = Command::new("redis-server");
    server.args(&command[1..]).args(["--bind", "127.0.0.1", "--port", &port.number().to_string()]);
    server.current_dir(directory.path());
    let _server = Program::start("redis-server", server);

    let check = texts(&redis["healthcheck"]["test"]);
    assert_eq!(check[..2], ["CMD", "redis-cli"]);
    let arguments = check[2..].join(" ");
    eventually("the health check passes", DEADLINE, async || {
        let mut check = Command::new("redis-cli");
        check.args(["-p", &port.number().to_string()]).args(arguments.split(' '));
        check.output().unwrap().stdout == b"PONG\n"
    })
    .await;
}

#[test]
fn its_nginx_finds_its_configuration_its_brokers_and_its_port() {
    let nginx = services()["nginx"].take();
    let mounts = texts(&nginx["volumes"]);
    let file = mounts[0].split(':').next().unwrap().trim_start_matches("./");
    assert_eq!(mounts[0].split(':').nth(1), Some("/etc/nginx/nginx.conf"));
    let mut configuration = repository_file(file);
    for (number, (name, _)) in brokers().iter().enumerate() {
        let upstream = format!("server {name}:8080 resolve ");
        assert!(configuration.contains(&upstream), "{file} does not lead to {name}");
        assert_eq!(nginx["depends_on"][name]["condition"], "service_healthy");
        configuration = configuration.replace(&upstream, &format!("server 127.0.0.1:{} ", 8080 + number));
    }
    let published = &texts(&nginx["ports"])[0];
    assert!(published.starts_with("127.0.0.1:"), "published to this machine only: {published}");
    let listen = format!("listen {};", published.rsplit(':').next().unwrap());
    assert!(configuration.contains(&listen), "{file} does not {listen}");
    // `nginx -t` binds the port, too.
    let free = Port::claim();
    proxies::check_nginx(&configuration.replace(&listen, &format!("listen {};", free.address())));
}

/// The compose file names Debian's redis-cli in its first lines; so do they publish here.
#[tokio::test]
async fn the_publish_line_in_its_comment_works() {
    let text = repository_file("docker-compose.yml");
    let line =
        text.lines().find_map(|line| line.split_once("exec redis redis-cli ")).expect("a publish line").1;
    let redis = RedisServer::start().await;
    let broker = Broker::start_ready(BrokerOptions::redis(&redis)).await;
    let mut client = broker.connect("demo").await;
    client.connected().await;
    let shell = format!("redis-cli -p {} {line}", redis.port());
    assert_eq!(run(Command::new("sh").args(["-c", &shell])), "1\n");
    assert_eq!(client.application_event().await.json()["type"], "GREETING");
}

/// A time as compose files write it, in whole seconds.
fn seconds(value: &Value) -> f64 {
    value.as_str().and_then(|text| text.strip_suffix('s')?.parse().ok()).unwrap_or_else(|| panic!("{value}"))
}
