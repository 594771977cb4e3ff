//! `docs/guides/event-versions.md`: zod writes schemas that the program takes, and the commands and
//! the example of the report are true.

use serde_json::json;

use super::Document;
use super::terminal::Terminal;
use crate::support::{Broker, BrokerOptions};

#[tokio::test]
async fn schemas_from_zod_are_those_of_the_broker() {
    let terminal = Terminal::new();
    let document = Document::read("docs/guides/event-versions.md");
    terminal.write("schemas.mjs", document.file("schemas.mjs"));
    // The program finds zod beside itself.
    terminal.program("node", "schemas.mjs", document.file("schemas.mjs")).await;
    terminal.run(document.block("Schemas from zod", "sh")).await;
    let events = terminal.path().join("events");
    let path = events.display().to_string();
    let options = BrokerOptions::embedded().set("schemas.path", &path).set("schemas.mode", "enforce");
    let broker = Broker::start_ready(options).await;
    let body = json!({ "type": "CHANNEL_UPDATED", "id": "c1", "name": 7 }).to_string();
    let target = "/api/workspaces/demo/events";
    let response = crate::support::http::request(broker.address(), "POST", target, &[], body).await;
    let shown: serde_json::Value = serde_json::from_str(document.blocks("Check events", "json")[0]).unwrap();
    assert_eq!(response.json(), shown);
    broker.publish("demo", r#"{"type":"CHANNEL_UPDATED","id":"c1","name":"general"}"#).await;
}

#[tokio::test]
async fn report_of_the_page_is_that_of_the_program() {
    let terminal = Terminal::new();
    let document = Document::read("docs/guides/event-versions.md");
    let old = terminal.path().join("old-events");
    let new = terminal.path().join("events");
    for directory in [&old, &new] {
        std::fs::create_dir(directory).unwrap();
    }
    let updated: serde_json::Value =
        serde_json::from_str(document.block("One schema for each type", "json")).unwrap();
    let mut wider = updated.clone();
    wider["properties"]["topic"] = json!({ "type": "string" });
    let deleted = json!({ "properties": { "type": { "const": "CHANNEL_DELETED" } } });
    let member = |roles: &[&str]| json!({ "properties": { "type": { "const": "MEMBER_ADDED" }, "role": { "enum": roles } } });
    for (directory, name, schema) in [
        (&old, "CHANNEL_UPDATED", &updated),
        (&new, "CHANNEL_UPDATED", &wider),
        (&old, "CHANNEL_DELETED", &deleted),
        (&new, "CHANNEL_DELETED", &deleted),
        (&old, "MEMBER_ADDED", &member(&["owner"])),
        (&new, "MEMBER_ADDED", &member(&["owner", "guest"])),
    ] {
        std::fs::write(directory.join(format!("{name}.json")), schema.to_string()).unwrap();
    }
    let [compare, in_ci] = document.blocks("Compatible changes", "sh")[..] else { panic!("two blocks") };
    let finished = terminal.finish(compare).await;
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert_eq!(finished.stdout, document.block("Compatible changes", "text"));
    assert!(in_ci.contains("tidings schema diff ../deployed/events events"));

    let broker = Broker::start_ready(BrokerOptions::embedded()).await;
    let mut client = broker.connect("demo").await;
    client.connected().await;
    Terminal::beside(&broker).run(document.block("Incompatible changes", "sh")).await;
    for name in ["CHANNEL_UPDATED", "CHANNEL_UPDATED@2"] {
        let event = client.application_event().await;
        assert!(event.data.contains(&format!("\"{name}\"")), "{event:?}");
    }
}
