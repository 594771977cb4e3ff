//! The texts of mismatches.

use std::fs;

use serde_json::json;

use super::*;
use crate::SchemaSet;

fn set() -> SchemaSet {
    let schema = json!({
        "properties": {
            "type": { "const": "CHANNEL_UPDATED" },
            "name": { "type": "string", "maxLength": 10, "pattern": "^[a-z]*$" },
            "level": { "enum": [1, 2] },
            "tags": { "type": "array", "items": { "type": ["string", "null"] }, "uniqueItems": true },
            "map": { "propertyNames": { "maxLength": 3 } },
            "choice": { "oneOf": [{ "type": "string" }, { "const": "a" }] },
            "items": { "type": "array", "unevaluatedItems": false },
        },
        "required": ["type", "name"],
        "additionalProperties": false,
    });
    let directory = tempfile::TempDir::new().unwrap();
    fs::write(directory.path().join("CHANNEL_UPDATED.json"), schema.to_string()).unwrap();
    SchemaSet::read(directory.path()).unwrap()
}

#[test]
fn mismatch_names_the_place_and_the_rule() {
    let set = set();
    for (event, expected) in [
        (json!({ "name": "a" }), "it is not a JSON object with a text as its `type`"),
        (json!({ "type": 1 }), "it is not a JSON object with a text as its `type`"),
        (json!("CHANNEL_UPDATED"), "it is not a JSON object with a text as its `type`"),
        (
            json!({ "type": "CHANEL_UPDATED" }),
            "its type \"CHANEL_UPDATED\" has no schema: did you mean \"CHANNEL_UPDATED\"?",
        ),
        (json!({ "type": "other" }), "its type \"other\" has no schema: add one to the directory of schemas"),
        (
            json!({ "type": "CHANNEL_UPDATED" }),
            "at the root, `required` has \"name\", which is missing (schema CHANNEL_UPDATED)",
        ),
        (
            json!({ "type": "CHANNEL_UPDATED", "name": "a", "naem": "secret" }),
            "at the root, `additionalProperties` forbids naem (schema CHANNEL_UPDATED)",
        ),
        (
            json!({ "type": "CHANNEL_UPDATED", "name": 7 }),
            "at /name, `type` is string (schema CHANNEL_UPDATED)",
        ),
        (
            json!({ "type": "CHANNEL_UPDATED", "name": "secret secret" }),
            "at /name, `maxLength` is 10 (schema CHANNEL_UPDATED)",
        ),
        (
            json!({ "type": "CHANNEL_UPDATED", "name": "SECRET" }),
            "at /name, `pattern` is ^[a-z]*$ (schema CHANNEL_UPDATED)",
        ),
        (
            json!({ "type": "CHANNEL_UPDATED", "name": "a", "level": "secret" }),
            "at /level, `enum` is [1,2] (schema CHANNEL_UPDATED)",
        ),
        (
            json!({ "type": "CHANNEL_UPDATED", "name": "a", "tags": ["a", 4711] }),
            "at /tags/1, `type` is null or string (schema CHANNEL_UPDATED)",
        ),
        (
            json!({ "type": "CHANNEL_UPDATED", "name": "a", "tags": ["secret", "secret"] }),
            "at /tags, `uniqueItems` is not met (schema CHANNEL_UPDATED)",
        ),
        (
            json!({ "type": "CHANNEL_UPDATED", "name": "a", "choice": "a" }),
            "at /choice, more than one schema of `oneOf` matches (schema CHANNEL_UPDATED)",
        ),
        (
            json!({ "type": "CHANNEL_UPDATED", "name": "a", "choice": 4711 }),
            "at /choice, no schema of `oneOf` matches (schema CHANNEL_UPDATED)",
        ),
        (
            json!({ "type": "CHANNEL_UPDATED", "name": "a", "items": ["secret"] }),
            "at /items, `unevaluatedItems` is not met (schema CHANNEL_UPDATED)",
        ),
    ] {
        assert_eq!(set.check(event.to_string().as_bytes()).unwrap_err().to_string(), expected, "{event}");
    }
    assert_eq!(set.check(br#"{"type":"CHANNEL_UPDATED","name":"a"}"#), Ok(()));
}

#[test]
fn mismatch_is_bounded_and_has_no_value() {
    let set = set();
    let secret = "s3cr3t".repeat(40_000);
    let deep = format!(r#"{{"type":"CHANNEL_UPDATED","name":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    for event in [
        json!({ "type": secret }).to_string(),
        json!({ "type": "CHANNEL_UPDATED", "name": secret }).to_string(),
        json!({ "type": "CHANNEL_UPDATED", "name": [secret] }).to_string(),
        json!({ "type": "CHANNEL_UPDATED", "name": "a", "level": secret }).to_string(),
        json!({ "type": "CHANNEL_UPDATED", "name": "a", "map": { "x".repeat(100_000): 1 } }).to_string(),
        json!({ "type": "CHANNEL_UPDATED", "name": "a", "x".repeat(100_000): 1 }).to_string(),
        deep,
        secret.clone(),
    ] {
        let mismatch = set.check(event.as_bytes()).unwrap_err();
        let text = mismatch.to_string();
        assert!(text.chars().count() < 600, "{text}");
        let is_type = matches!(mismatch, Mismatch::NoSchema { .. });
        assert!(is_type || !text.contains("s3cr3t"), "{text}");
    }
}

#[test]
fn second_type_of_an_event_is_a_mismatch() {
    let set = set();
    let event = br#"{"type":"other","name":"a","type":"CHANNEL_UPDATED"}"#;
    assert_eq!(set.check(event), Err(Mismatch::TwoTypes));
    assert_eq!(set.check(b"\xff"), Err(Mismatch::NotJson("it is not UTF-8".to_owned())));
}
