//! The places of a schema that hold other schemas (JSON Schema 2020-12, core section 10).

use serde_json::Value;

/// Keywords whose value is one schema.
const ONE: [&str; 12] = [
    "items",
    "contains",
    "additionalProperties",
    "propertyNames",
    "if",
    "then",
    "else",
    "not",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contentSchema",
    "additionalItems",
];

/// Keywords whose value is a list of schemas.
const LIST: [&str; 4] = ["prefixItems", "allOf", "anyOf", "oneOf"];

/// Keywords whose value is an object of schemas.
const MAP: [&str; 5] = ["properties", "patternProperties", "dependentSchemas", "$defs", "definitions"];

/// Calls `visit` for a schema and all schemas inside of it, each with its JSON pointer.
pub(crate) fn walk<'a>(pointer: &str, schema: &'a Value, visit: &mut impl FnMut(&str, &'a Value)) {
    visit(pointer, schema);
    let Value::Object(members) = schema else { return };
    for (keyword, value) in members {
        let place = join(pointer, keyword);
        match value {
            _ if ONE.contains(&keyword.as_str()) => walk(&place, value, visit),
            Value::Array(schemas) if LIST.contains(&keyword.as_str()) => {
                for (index, schema) in schemas.iter().enumerate() {
                    walk(&format!("{place}/{index}"), schema, visit);
                }
            }
            Value::Object(schemas) if MAP.contains(&keyword.as_str()) => {
                for (name, schema) in schemas {
                    walk(&join(&place, name), schema, visit);
                }
            }
            _ => {}
        }
    }
}

/// Adds a name to a JSON pointer (RFC 6901 section 3).
pub(crate) fn join(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Finds the schema that a `$ref` within the same file names: `#`, or a JSON pointer behind it.
/// Other forms, such as anchors, are not found.
pub(crate) fn resolve<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    let pointer = percent_encoding::percent_decode_str(reference.strip_prefix('#')?).decode_utf8().ok()?;
    root.pointer(&pointer)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn walk_visits_schemas_and_no_values() {
        let schema = json!({
            "properties": { "a/b": { "items": { "$ref": "#/$defs/x" } }, "c": true },
            "const": { "$ref": "https://example.com" },
            "enum": [{ "$ref": "https://example.com" }],
            "allOf": [{ "not": {} }],
            "$defs": { "x": {} },
        });
        let mut visited = Vec::new();
        walk("", &schema, &mut |pointer, _| visited.push(pointer.to_owned()));
        visited.sort();
        let expected = [
            "",
            "/$defs/x",
            "/allOf/0",
            "/allOf/0/not",
            "/properties/a~1b",
            "/properties/a~1b/items",
            "/properties/c",
        ];
        assert_eq!(visited, expected);
        assert_eq!(resolve(&schema, "#/$defs/x"), Some(&json!({})));
        assert_eq!(resolve(&schema, "#/properties/a~1b/items/%24ref"), Some(&json!("#/$defs/x")));
        assert_eq!(resolve(&schema, "other#/$defs/x"), None);
    }
}
