//! The rules of `docs/guides/event-versions.md`, one example each.

use serde_json::{Value, json};

use super::*;

/// The places of the rules that NEW does not imply.
fn broken(old: &Value, new: &Value) -> Vec<String> {
    match compare(old, new) {
        TypeChange::Incompatible { obstacles, .. } => {
            obstacles.into_iter().map(|obstacle| obstacle.pointer).collect()
        }
        change => {
            assert!(change.is_compatible());
            Vec::new()
        }
    }
}

/// A schema with one member.
#[expect(clippy::needless_pass_by_value, reason = "most calls make the schema in place")]
fn member(schema: Value) -> Value {
    json!({ "type": "object", "properties": { "a": schema }, "required": ["a"] })
}

#[test]
fn change_of_an_event_is_compatible_or_names_its_rule() {
    let closed = |properties: Value, required: Value| json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false });
    let text = || json!({ "type": "string" });
    for (about, old, new, expected) in [
        (
            "a new optional member",
            closed(json!({ "a": text() }), json!(["a"])),
            closed(json!({ "a": text(), "b": text() }), json!(["a"])),
            &[][..],
        ),
        (
            "a new required member",
            closed(json!({ "a": text() }), json!(["a"])),
            closed(json!({ "a": text(), "b": text() }), json!(["a", "b"])),
            &[],
        ),
        (
            "a member that becomes required",
            closed(json!({ "a": text() }), json!([])),
            closed(json!({ "a": text() }), json!(["a"])),
            &[],
        ),
        (
            "a member that becomes optional",
            closed(json!({ "a": text() }), json!(["a"])),
            closed(json!({ "a": text() }), json!([])),
            &["/required"],
        ),
        (
            "a removed required member",
            closed(json!({ "a": text() }), json!(["a"])),
            closed(json!({}), json!([])),
            &["/required"],
        ),
        (
            "a removed optional member of a closed object",
            closed(json!({ "a": text() }), json!([])),
            closed(json!({}), json!([])),
            &[],
        ),
        (
            "a removed optional member of an open object",
            json!({ "properties": { "a": text() } }),
            json!({ "properties": {} }),
            &["/properties/a"],
        ),
        (
            "a renamed member",
            closed(json!({ "a": text() }), json!(["a"])),
            closed(json!({ "b": text() }), json!(["b"])),
            &["/required"],
        ),
        (
            "a closed object that opens",
            closed(json!({ "a": text() }), json!(["a"])),
            json!({ "type": "object", "properties": { "a": text() }, "required": ["a"] }),
            &[],
        ),
        ("another type", member(text()), member(json!({ "type": "integer" })), &["/properties/a/type"]),
        (
            "one type more",
            member(text()),
            member(json!({ "type": ["string", "null"] })),
            &["/properties/a/type"],
        ),
        ("one type less", member(json!({ "type": ["string", "null"] })), member(text()), &[]),
        (
            "numbers become integers",
            member(json!({ "type": "number" })),
            member(json!({ "type": "integer" })),
            &[],
        ),
        (
            "integers become numbers",
            member(json!({ "type": "integer" })),
            member(json!({ "type": "number" })),
            &["/properties/a/type"],
        ),
        (
            "a wider enum",
            member(json!({ "enum": ["x"] })),
            member(json!({ "enum": ["x", "y"] })),
            &["/properties/a/enum"],
        ),
        ("a narrower enum", member(json!({ "enum": ["x", "y"] })), member(json!({ "enum": ["x"] })), &[]),
        (
            "an enum that becomes a text",
            member(json!({ "enum": ["x"] })),
            member(text()),
            &["/properties/a/enum"],
        ),
        ("a text that becomes an enum", member(text()), member(json!({ "enum": ["x"] })), &[]),
        ("a const of an enum", member(json!({ "enum": [1, 2] })), member(json!({ "const": 1.0 })), &[]),
        (
            "a larger maximum",
            member(json!({ "type": "number", "maximum": 5 })),
            member(json!({ "type": "number", "maximum": 5.5 })),
            &["/properties/a/maximum"],
        ),
        (
            "a smaller maximum",
            member(json!({ "type": "number", "maximum": 5 })),
            member(json!({ "type": "number", "exclusiveMaximum": 5 })),
            &[],
        ),
        (
            "a bound that includes its value",
            member(json!({ "type": "number", "exclusiveMaximum": 5 })),
            member(json!({ "type": "number", "maximum": 5 })),
            &["/properties/a/exclusiveMaximum"],
        ),
        (
            "multiples of a multiple",
            member(json!({ "type": "integer", "multipleOf": 2 })),
            member(json!({ "type": "integer", "multipleOf": 4 })),
            &[],
        ),
        (
            "multiples of a divisor",
            member(json!({ "type": "integer", "multipleOf": 4 })),
            member(json!({ "type": "integer", "multipleOf": 2 })),
            &["/properties/a/multipleOf"],
        ),
        (
            "as many required members as the least number",
            member(json!({ "type": "object", "minProperties": 2 })),
            member(json!({ "type": "object", "required": ["b", "c"] })),
            &[],
        ),
        (
            "fewer required members than the least number",
            member(json!({ "type": "object", "minProperties": 2 })),
            member(json!({ "type": "object", "required": ["b"] })),
            &["/properties/a/minProperties"],
        ),
        (
            "as many members as the greatest number",
            member(json!({ "type": "object", "maxProperties": 1 })),
            member(closed(json!({ "b": text() }), json!([]))),
            &[],
        ),
        (
            "more members than the greatest number",
            member(json!({ "type": "object", "maxProperties": 1 })),
            member(closed(json!({ "b": text(), "c": text() }), json!([]))),
            &["/properties/a/maxProperties"],
        ),
        (
            "a longer text",
            member(json!({ "type": "string", "maxLength": 5 })),
            member(text()),
            &["/properties/a/maxLength"],
        ),
        (
            "another pattern",
            member(json!({ "type": "string", "pattern": "^a" })),
            member(json!({ "type": "string", "pattern": "^ab" })),
            &["/properties/a/pattern"],
        ),
        (
            "another format",
            member(json!({ "type": "string", "format": "date" })),
            member(json!({ "type": "string", "format": "date-time" })),
            &["/properties/a/format"],
        ),
        (
            "items of another type",
            member(json!({ "type": "array", "items": text() })),
            member(json!({ "type": "array", "items": true })),
            &["/properties/a/items/type"],
        ),
        (
            "a longer tuple",
            member(json!({ "type": "array", "prefixItems": [text()], "items": false })),
            member(json!({ "type": "array", "prefixItems": [text(), text()], "items": false })),
            &["/properties/a/items"],
        ),
        ("a title", member(text()), member(json!({ "type": "string", "title": "Name" })), &[]),
        (
            "one case more",
            member(json!({ "anyOf": [{ "const": "x" }, { "type": "null" }] })),
            member(json!({ "anyOf": [{ "const": "x" }, { "type": "null" }, { "const": "y" }] })),
            &["/properties/a/anyOf"],
        ),
        (
            "one case less",
            member(json!({ "anyOf": [{ "const": "x" }, { "type": "null" }] })),
            member(json!({ "type": ["null"] })),
            &[],
        ),
        (
            "types in place of cases",
            member(json!({ "anyOf": [text(), { "type": "null" }] })),
            member(json!({ "type": ["string", "null"] })),
            &[],
        ),
        (
            "another not",
            member(json!({ "not": { "const": 1 } })),
            member(json!({ "not": { "const": 2 } })),
            &["/properties/a/not"],
        ),
    ] {
        assert_eq!(broken(&old, &new), expected, "{about}");
    }
}

#[test]
fn references_are_followed_to_their_definitions() {
    let tree = |leaf: Value| {
        json!({
            "properties": { "a": { "$ref": "#/$defs/node" } },
            "required": ["a"],
            "$defs": { "node": {
                "type": "object",
                "properties": { "leaf": leaf, "next": { "$ref": "#/$defs/node" } },
                "additionalProperties": false,
            } },
        })
    };
    let (text, number) = (json!({ "type": "string" }), json!({ "type": "integer" }));
    assert_eq!(broken(&tree(text.clone()), &tree(json!({ "const": "x" }))), [""; 0]);
    assert_eq!(broken(&tree(text), &tree(number)), ["/$defs/node/properties/leaf/type"]);
}

#[test]
fn reference_that_leads_back_in_place_proves_nothing() {
    let endless =
        json!({ "properties": { "a": { "$ref": "#/$defs/x" } }, "$defs": { "x": { "$ref": "#/$defs/x" } } });
    let other = json!({ "properties": { "a": { "type": "string" } } });
    assert_eq!(broken(&endless, &other), ["/$defs/x"]);
    assert_eq!(broken(&other, &endless), ["/properties/a/type"]);
}

#[test]
fn cases_that_a_member_distinguishes_may_get_new_members() {
    let case = |kind: &str, more: Value| {
        let mut properties = json!({ "kind": { "const": kind } });
        properties.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({
            "type": "object", "properties": properties, "required": ["kind"], "additionalProperties": false,
        })
    };
    let old =
        member(json!({ "oneOf": [case("x", json!({})), case("y", json!({ "n": { "type": "integer" } }))] }));
    let wider = member(
        json!({ "oneOf": [case("x", json!({ "more": true })), case("y", json!({ "n": { "type": "integer" } }))] }),
    );
    let other =
        member(json!({ "oneOf": [case("x", json!({})), case("y", json!({ "n": { "type": "string" } }))] }));
    assert_eq!(broken(&old, &wider), [""; 0]);
    assert_eq!(broken(&old, &other), ["/properties/a/oneOf"]);
    let vague = member(json!({ "oneOf": [{ "minimum": 0 }, { "maximum": 5 }] }));
    assert_eq!(broken(&vague, &member(json!({ "const": 9 }))), [""; 0], "a listed value is tried");
    assert_eq!(broken(&vague, &member(json!({ "type": "integer", "minimum": 6 }))), ["/properties/a/oneOf"]);
}

#[test]
fn compatible_change_names_the_rule_that_an_older_event_breaks() {
    let old = json!({ "properties": { "a": { "type": "string" } } });
    let new = json!({ "properties": { "a": { "type": "string" } }, "required": ["a"] });
    let TypeChange::Compatible { older_events, places } = compare(&old, &new) else { panic!() };
    assert_eq!(older_events.as_deref(), Some("/required"));
    assert_eq!(places, [DifferentPlace::Added("/required".to_owned())]);
    assert_eq!(compare(&old, &old), TypeChange::Same);
}

#[test]
fn nested_cases_end_within_the_steps_of_a_proof() {
    let list = |levels: usize| {
        (0..levels).fold(json!({ "type": "string" }), |inner, level| {
            let name = format!("m{level}");
            json!({ "anyOf": [
                { "properties": { &name: inner }, "required": [&name] },
                { "properties": { &name: { "minLength": level } } },
                { "properties": { &name: { "pattern": "x" } } },
            ] })
        })
    };
    // The result does not matter, but its time does.
    let _ = compare(&list(12), &list(11));
}
