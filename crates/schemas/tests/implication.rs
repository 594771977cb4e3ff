//! The promise of `diff`: where it says that a change is compatible, every event of NEW matches OLD
//! as a page reads it. Random schemas and random values look for a counterexample, with the
//! validator of the broker.

use std::sync::atomic::{AtomicUsize, Ordering};

use jsonschema::Validator;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};

use tidings_schemas::diff::{TypeChange, compare, tolerant};

/// Names of members. Few, so that two schemas often mention the same.
const NAMES: [&str; 4] = ["a", "b", "c", "xa"];

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        (-3i64..6).prop_map(|number| json!(number)),
        (-3i64..6).prop_map(|number| json!(number as f64)),
        Just(json!(1.5)),
        Just(json!(2.5)),
        prop::sample::select(vec!["", "a", "b", "aa", "ab", "xyz"]).prop_map(|text| json!(text)),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(NAMES.to_vec()).prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map(name(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn object(members: Vec<(&'static str, Value)>) -> Value {
    Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn types() -> impl Strategy<Value = Value> {
    let names = vec!["null", "boolean", "integer", "number", "string", "array", "object"];
    prop_oneof![
        3 => prop::sample::select(names.clone()).prop_map(|name| json!(name)),
        1 => prop::sample::subsequence(names, 1..4).prop_map(|names| json!(names)),
    ]
}

fn pattern() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["^a", "x", "^(a|b)+$"]).prop_map(str::to_owned)
}

/// A schema without other schemas inside.
fn simple() -> impl Strategy<Value = Value> {
    let bound = -2i64..5;
    let length = 0u64..4;
    prop_oneof![
        1 => any::<bool>().prop_map(Value::Bool),
        4 => types().prop_map(|types| json!({ "type": types })),
        2 => scalar().prop_map(|value| json!({ "const": value })),
        2 => prop::collection::vec(scalar(), 1..4).prop_map(|mut values| {
            values.dedup();
            json!({ "enum": values })
        }),
        2 => (prop::sample::select(vec!["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]), bound)
            .prop_map(|(keyword, bound)| object(vec![("type", json!("number")), (keyword, json!(bound))])),
        1 => (1u64..4).prop_map(|factor| json!({ "type": "integer", "multipleOf": factor })),
        2 => (prop::sample::select(vec!["minLength", "maxLength"]), length.clone())
            .prop_map(|(keyword, bound)| object(vec![(keyword, json!(bound))])),
        1 => pattern().prop_map(|pattern| json!({ "type": "string", "pattern": pattern })),
        1 => (prop::sample::select(vec!["minItems", "maxItems", "minProperties", "maxProperties"]), length)
            .prop_map(|(keyword, bound)| object(vec![(keyword, json!(bound))])),
        1 => Just(json!({ "uniqueItems": true })),
        1 => Just(json!({ "$ref": "#/$defs/x" })),
        1 => Just(json!({ "$ref": "#/$defs/y" })),
    ]
}

fn schema() -> impl Strategy<Value = Value> {
    simple().prop_recursive(3, 24, 4, |inner| {
        let list = prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            6 => members(inner.clone()),
            2 => items(inner.clone()),
            1 => (prop::sample::select(vec!["anyOf", "oneOf", "allOf"]), list)
                .prop_map(|(keyword, schemas)| object(vec![(keyword, json!(schemas))])),
            1 => (inner.clone(), inner.clone())
                .prop_map(|(one, other)| merged(one, other)),
            1 => tagged(inner.clone()),
            1 => inner.clone().prop_map(|schema| json!({ "not": schema })),
            1 => inner.clone().prop_map(|schema| json!({ "contains": schema })),
            1 => inner.clone().prop_map(|schema| json!({ "propertyNames": schema })),
            1 => (name(), inner.clone())
                .prop_map(|(name, schema)| json!({ "dependentSchemas": { name: schema } })),
            1 => (inner.clone(), inner.clone(), inner)
                .prop_map(|(a, b, c)| json!({ "if": a, "then": b, "else": c })),
        ]
    })
}

/// Schemas of a list that a member distinguishes.
fn tagged(inner: impl Strategy<Value = Value> + Clone) -> impl Strategy<Value = Value> {
    let closed = any::<bool>();
    let one = |tag: &'static str| {
        (inner.clone(), closed).prop_map(move |(schema, closed)| {
            let properties = json!({ "a": { "const": tag }, "b": schema });
            let mut one = json!({ "type": "object", "properties": properties, "required": ["a"] });
            if closed {
                one["additionalProperties"] = json!(false);
            }
            one
        })
    };
    (prop::sample::select(vec!["anyOf", "oneOf"]), one("a"), one("b"))
        .prop_map(|(keyword, one, other)| object(vec![(keyword, json!([one, other]))]))
}

fn members(inner: impl Strategy<Value = Value> + Clone) -> impl Strategy<Value = Value> {
    let additional = prop_oneof![
        3 => Just(None),
        3 => Just(Some(json!(false))),
        2 => inner.clone().prop_map(Some),
    ];
    (
        prop::collection::btree_map(name(), inner.clone(), 0..4),
        prop::sample::subsequence(NAMES.to_vec(), 0..3),
        additional,
        prop::option::weighted(0.2, (pattern(), inner)),
        any::<bool>(),
        prop::option::weighted(0.1, (name(), name())),
    )
        .prop_map(|(properties, required, additional, patterns, is_object, dependent)| {
            let mut schema = json!({ "properties": properties, "required": required });
            if let Some(additional) = additional {
                schema["additionalProperties"] = additional;
            }
            if let Some((pattern, inner)) = patterns {
                schema["patternProperties"] = json!({ pattern: inner });
            }
            if let Some((name, other)) = dependent {
                schema["dependentRequired"] = json!({ name: [other] });
            }
            if is_object {
                schema["type"] = json!("object");
            }
            schema
        })
}

fn items(inner: impl Strategy<Value = Value> + Clone) -> impl Strategy<Value = Value> {
    (prop::collection::vec(inner.clone(), 0..3), prop::option::of(inner), prop::option::of(0u64..4)).prop_map(
        |(prefix, items, most)| {
            let mut schema = json!({ "type": "array" });
            if !prefix.is_empty() {
                schema["prefixItems"] = json!(prefix);
            }
            if let Some(items) = items {
                schema["items"] = items;
            }
            if let Some(most) = most {
                schema["maxItems"] = json!(most);
            }
            schema
        },
    )
}

/// The members of both schemas.
fn merged(one: Value, other: Value) -> Value {
    match (one, other) {
        (Value::Object(mut one), Value::Object(other)) => {
            one.extend(other);
            Value::Object(one)
        }
        (one, _) => one,
    }
}

/// A small change of a schema: most pairs of random schemas have nothing in common.
fn changed(schema: &Value, steps: &[(usize, Value, u8)]) -> Value {
    let mut changed = schema.clone();
    for (place, replacement, kind) in steps {
        let mut places = Vec::new();
        collect_places("", &changed, &mut places);
        let Some(pointer) = places.get(place % places.len().max(1)).cloned() else { continue };
        match kind % 4 {
            0 => {
                if let Some(part) = changed.pointer_mut(&pointer) {
                    *part = replacement.clone();
                }
            }
            1 => {
                if let Some((parent, name)) = pointer.rsplit_once('/')
                    && let Some(Value::Object(members)) = changed.pointer_mut(parent)
                {
                    members.remove(name);
                }
            }
            _ => {
                if let Some(part) = changed.pointer_mut(&pointer) {
                    *part = merged(part.clone(), replacement.clone());
                }
            }
        }
    }
    changed
}

fn collect_places(pointer: &str, value: &Value, places: &mut Vec<String>) {
    places.push(pointer.to_owned());
    match value {
        Value::Object(members) => {
            for (name, value) in members.iter().filter(|(name, _)| !name.starts_with('^')) {
                collect_places(&format!("{pointer}/{name}"), value, places);
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                collect_places(&format!("{pointer}/{index}"), value, places);
            }
        }
        _ => {}
    }
}

/// A document: a schema with two definitions, of which one may refer to itself below a member.
fn document() -> impl Strategy<Value = Value> {
    (schema(), simple(), members(simple().boxed())).prop_map(|(root, x, y)| {
        // `x` refers to nothing, so that no reference leads back in place.
        let x = if x.get("$ref").is_some() { json!({}) } else { x };
        let mut root = match root {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        root.insert("$defs".to_owned(), json!({ "x": x, "y": y }));
        Value::Object(root)
    })
}

fn compiled(schema: &Value) -> Option<Validator> {
    let options = jsonschema::options().with_draft(jsonschema::Draft::Draft202012).offline();
    options.with_pattern_options(jsonschema::PatternOptions::regex()).build(schema).ok()
}

/// A value that is likely to match a schema: the constants, names and types that it mentions.
fn sample(schema: &Value, root: &Value, choices: &mut dyn FnMut(usize) -> usize, depth: usize) -> Value {
    let scalars = [
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(2.0),
        json!(1.5),
        json!("a"),
        json!("aa"),
        json!("xyz"),
    ];
    let Value::Object(members) = schema else { return scalars[choices(scalars.len())].clone() };
    if depth > 4 {
        return scalars[choices(scalars.len())].clone();
    }
    if let Some(target) = members.get("$ref").and_then(Value::as_str)
        && choices(3) > 0
        && let Some(target) = root.pointer(target.trim_start_matches('#'))
    {
        return sample(target, root, choices, depth + 1);
    }
    if let Some(value) = members.get("const") {
        return value.clone();
    }
    if let Some(values) = members.get("enum").and_then(Value::as_array).filter(|values| !values.is_empty()) {
        return values[choices(values.len())].clone();
    }
    for keyword in ["anyOf", "oneOf", "allOf"] {
        if let Some(schemas) = members.get(keyword).and_then(Value::as_array).filter(|list| !list.is_empty())
            && choices(4) > 0
        {
            return sample(&schemas[choices(schemas.len())], root, choices, depth + 1);
        }
    }
    let mut kinds: Vec<&str> = match members.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => vec!["object", "object", "object", "array", "string", "number", "null"],
    };
    if kinds.is_empty() {
        kinds.push("object");
    }
    match kinds[choices(kinds.len())] {
        "object" => {
            let mut object = Map::new();
            let properties = members.get("properties").and_then(Value::as_object);
            for name in NAMES {
                let own = properties.and_then(|properties| properties.get(name));
                let is_required = members
                    .get("required")
                    .and_then(Value::as_array)
                    .is_some_and(|required| required.iter().any(|required| required == name));
                if is_required || choices(3) == 0 || (own.is_some() && choices(3) > 0) {
                    let schema =
                        own.or_else(|| members.get("additionalProperties")).unwrap_or(&Value::Bool(true));
                    object.insert(name.to_owned(), sample(schema, root, choices, depth + 1));
                }
            }
            Value::Object(object)
        }
        "array" => {
            let prefix = members.get("prefixItems").and_then(Value::as_array);
            let count = choices(4);
            let item = |index: usize, choices: &mut dyn FnMut(usize) -> usize| {
                let own = prefix.and_then(|prefix| prefix.get(index)).or_else(|| members.get("items"));
                sample(own.unwrap_or(&Value::Bool(true)), root, choices, depth + 1)
            };
            Value::Array((0..count).map(|index| item(index, choices)).collect())
        }
        "string" => json!(["", "a", "b", "aa", "ab", "xyz"][choices(6)]),
        "integer" => json!(choices(8) as i64 - 3),
        "number" => [json!(-1), json!(0.5), json!(2), json!(3.0), json!(4)][choices(5)].clone(),
        "boolean" => json!(choices(2) == 0),
        _ => Value::Null,
    }
}

#[test]
fn events_of_a_compatible_schema_match_the_older_one() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(600);
    let (compatible, matching) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let pair = (
        document(),
        prop_oneof![
            4 => prop::collection::vec((any::<usize>(), schema(), any::<u8>()), 1..4).prop_map(Some),
            1 => Just(None),
        ],
        document(),
        prop::collection::vec(any::<u64>(), 24),
        prop::collection::vec(value(), 8),
    );
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
    let result = TestRunner::new(config).run(&pair, |(base, steps, other, seeds, values)| {
        let changed = steps.map_or(other, |steps| changed(&base, &steps));
        // Both directions of a change.
        for (old, new) in [(&base, &changed), (&changed, &base)] {
            let (Some(reader), Some(writer)) = (compiled(&tolerant(old)), compiled(new)) else { continue };
            if !matches!(compare(old, new), TypeChange::Compatible { .. }) {
                continue;
            }
            compatible.fetch_add(1, Ordering::Relaxed);
            let sampled = seeds.iter().map(|seed| {
                let mut state = *seed;
                let mut choices = |bound: usize| {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (state >> 33) as usize % bound.max(1)
                };
                let from = if seed % 3 == 0 { old } else { new };
                sample(from, from, &mut choices, 0)
            });
            for value in sampled.chain(values.iter().cloned()) {
                if writer.is_valid(&value) {
                    matching.fetch_add(1, Ordering::Relaxed);
                    prop_assert!(
                        reader.is_valid(&value),
                        "{value} is an event of NEW and not of OLD\nOLD {old}\nNEW {new}"
                    );
                }
            }
        }
        Ok(())
    });
    result.unwrap();
    let (compatible, matching) = (compatible.into_inner(), matching.into_inner());
    eprintln!("{compatible} compatible changes, {matching} events");
    assert!(compatible > cases as usize / 20, "{compatible} compatible changes are too few to mean anything");
    assert!(matching > compatible, "{matching} events are too few to mean anything");
}

#[test]
fn event_of_a_schema_matches_it_as_a_page_reads_it() {
    let config = Config { cases: 1000, failure_persistence: None, ..Config::default() };
    let input = (document(), prop::collection::vec(any::<u64>(), 12));
    TestRunner::new(config)
        .run(&input, |(schema, seeds)| {
            let (Some(strict), Some(reader)) = (compiled(&schema), compiled(&tolerant(&schema))) else {
                return Ok(());
            };
            for seed in seeds {
                let mut state = seed;
                let mut choices = |bound: usize| {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (state >> 33) as usize % bound.max(1)
                };
                let value = sample(&schema, &schema, &mut choices, 0);
                prop_assert!(!strict.is_valid(&value) || reader.is_valid(&value), "{value}\n{schema}");
            }
            Ok(())
        })
        .unwrap();
}
