//! Rules for the overlays: peers, rights, secrets and updates.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{OVERLAYS, SECRETS, deployment, document, environment};
use crate::deploy_files::{repository_file, seconds_to_end, texts};
use crate::support::directory::repository;

/// The public port is for the ingress, the admin port for Prometheus, and the other side of the
/// node is its bus and names.
#[test]
fn network_policy_names_all_peers_of_a_node() {
    for overlay in OVERLAYS {
        let (policy, (deployment, container)) = (document(overlay, "NetworkPolicy"), deployment(overlay));
        let spec = &policy["spec"];
        assert_eq!(spec["podSelector"]["matchLabels"], deployment["spec"]["selector"]["matchLabels"]);
        let allowed = |namespace: &str| -> Vec<Value> {
            let rules = spec["ingress"].as_array().unwrap().iter();
            let from = |rule: &&Value| {
                let labels = &rule["from"][0]["namespaceSelector"]["matchLabels"];
                labels["kubernetes.io/metadata.name"] == namespace
            };
            let ports = rules.filter(from).filter_map(|rule| rule["ports"].as_array());
            ports.flatten().map(|port| port["port"].clone()).collect()
        };
        let names: Vec<_> =
            container["ports"].as_array().unwrap().iter().map(|port| port["name"].clone()).collect();
        let [public, admin] = &names[..] else { panic!("{overlay}: {names:?}") };
        assert!(allowed("ingress-nginx").contains(public) && !allowed("ingress-nginx").contains(admin));
        assert_eq!(allowed("monitoring"), std::slice::from_ref(admin), "{overlay}");

        let Some(egress) = spec["egress"].as_array() else {
            assert_eq!((overlay, texts(&spec["policyTypes"])), ("sidecar", vec!["Ingress".to_owned()]));
            continue;
        };
        assert_eq!(texts(&spec["policyTypes"]), ["Ingress", "Egress"], "{overlay}");
        let ports: Vec<_> = egress
            .iter()
            .filter_map(|rule| rule["ports"].as_array())
            .flatten()
            .map(|port| port["port"].as_u64().unwrap())
            .collect();
        let environment = environment(&container);
        let redis = environment.iter().filter(|(name, _)| name.starts_with("TIDINGS__REDIS__"));
        let mut needed: Vec<u64> = redis
            .flat_map(|(_, value)| value.split(',').filter(|part| part.starts_with("redis://")))
            .map(|url| url.rsplit(':').next().unwrap().parse().unwrap())
            .collect();
        needed.push(53);
        needed.sort_unstable();
        needed.dedup();
        let mut opened = ports;
        opened.sort_unstable();
        opened.dedup();
        assert_eq!(opened, needed, "{overlay}");
    }
}

/// The rules of Kubernetes' Pod Security Standards, level "restricted", for the node's container.
#[test]
fn node_is_restricted_and_holds_no_secret_in_its_manifest() {
    for overlay in OVERLAYS {
        let (deployment, container) = deployment(overlay);
        let pod = &deployment["spec"]["template"]["spec"];
        let own = &container["securityContext"];
        let of_both = |key: &str| if own[key].is_null() { &pod["securityContext"][key] } else { &own[key] };
        assert_eq!(*of_both("runAsNonRoot"), true, "{overlay}");
        assert_eq!(of_both("seccompProfile")["type"], "RuntimeDefault", "{overlay}");
        assert_eq!(own["allowPrivilegeEscalation"], false, "{overlay}");
        assert_eq!(own["readOnlyRootFilesystem"], true, "{overlay}");
        assert_eq!(texts(&own["capabilities"]["drop"]), ["ALL"], "{overlay}");
        assert!(own["capabilities"]["add"].is_null(), "{overlay}");
        assert_eq!(pod["automountServiceAccountToken"], false, "{overlay}");
        let user = format!("USER {0}:{1}\n", of_both("runAsUser"), of_both("runAsGroup"));
        assert!(repository_file("Dockerfile").contains(&user), "{overlay}: {user}");

        let environment = environment(&container);
        let mode = environment.iter().find(|(name, _)| name == "TIDINGS__AUTH__MODE");
        assert!(mode.is_some_and(|(_, mode)| mode == "jwt" || mode == "forward"), "{overlay}: {mode:?}");
        for (name, value) in &environment {
            assert!(!value.contains('@'), "{overlay}: {name} has a user or a password");
            let is_secret = ["SECRET", "PASSWORD", "TOKEN"].iter().any(|word| name.ends_with(word));
            assert!(!is_secret, "{overlay}: {name} belongs into a file of a Secret");
            // Each file of a secret lies in a folder that a volume from a Secret fills.
            let Some(file) = value.strip_prefix(SECRETS) else { continue };
            let folder = format!("{SECRETS}{}", file.split('/').next().unwrap());
            let mounts = container["volumeMounts"].as_array().unwrap();
            let mount = mounts.iter().find(|mount| mount["mountPath"] == folder).expect(&folder);
            let volumes = pod["volumes"].as_array().unwrap();
            let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).unwrap();
            assert!(volume["secret"]["secretName"].is_string() && mount["readOnly"] == true, "{overlay}");
            // 0440: the group of the node may read them.
            assert_eq!(volume["secret"]["defaultMode"], 0o440, "{overlay}");
            assert_eq!(pod["securityContext"]["fsGroup"], *of_both("runAsGroup"), "{overlay}");
        }
    }
    let mut files = Vec::new();
    files_below(&repository().join("deploy/kubernetes"), &mut files);
    assert!(files.len() > 12, "{files:?}");
    for text in files {
        assert!(!text.contains("kind: Secret"), "{text}");
    }
}

/// Appends the text of each file in a folder and below it.
fn files_below(folder: &Path, texts: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files_below(&path, texts),
            false => texts.push(fs::read_to_string(path).unwrap()),
        }
    }
}

/// The new node is ready before the old one ends its streams one by one.
#[test]
fn rolling_update_drains_and_leaves_no_gap() {
    for overlay in OVERLAYS {
        let (deployment, container) = deployment(overlay);
        let pod = &deployment["spec"]["template"]["spec"];
        let grace = pod["terminationGracePeriodSeconds"].as_f64().unwrap();
        let seconds = seconds_to_end(&environment(&container));
        assert!(seconds + 5.0 < grace, "{overlay}: streams would be cut instead of ended");
        assert!(container["lifecycle"].is_null(), "the node's own delay does for a preStop hook");
        let strategy = &deployment["spec"]["strategy"];
        match overlay {
            // Two pods would have two buses.
            "sidecar" => assert_eq!(strategy["type"], "Recreate"),
            _ => {
                assert_eq!(strategy["rollingUpdate"], serde_json::json!({"maxSurge": 1, "maxUnavailable": 0}))
            }
        }
    }
}
