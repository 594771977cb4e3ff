//! Sets of schemas as operators write them, right and wrong.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../clients/vectors/schemas");

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

/// The problems of a set without the path of its directory.
fn problems(files: &[(&str, &str)]) -> String {
    let directory = directory(files);
    let error = SchemaSet::read(directory.path()).unwrap_err().to_string();
    error.replace(&format!("{}/", directory.path().display()), "")
}

#[test]
fn version_is_that_of_the_test_vector() {
    let directory = Path::new(VECTORS);
    let set = SchemaSet::read(directory).unwrap();
    let expected = fs::read_to_string(directory.join("version.txt")).unwrap();
    assert_eq!(set.version().to_string(), expected.trim());
    assert_eq!(set.types().collect::<Vec<_>>(), ["channel", "channel-deleted", "channel@2"]);
}

#[test]
fn version_depends_on_each_byte_and_each_name() {
    let schema = |name: &str| format!(r#"{{"properties":{{"type":{{"const":"{name}"}}}}}}"#);
    let version = |files: &[(&str, &str)]| SchemaSet::read(directory(files).path()).unwrap().version();
    let (a, b) = (schema("A"), schema("B"));
    let one = version(&[("A.json", &a)]);
    assert_eq!(one, version(&[("A.json", &a), ("README.md", "text")]));
    assert_ne!(one, version(&[("A.json", &format!("{a}\n"))]));
    assert_ne!(one, version(&[("A.json", &a), ("B.json", &b)]));
}

#[test]
fn each_problem_names_its_file_and_place() {
    let good = r#"{"properties":{"type":{"const":"A"}}}"#;
    for (files, expected) in [
        (&[("A.json", "{\n  \"type\": ?\n}")][..], "A.json:2:11: not JSON: expected value"),
        (&[("A.json", "{}")], "A.json at /properties/type/const: the schema names no event type"),
        (&[("A.json", "true")], "A.json at /properties/type/const: the schema names no event type"),
        (
            &[("B.json", good)],
            "B.json at /properties/type/const: the type is \"A\", and the name of the file says another",
        ),
        (&[("A.json", good), ("B.json", good)], "A.json and B.json: both are for the type \"A\""),
        (
            &[(
                "A.json",
                r#"{"$schema":"http://json-schema.org/draft-07/schema#","properties":{"type":{"const":"A"}}}"#,
            )],
            "A.json at /$schema: the dialect is not JSON Schema 2020-12",
        ),
        (
            &[(
                "A.json",
                r#"{"properties":{"type":{"const":"A"},"b":{"$ref":"https://example.com/b.json"}}}"#,
            )],
            "A.json at /properties/b/$ref: \"https://example.com/b.json\" is outside of this file",
        ),
        (
            &[("A.json", r#"{"properties":{"type":{"const":"A"},"b":{"$ref":"b.json"}}}"#)],
            "A.json at /properties/b/$ref: \"b.json\" is outside of this file",
        ),
        (
            &[("A.json", r##"{"properties":{"type":{"const":"A"},"b":{"$ref":"#/$defs/b"}}}"##)],
            "A.json at /properties/b/$ref: \"#/$defs/b\" does not exist in this file",
        ),
        (
            &[("A.json", r#"{"properties":{"type":{"const":"A"},"b":{"type":"text"}}}"#)],
            "A.json at /properties/b/type: not valid JSON Schema 2020-12",
        ),
        (
            &[("A.json", r#"{"properties":{"type":{"const":"A"},"b":{"pattern":"(?=a)"}}}"#)],
            "a pattern has no lookaround",
        ),
        (
            &[(
                "A.json",
                r#"{"properties":{"type":{"const":"A"},"b":{"pattern":"((a{1,100}){1,100}){1,100}"}}}"#,
            )],
            "a pattern has no lookaround and no back reference, and is small",
        ),
        (&[("README.md", "")], "no file ends in .json"),
    ] {
        let found = problems(files);
        assert!(found.contains(expected), "{found}\nexpected {expected}");
        assert!(found.len() < 1000, "{found}");
    }
}

#[test]
fn all_problems_are_reported_together() {
    let found = problems(&[("A.json", "{}"), ("B.json", "[")]);
    assert_eq!(found.lines().count(), 2, "{found}");
}

#[test]
fn missing_directory_is_a_problem() {
    let error = SchemaSet::read(Path::new("/nowhere/events")).unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/events: cannot be read:"), "{error}");
}

#[test]
fn schema_that_refers_to_itself_is_recursive() {
    let set = |schema: &str| {
        let schema = format!(
            r#"{{"properties":{{"type":{{"const":"A"}},"b":{schema}}},"$defs":{{"x":{{"items":{{"$ref":"{0}x"}}}},"y":{{}},"z":{{"$ref":"{0}y"}}}}}}"#,
            "#/$defs/"
        );
        SchemaSet::read(directory(&[("A.json", &schema)]).path()).unwrap()
    };
    assert!(set("{}").is_recursive(), "a definition that refers to itself counts, used or not");
    let plain = r##"{"properties":{"type":{"const":"A"},"b":{"$ref":"#/$defs/z"}},"$defs":{"y":{},"z":{"$ref":"#/$defs/y"}}}"##;
    assert!(!SchemaSet::read(directory(&[("A.json", plain)]).path()).unwrap().is_recursive());
    let whole = r##"{"properties":{"type":{"const":"A"},"b":{"$ref":"#"}}}"##;
    assert!(SchemaSet::read(directory(&[("A.json", whole)]).path()).unwrap().is_recursive());
    let anchor = r##"{"properties":{"type":{"const":"A"},"b":{"$ref":"#b"}},"$defs":{"b":{"$anchor":"b"}}}"##;
    assert!(SchemaSet::read(directory(&[("A.json", anchor)]).path()).unwrap().is_recursive());
}

#[test]
fn reference_that_leads_back_in_place_does_not_hang() {
    let schema = r##"{"properties":{"type":{"const":"A"},"b":{"$ref":"#/$defs/x"}},"$defs":{"x":{"$ref":"#/$defs/x"}}}"##;
    let directory = directory(&[("A.json", schema)]);
    // Either result is right, as long as there is one.
    if let Ok(set) = SchemaSet::read(directory.path()) {
        let _ = set.check(br#"{"type":"A","b":1}"#);
    }
}
