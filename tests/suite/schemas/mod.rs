//! Schemas of event types: the node that checks events, and the commands.

mod bus;
mod commands;
mod diff;
mod http;
mod pace;

use crate::support::directory::{Directory, repository};
use crate::support::{Broker, DEADLINE, eventually};

/// A schema as the guide has one: closed, with a text of at most 20 characters.
const CHANNEL: &str = r#"{
  "type": "object",
  "properties": {
    "type": { "const": "CHANNEL_UPDATED" },
    "id": { "type": "string" },
    "name": { "type": "string", "maxLength": 20 }
  },
  "required": ["type", "id", "name"],
  "additionalProperties": false
}"#;

const GOOD: &str = r#"{"type":"CHANNEL_UPDATED","id":"c1","name":"general"}"#;

/// Its member has another name than in the schema.
const RENAMED: &str = r#"{"type":"CHANNEL_UPDATED","id":"c1","title":"s3cr3t"}"#;

const UNKNOWN: &str = r#"{"type":"CHANEL_UPDATED","id":"c1","name":"general"}"#;

/// A directory with one schema.
fn events() -> Directory {
    let directory = Directory::new();
    directory.write("CHANNEL_UPDATED.json", CHANNEL);
    directory
}

/// The settings of a node with the schemas of a directory.
fn settings<'a>(directory: &'a str, mode: &'a str) -> [(&'a str, &'a str); 2] {
    [("schemas.path", directory), ("schemas.mode", mode)]
}

/// The schemas that other programs of the repository read too, and their version.
fn vectors() -> (String, String) {
    let directory = repository().join("clients/vectors/schemas");
    let version = std::fs::read_to_string(directory.join("version.txt")).unwrap().trim().to_owned();
    (directory.display().to_string(), version)
}

/// Waits until the node has counted so many events with a result.
async fn counted(broker: &Broker, result: &str, expected: f64) {
    let name = format!("tidings_schema_checks_total{{result=\"{result}\"}}");
    let what = format!("{name} is {expected}");
    eventually(&what, DEADLINE, async || broker.metric(&name).await == Some(expected)).await;
}
