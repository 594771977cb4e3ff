//! The overlays in `deploy/kubernetes`, as kubectl renders them, and nodes with their settings.

mod rules;

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{documents, rendered, repository_file, texts, variables};
use tidings::config::Sources;
use tidings::memory::MemoryBudget;

use crate::support::app::App;
use crate::support::directory::Directory;
use crate::support::redis_server::RedisOptions;
use crate::support::token::{SECRET, bearer, token};
use crate::support::{Broker, BrokerOptions, Connect, DEADLINE, RedisServer, http};

const PASSWORD: &str = "password-of-the-tests";
const WORKSPACE: &str = "demo";
const EVENTS: &str = "/api/workspaces/demo/events";
const MIB: u64 = 1024 * 1024;

const OVERLAYS: [&str; 4] = ["fleet-redis", "fleet-sentinel", "fleet-cluster", "sidecar"];

/// The folder that holds a folder for each secret.
const SECRETS: &str = "/run/secrets/tidings/";

/// The document of a kind in an overlay.
fn document(overlay: &str, kind: &str) -> Value {
    let of_kind = |document: &Value| document["kind"] == kind;
    rendered(overlay).into_iter().find(of_kind).unwrap_or_else(|| panic!("{overlay}: a {kind}"))
}

/// The deployment of an overlay, and the node's container in it.
fn deployment(overlay: &str) -> (Value, Value) {
    let deployment = document(overlay, "Deployment");
    let pod = &deployment["spec"]["template"]["spec"];
    let containers =
        ["containers", "initContainers"].into_iter().filter_map(|list| pod[list].as_array()).flatten();
    let broker = containers.into_iter().find(|container| container["name"] == "tidings").unwrap().clone();
    (deployment, broker)
}

/// The environment of the container. Secrets are files, so each variable has a value.
fn environment(container: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("a text: {value}")).to_owned();
    let variables = container["env"].as_array().unwrap().iter();
    variables.map(|entry| (text(&entry["name"]), text(&entry["value"]))).collect()
}

/// A folder with the files of all secrets that the overlays refer to.
fn secrets() -> Directory {
    let directory = Directory::new();
    for folder in ["jwt", "redis"] {
        fs::create_dir(directory.path().join(folder)).unwrap();
    }
    for (name, value) in [("jwt/secret", SECRET), ("redis/password", PASSWORD), ("redis/sentinel", PASSWORD)]
    {
        directory.write(name, value);
    }
    directory
}

/// A value of the environment, with the secrets in this folder.
fn with_secrets(value: &str, folder: &Path) -> String {
    value.replace(SECRETS, &format!("{}/", folder.display()))
}

/// The node of an overlay, in a fleet on this Redis or beside this app.
struct Manifest {
    overlay: &'static str,
    secrets: Directory,
    redis: Option<RedisServer>,
    app: App,
}

impl Manifest {
    async fn fleet() -> Self {
        let options = RedisOptions { password: Some(PASSWORD.to_owned()), ..RedisOptions::default() };
        let redis = RedisServer::start_with(options).await;
        Self { overlay: "fleet-redis", secrets: secrets(), redis: Some(redis), app: App::start().await }
    }

    async fn sidecar() -> Self {
        let app = App::start().await;
        app.sign_in("s1", "editor", &[WORKSPACE]);
        Self { overlay: "sidecar", secrets: secrets(), redis: None, app }
    }

    /// The options that the overlay sets, with secrets, addresses and the app's address of this
    /// test.
    fn options(&self) -> BrokerOptions {
        let (_, container) = deployment(self.overlay);
        assert_eq!(texts(&container["args"]), ["serve"], "what the harness runs");
        let mut options = BrokerOptions::embedded().on_all_addresses();
        for (name, value) in environment(&container).iter().filter(|(name, _)| !name.ends_with("__LISTEN")) {
            let value = match &self.redis {
                _ if name.ends_with("FORWARD__URL") => self.app.url(),
                Some(redis) if name.ends_with("REDIS__URL") => {
                    assert_eq!(value, "redis://redis:6379");
                    format!("redis://127.0.0.1:{}", redis.port())
                }
                _ => with_secrets(value, self.secrets.path()),
            };
            options = options.environment(name, &value);
        }
        options
    }

    /// The header that opens streams and publishes.
    fn credentials(&self) -> (&'static str, String) {
        match self.redis {
            Some(_) => ("Authorization", bearer(&token("u1", &["*"], 600, &Value::Null))),
            None => ("Cookie", "session=s1".to_owned()),
        }
    }

    /// Starts the broker and asks what its probes would ask.
    async fn runs_as_described(&self) {
        let path = self.overlay;
        let (_, container) = deployment(path);
        let broker = Broker::start_ready(self.options()).await;
        // Neither a node nor the application beside it needs Redis for its start.
        for (probe, expected) in
            [("startupProbe", "/live"), ("livenessProbe", "/live"), ("readinessProbe", "/ready")]
        {
            let get = &container[probe]["httpGet"];
            assert_eq!(
                (get["path"].as_str(), get["port"].as_str()),
                (Some(expected), Some("admin")),
                "{path}: {probe}"
            );
            assert_eq!(http::get(broker.admin(), expected).await.status, 200);
        }
        let (name, value) = self.credentials();
        broker.connect_with(WORKSPACE, Connect::default().header(name, &value)).await.connected().await;
        for method in ["GET", "POST"] {
            let stranger = http::request(broker.address(), method, EVENTS, &[], "x").await;
            assert_eq!(stranger.status, 401, "{path}: {method} without credentials");
        }
    }

    /// The memory limit of the broker's container, in bytes.
    fn memory_limit(&self) -> u64 {
        let (_, container) = deployment(self.overlay);
        let text = container["resources"]["limits"]["memory"].as_str().unwrap().to_owned();
        text.strip_suffix("Mi").and_then(|number| number.parse::<u64>().ok()).unwrap() * MIB
    }
}

#[tokio::test]
async fn the_deployment_runs_as_described() {
    Manifest::fleet().await.runs_as_described().await;
}

#[tokio::test]
async fn the_sidecar_runs_as_described() {
    Manifest::sidecar().await.runs_as_described().await;
}

/// The sum that the node compares with its memory at the start, and the buffers of the sockets,
/// which count for the container too. The kernel doubles a send buffer.
#[test]
fn bounds_sum_up_to_less_than_the_memory_limit() {
    let secrets = secrets();
    for overlay in OVERLAYS {
        let (_, container) = deployment(overlay);
        let set: Vec<_> = environment(&container)
            .into_iter()
            .map(|(name, value)| (name, with_secrets(&value, secrets.path())))
            .collect();
        let streams = variables::value("limits.connections", &set);
        let sockets =
            streams * 2.0 * variables::value("server.send_buffer_bytes", &set) / f64::from(1024 * 1024);
        let sources = Sources { environment: set, ..Sources::default() };
        let config = sources.load().unwrap_or_else(|error| panic!("{overlay}: {error}")).config;
        let bus = [
            config.redis.is_configured(),
            !config.redis.sentinel.nodes.is_empty(),
            !config.redis.cluster.nodes.is_empty(),
        ];
        let expected = match overlay {
            "fleet-redis" => [true, false, false],
            "fleet-sentinel" => [true, true, false],
            "fleet-cluster" => [true, false, true],
            _ => [false; 3],
        };
        assert_eq!(bus, expected, "{overlay}");
        let (configured, _) = MemoryBudget::new(&config).mebibytes();
        let limit = container["resources"]["limits"]["memory"].as_str().unwrap();
        let limit: f64 = limit.strip_suffix("Mi").unwrap().parse().unwrap();
        let sum = sockets + f64::from(u32::try_from(configured).unwrap());
        assert!(sum <= limit, "{overlay}: {sum} MiB of {limit} MiB");
    }
}

/// Rings, and logs where the broker keeps them, are offered more than the container may take.
#[tokio::test]
async fn a_broker_full_of_events_stays_below_the_memory_limit() {
    const EVENT_BYTES: u64 = 250_000;
    const EVENTS_EACH: u64 = 4;
    for manifest in [Manifest::fleet().await, Manifest::sidecar().await] {
        let limit = manifest.memory_limit();
        let broker = Broker::start_ready(manifest.options().set("ring.linger_seconds", 600)).await;
        let names: Vec<_> =
            (0..limit / (EVENT_BYTES * EVENTS_EACH) + 50).map(|n| format!("full-{n}")).collect();
        let allowed: Vec<_> = names.iter().map(String::as_str).collect();
        manifest.app.sign_in("s1", "editor", &allowed);
        let (name, value) = manifest.credentials();
        let payload = "x".repeat(usize::try_from(EVENT_BYTES).unwrap());
        let batch = format!("{payload}\n").repeat(usize::try_from(EVENTS_EACH).unwrap());
        for workspace in &names {
            // The ring outlives the stream by ring.linger_seconds.
            let options = Connect::default().header(name, &value);
            let mut client = broker.connect_with(workspace, options).await;
            if client.next_event(DEADLINE).await.kind == "tidings.reconnect" {
                // limits.ring_bytes is reached: no further workspace is taken.
                break;
            }
            drop(client);
            match &manifest.redis {
                Some(redis) => {
                    for _ in 0..EVENTS_EACH {
                        redis.publish(&format!("workspace:{workspace}"), &payload).await;
                    }
                }
                None => {
                    let target = format!("/api/workspaces/{workspace}/events?batch=1");
                    let headers = [(name, value.as_str())];
                    let posted =
                        http::request(broker.address(), "POST", &target, &headers, batch.clone()).await;
                    assert_eq!(posted.status, 200, "{:?}", posted.body);
                }
            }
        }
        let held = broker.metric("tidings_ring_bytes").await.unwrap();
        assert!(held > 40e6, "{}: {held} bytes in the rings fill nothing", manifest.overlay);
        let memory = broker.memory_bytes();
        assert!(memory < limit, "{}: {memory} of {limit} bytes", manifest.overlay);
    }
}

/// The Dockerfile's comment, the compose file and the overlays name one image.
#[test]
fn every_file_names_the_same_image() {
    let image = concat!("tidings:", env!("CARGO_PKG_VERSION"));
    for overlay in OVERLAYS {
        assert_eq!(deployment(overlay).1["image"], image, "{overlay}");
    }
    let dockerfile = repository_file("Dockerfile");
    assert!(dockerfile.contains(&format!("docker build -t {image} .")));
    assert!(dockerfile.contains(&format!("AUTH__MODE=none {image}\n")));
    for service in ["broker-1", "broker-2"] {
        assert_eq!(documents("docker-compose.yml")[0]["services"][service]["image"], image, "{service}");
    }
}

#[test]
fn ports_and_selectors_fit_together() {
    for overlay in OVERLAYS {
        let (deployment, container) = deployment(overlay);
        let spec = &deployment["spec"];
        let labels = &spec["selector"]["matchLabels"];
        assert_eq!(*labels, spec["template"]["metadata"]["labels"], "{overlay}");
        let ports = container["ports"].as_array().unwrap();
        for variable in ["TIDINGS__SERVER__LISTEN", "TIDINGS__ADMIN__LISTEN"] {
            let environment = environment(&container);
            let (_, address) = environment.iter().find(|(name, _)| name == variable).unwrap();
            let port: u64 = address.rsplit(':').next().unwrap().parse().unwrap();
            assert!(ports.iter().any(|declared| declared["containerPort"] == port), "{overlay}: {variable}");
            assert!(address.starts_with("0.0.0.0:"), "{overlay}: what asks comes from outside of the pod");
        }
        let service = document(overlay, "Service");
        assert_eq!(service["spec"]["selector"], *labels, "{overlay}");
        assert_eq!(service["spec"]["ports"][0]["targetPort"], ports[0]["name"], "{overlay}");
        let budgets: Vec<_> =
            rendered(overlay).into_iter().filter(|part| part["kind"] == "PodDisruptionBudget").collect();
        // A budget of a single pod would block each drain of its machine.
        assert_eq!(budgets.len(), usize::from(spec["replicas"] != 1), "{overlay}");
        for budget in budgets {
            assert_eq!(budget["spec"]["selector"]["matchLabels"], *labels, "{overlay}");
            assert_eq!(budget["spec"]["maxUnavailable"], 1, "{overlay}");
            // Without Redis no node is ready, and none could be evicted.
            assert_eq!(budget["spec"]["unhealthyPodEvictionPolicy"], "AlwaysAllow", "{overlay}");
        }
    }
}
