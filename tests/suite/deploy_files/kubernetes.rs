//! The manifests in `deploy/kubernetes`.

use serde_json::Value;

use super::{documents, seconds_to_end, texts};
use crate::support::{Broker, BrokerOptions, RedisServer, http};

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

/// Runs a manifest's broker and asks what its probes would ask.
async fn runs_as_described(path: &str, options: BrokerOptions) {
    let (deployment, container) = deployment(path);
    assert_eq!(texts(&container["args"]), ["serve"], "what the harness runs");
    let environment = environment(&container);
    let mut options = options.on_all_addresses();
    for (name, value) in environment.iter().filter(|(name, _)| !name.ends_with("__LISTEN")) {
        options = options.environment(name, value);
    }
    let broker = Broker::start_ready(options).await;
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
    assert!(seconds_to_end(&environment) < grace, "{path}: streams would be cut instead of ended");
    assert!(container["lifecycle"].is_null(), "the broker's own delay does for a preStop hook");
}

#[tokio::test]
async fn the_deployment_runs_as_described() {
    let redis = RedisServer::start().await;
    runs_as_described("deploy/kubernetes/deployment.yaml", BrokerOptions::redis(&redis)).await;
}

#[tokio::test]
async fn the_sidecar_runs_as_described() {
    runs_as_described("deploy/kubernetes/sidecar.yaml", BrokerOptions::embedded()).await;
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
    let service =
        documents("deploy/kubernetes/deployment.yaml").into_iter().find(|part| part["kind"] == "Service");
    let (deployment, container) = deployment("deploy/kubernetes/deployment.yaml");
    let service = service.unwrap();
    assert_eq!(service["spec"]["selector"], deployment["spec"]["selector"]["matchLabels"]);
    assert_eq!(service["spec"]["ports"][0]["targetPort"], container["ports"][0]["name"]);
}
