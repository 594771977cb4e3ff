//! The manifests in `deploy/kubernetes`.

use serde_json::Value;

use super::{documents, repository_file, seconds_to_end, texts, variables};
use tidings::config::Sources;
use tidings::memory::MemoryBudget;

use crate::support::app::App;
use crate::support::token::{SECRET, bearer, token};
use crate::support::{Broker, BrokerOptions, Connect, DEADLINE, RedisServer, http};

const WORKSPACE: &str = "demo";
const EVENTS: &str = "/api/workspaces/demo/events";
const MIB: u64 = 1024 * 1024;

/// The deployment of a manifest, and the broker's container in it.
fn deployment(path: &str) -> (Value, Value) {
    let deployment = documents(path).into_iter().find(|document| document["kind"] == "Deployment").unwrap();
    let pod = &deployment["spec"]["template"]["spec"];
    let containers =
        ["containers", "initContainers"].into_iter().filter_map(|list| pod[list].as_array()).flatten();
    let broker = containers.into_iter().find(|container| container["name"] == "tidings").unwrap().clone();
    (deployment, broker)
}

/// What the container finds in its environment; what it takes from a secret is left out.
fn environment(container: &Value) -> Vec<(String, String)> {
    let variables = container["env"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    variables
        .filter(|entry| entry["valueFrom"].is_null())
        .map(|e| (text(&e["name"]), text(&e["value"])))
        .collect()
}

/// A manifest's broker, in a fleet on this Redis or beside this app.
struct Manifest {
    path: &'static str,
    redis: Option<RedisServer>,
    app: App,
}

impl Manifest {
    async fn fleet() -> Self {
        let redis = Some(RedisServer::start().await);
        Self { path: "deploy/kubernetes/deployment.yaml", redis, app: App::start().await }
    }

    async fn sidecar() -> Self {
        let app = App::start().await;
        app.sign_in("s1", "editor", &[WORKSPACE]);
        Self { path: "deploy/kubernetes/sidecar.yaml", redis: None, app }
    }

    /// The options that the manifest sets, with secrets, addresses and the app's address of this
    /// test.
    fn options(&self) -> BrokerOptions {
        let options = self.redis.as_ref().map_or_else(BrokerOptions::embedded, BrokerOptions::redis);
        let (_, container) = deployment(self.path);
        assert_eq!(texts(&container["args"]), ["serve"], "what the harness runs");
        let mut options = options.on_all_addresses();
        for (name, value) in environment(&container).iter().filter(|(name, _)| !name.ends_with("__LISTEN")) {
            let value = if name.ends_with("FORWARD__URL") { &self.app.url() } else { value };
            options = options.environment(name, value);
        }
        for entry in container["env"].as_array().unwrap() {
            if entry["name"] == "TIDINGS__AUTH__JWT__SECRET" {
                assert!(entry["valueFrom"]["secretKeyRef"].is_object(), "a secret comes from a Secret");
                options = options.environment("TIDINGS__AUTH__JWT__SECRET", SECRET);
            }
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
        let path = self.path;
        let (deployment, container) = deployment(path);
        let broker = Broker::start_ready(self.options()).await;
        for (probe, expected) in
            [("startupProbe", "/ready"), ("livenessProbe", "/live"), ("readinessProbe", "/ready")]
        {
            let Some(get) = container[probe]["httpGet"].as_object() else { continue };
            assert_eq!(
                (get["path"].as_str(), get["port"].as_str()),
                (Some(expected), Some("admin")),
                "{path}: {probe}"
            );
            assert_eq!(http::get(broker.admin(), expected).await.status, 200);
        }
        assert!(container["livenessProbe"].is_object() && container["readinessProbe"].is_object());

        let pod = &deployment["spec"]["template"]["spec"];
        let grace = pod["terminationGracePeriodSeconds"].as_f64().unwrap();
        let seconds = seconds_to_end(&environment(&container));
        assert!(seconds < grace, "{path}: streams would be cut instead of ended");
        assert!(container["lifecycle"].is_null(), "the broker's own delay does for a preStop hook");

        let (name, value) = self.credentials();
        broker.connect_with(WORKSPACE, Connect::default().header(name, &value)).await.connected().await;
        for method in ["GET", "POST"] {
            let stranger = http::request(broker.address(), method, EVENTS, &[], "x").await;
            assert_eq!(stranger.status, 401, "{path}: {method} without credentials");
        }
    }

    /// The memory limit of the broker's container, in bytes.
    fn memory_limit(&self) -> u64 {
        let (_, container) = deployment(self.path);
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

/// The sum that the broker compares with its memory at the start, and the buffers of the sockets,
/// which count for the container too. The kernel doubles a send buffer.
#[test]
fn bounds_sum_up_to_less_than_the_memory_limit() {
    for path in ["deploy/kubernetes/deployment.yaml", "deploy/kubernetes/sidecar.yaml"] {
        let (_, container) = deployment(path);
        let set = environment(&container);
        let streams = variables::value("limits.connections", &set);
        let sockets =
            streams * 2.0 * variables::value("server.send_buffer_bytes", &set) / f64::from(1024 * 1024);
        let secrets = [("TIDINGS__REDIS__URL", "redis://redis"), ("TIDINGS__AUTH__JWT__SECRET", SECRET)];
        let from_secret = |name: &str| {
            container["env"]
                .as_array()
                .unwrap()
                .iter()
                .any(|e| e["name"] == name && !e["valueFrom"].is_null())
        };
        let secrets = secrets.into_iter().filter(|(name, _)| from_secret(name));
        let secrets = secrets.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let sources = Sources { environment: set.into_iter().chain(secrets).collect(), ..Sources::default() };
        let config = sources.load().unwrap_or_else(|error| panic!("{path}: {error}")).config;
        let (configured, _) = MemoryBudget::new(&config).mebibytes();
        let limit = container["resources"]["limits"]["memory"].as_str().unwrap();
        let limit: f64 = limit.strip_suffix("Mi").unwrap().parse().unwrap();
        let sum = sockets + f64::from(u32::try_from(configured).unwrap());
        assert!(sum <= limit, "{path}: {sum} MiB of {limit} MiB");
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
        assert!(held > 40e6, "{}: {held} bytes in the rings fill nothing", manifest.path);
        let memory = broker.memory_bytes();
        assert!(memory < limit, "{}: {memory} of {limit} bytes", manifest.path);
    }
}

/// The Dockerfile's comment, the compose file and the manifests name one image.
#[test]
fn every_file_names_the_same_image() {
    let image = concat!("tidings:", env!("CARGO_PKG_VERSION"));
    for path in ["deploy/kubernetes/deployment.yaml", "deploy/kubernetes/sidecar.yaml"] {
        assert_eq!(deployment(path).1["image"], image, "{path}");
    }
    assert!(repository_file("deploy/kubernetes/deployment.yaml").contains(&format!("-t {image} .")));
    let dockerfile = repository_file("Dockerfile");
    assert!(dockerfile.contains(&format!("docker build -t {image} .")));
    assert!(dockerfile.contains(&format!("AUTH__MODE=none {image}\n")));
    for service in ["broker-1", "broker-2"] {
        assert_eq!(documents("docker-compose.yml")[0]["services"][service]["image"], image, "{service}");
    }
}

#[test]
fn ports_and_selectors_fit_together() {
    for path in ["deploy/kubernetes/deployment.yaml", "deploy/kubernetes/sidecar.yaml"] {
        let (deployment, container) = deployment(path);
        let spec = &deployment["spec"];
        assert_eq!(spec["selector"]["matchLabels"], spec["template"]["metadata"]["labels"], "{path}");
        let ports: Vec<_> =
            container["ports"].as_array().unwrap().iter().map(|port| &port["containerPort"]).collect();
        for variable in ["TIDINGS__SERVER__LISTEN", "TIDINGS__ADMIN__LISTEN"] {
            let environment = environment(&container);
            let (_, address) = environment.iter().find(|(name, _)| name == variable).unwrap();
            let port: u64 = address.rsplit(':').next().unwrap().parse().unwrap();
            assert!(ports.iter().any(|&declared| *declared == port), "{path}: {variable}");
            assert!(address.starts_with("0.0.0.0:"), "{path}: what asks comes from outside of the pod");
        }
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{path}");
    }
    for path in ["deploy/kubernetes/deployment.yaml", "deploy/kubernetes/sidecar.yaml"] {
        let service = documents(path).into_iter().find(|part| part["kind"] == "Service").unwrap();
        let (deployment, container) = deployment(path);
        assert_eq!(service["spec"]["selector"], deployment["spec"]["selector"]["matchLabels"], "{path}");
        assert_eq!(service["spec"]["ports"][0]["targetPort"], container["ports"][0]["name"], "{path}");
    }
}
