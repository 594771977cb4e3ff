//! The environment variables that the files set.

use config::FileFormat;

use super::repository_file;
use crate::support::broker::variable;

const FILES: [&str; 16] = [
    "Dockerfile",
    "docker-compose.yml",
    "deploy/Caddyfile",
    "deploy/apache.conf",
    "deploy/envoy.yaml",
    "deploy/haproxy.cfg",
    "deploy/kubernetes/base/deployment.yaml",
    "deploy/kubernetes/base/ingress.yaml",
    "deploy/kubernetes/overlays/fleet-cluster/redis.yaml",
    "deploy/kubernetes/overlays/fleet-redis/redis.yaml",
    "deploy/kubernetes/overlays/fleet-sentinel/redis.yaml",
    "deploy/kubernetes/overlays/sidecar/deployment.yaml",
    "deploy/nginx-host.conf",
    "deploy/nginx.conf",
    "deploy/tidings.service",
    "CONTRIBUTING.md",
];

fn defaults() -> config::Config {
    let text = repository_file("config/default.toml");
    config::Config::builder().add_source(config::File::from_str(&text, FileFormat::Toml)).build().unwrap()
}

/// The value of a key in seconds or bytes or whatever its unit is: the one that is set, or the
/// default.
pub(super) fn value(key: &str, set: &[(String, String)]) -> f64 {
    match set.iter().find(|(name, _)| *name == variable(key)) {
        Some((_, text)) => text.parse().unwrap(),
        None => defaults().get_float(key).unwrap(),
    }
}

/// Every key as an environment variable.
fn known() -> Vec<String> {
    fn keys(section: &str, value: &serde_json::Value) -> Vec<String> {
        let Some(members) = value.as_object() else { return vec![variable(section)] };
        let named = |(name, value)| keys(&format!("{section}.{name}"), value);
        members.iter().flat_map(named).collect()
    }
    let sections: serde_json::Map<String, serde_json::Value> = defaults().try_deserialize().unwrap();
    sections.iter().flat_map(|(section, value)| keys(section, value)).collect()
}

#[test]
fn every_variable_in_the_files_is_a_key() {
    let known = known();
    let mut found = 0;
    for file in FILES {
        let text = repository_file(file);
        for (at, _) in text.match_indices("TIDINGS__") {
            let name: String = text[at..]
                .chars()
                .take_while(|&letter| letter.is_ascii_uppercase() || letter == '_')
                .collect();
            let is_form = name == "TIDINGS__SECTION__KEY";
            assert!(is_form || known.contains(&name), "{file}: {name} is no key of config/default.toml");
            found += 1;
        }
    }
    assert!(found > 10, "the search for variables finds nothing");
}

/// Comments lean on keys, such as "keep it above sse.heartbeat_seconds (15)".
#[test]
fn every_default_that_a_comment_repeats_is_right() {
    let mut found = 0;
    for file in FILES {
        let text = repository_file(file).replace("\n#", " ");
        for key in ["sse.heartbeat_seconds", "limits.connections"] {
            for (at, _) in text.match_indices(&format!("{key} (")) {
                let rest = &text[at + key.len() + 2..];
                let number = rest.split(')').next().unwrap().replace(',', "");
                assert_eq!(number.parse::<f64>().unwrap(), value(key, &[]), "{file}: {key}");
                found += 1;
            }
        }
    }
    assert!(found >= 3, "the search for defaults finds nothing");
}
