//! The files that a broker is deployed with: what they run is run here, outside of any container.

mod compose;
mod image;
mod kubernetes;
mod monitoring;
mod systemd;
mod variables;

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::directory::{repository, repository_file};
use crate::support::programs::run;

/// The documents of a YAML file.
pub(crate) fn documents(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&repository_file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The documents of an overlay in `deploy/kubernetes`, as kubectl renders them.
pub(crate) fn rendered(overlay: &str) -> Vec<Value> {
    let text = kustomize(&repository().join("deploy/kubernetes/overlays").join(overlay));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{overlay}: {error}"))
}

/// What kubectl renders of a folder with a `kustomization.yaml`. It asks no cluster.
pub(crate) fn kustomize(folder: &Path) -> String {
    run(Command::new("kubectl").arg("kustomize").arg(folder))
}

/// A list of texts.
fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().unwrap_or_else(|| panic!("a list: {value}"));
    list.iter().map(|text| text.as_str().unwrap_or_else(|| panic!("a text: {text}")).to_owned()).collect()
}

/// How long a broker takes at most to end after SIGTERM, in seconds, with what a file sets on top
/// of the defaults.
fn seconds_to_end(set: &[(String, String)]) -> f64 {
    ["server.drain_delay_seconds", "server.drain_seconds"].map(|key| variables::value(key, set)).iter().sum()
}
