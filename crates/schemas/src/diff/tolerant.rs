//! A schema as a page reads it: the page ignores members of objects that it does not know.

use serde_json::{Map, Value};

use super::unions::are_disjoint;

/// Keywords that forbid members without a schema of their own.
const CLOSED: [&str; 2] = ["additionalProperties", "unevaluatedProperties"];

/// Keywords whose schemas have to hold for a value or a part of it. In any other place a schema
/// that allows more could make the whole allow less.
const ONE: [&str; 6] =
    ["items", "additionalProperties", "then", "else", "unevaluatedItems", "unevaluatedProperties"];
const LIST: [&str; 3] = ["prefixItems", "allOf", "anyOf"];
const MAP: [&str; 5] = ["properties", "patternProperties", "dependentSchemas", "$defs", "definitions"];

/// Returns the schema without `"additionalProperties": false` and `"unevaluatedProperties": false`.
/// Every event that matches the schema matches the result too.
#[must_use]
pub fn tolerant(schema: &Value) -> Value {
    // What `not` or `oneOf` refers to has to stay as it is, and may be any part of the schema.
    if has_strict_reference(schema, schema) { schema.clone() } else { open(schema, schema) }
}

fn open(root: &Value, schema: &Value) -> Value {
    let Value::Object(members) = schema else { return schema.clone() };
    let mut opened = Map::new();
    for (keyword, value) in members {
        let name = keyword.as_str();
        let value = match value {
            Value::Bool(false) if CLOSED.contains(&name) => continue,
            Value::Object(schemas) if MAP.contains(&name) => {
                schemas.iter().map(|(name, schema)| (name.clone(), open(root, schema))).collect()
            }
            Value::Array(schemas) if LIST.contains(&name) => {
                schemas.iter().map(|schema| open(root, schema)).collect()
            }
            // At most one schema of a disjoint list matches, closed or not.
            Value::Array(schemas) if name == "oneOf" && are_disjoint(root, schemas) => {
                schemas.iter().map(|schema| open(root, schema)).collect()
            }
            Value::Object(_) if ONE.contains(&name) => open(root, value),
            _ => value.clone(),
        };
        opened.insert(keyword.clone(), value);
    }
    Value::Object(opened)
}

/// Whether a schema in a place that must not be opened refers to another one.
fn has_strict_reference(root: &Value, schema: &Value) -> bool {
    let Value::Object(members) = schema else { return false };
    members.iter().any(|(keyword, value)| {
        let name = keyword.as_str();
        match value {
            Value::Object(schemas) if MAP.contains(&name) => {
                schemas.values().any(|schema| has_strict_reference(root, schema))
            }
            Value::Array(schemas) if LIST.contains(&name) => {
                schemas.iter().any(|schema| has_strict_reference(root, schema))
            }
            Value::Array(schemas) if name == "oneOf" && are_disjoint(root, schemas) => {
                schemas.iter().any(|schema| has_strict_reference(root, schema))
            }
            Value::Object(_) if ONE.contains(&name) => has_strict_reference(root, value),
            Value::Object(_) | Value::Array(_) => {
                let text = value.to_string();
                text.contains("\"$ref\"") || text.contains("\"$dynamicRef\"")
            }
            _ => false,
        }
    })
}
