//! One file of a set: its type, and the rules that a schema has to keep.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

use super::keywords::{join, resolve, walk};
use super::mismatch::bounded;
use super::problem::SchemaProblem;
use tidings_event::frame::EVENT_TYPE_BYTES_MAX;

/// Bytes of one file.
const FILE_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of one compiled `pattern`. It bounds the time of a match, which grows with this size times
/// the size of the text.
const PATTERN_BYTES_MAX: usize = 256 * 1024;

/// References in one file. They are followed one inside of the other.
const REFERENCES_MAX: usize = 1000;

/// Characters of a message of the compiler.
const MESSAGE_CHARACTERS: usize = 300;

/// The dialect, as `$schema` names it.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// A schema as its file has it.
#[derive(Debug, Clone)]
pub(crate) struct SchemaFile {
    pub(crate) path: PathBuf,
    /// The type that the schema itself names.
    pub(crate) event_type: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) schema: Value,
}

impl SchemaFile {
    /// Reads a file. It may have another name than its type.
    pub(crate) fn read(path: &Path) -> Result<Self, SchemaProblem> {
        let unreadable = |reason| SchemaProblem::Unreadable { path: path.to_owned(), reason };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() > FILE_BYTES_MAX {
            let reason = format!("a schema has at most {FILE_BYTES_MAX} bytes");
            return Err(SchemaProblem::TooLarge { path: path.to_owned(), reason });
        }
        let schema: Value = serde_json::from_slice(&bytes).map_err(|error| SchemaProblem::Syntax {
            path: path.to_owned(),
            line: error.line(),
            column: error.column(),
            message: without_place(&error.to_string()),
        })?;
        let event_type = match schema.pointer("/properties/type/const") {
            Some(Value::String(event_type)) if (1..=EVENT_TYPE_BYTES_MAX).contains(&event_type.len()) => {
                event_type.clone()
            }
            _ => {
                let expected = path.file_stem().unwrap_or_default().to_string_lossy();
                return Err(SchemaProblem::Schema {
                    path: path.to_owned(),
                    pointer: "/properties/type/const".to_owned(),
                    message: format!(
                        "the schema names no event type of 1 to {EVENT_TYPE_BYTES_MAX} bytes: write \
                         {{\"properties\":{{\"type\":{{\"const\":{:?}}}}}}}",
                        bounded(&expected, 64)
                    ),
                });
            }
        };
        Ok(Self { path: path.to_owned(), event_type, bytes, schema })
    }

    /// The name of the file without `.json`.
    pub(crate) fn stem(&self) -> String {
        self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Compiles the schema.
    pub(crate) fn compile(&self) -> Result<Validator, SchemaProblem> {
        self.check_dialect()?;
        self.check_references()?;
        jsonschema::options()
            .with_draft(Draft::Draft202012)
            .offline()
            .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES_MAX))
            .build(&self.schema)
            .map_err(|error| {
                let message = bounded(&error.to_string(), MESSAGE_CHARACTERS);
                let pointer = error.instance_path().to_string();
                // Lookaround and back references need an engine that backtracks.
                let hint = if pointer.ends_with("/pattern") || pointer.contains("/patternProperties") {
                    "; a pattern has no lookaround and no back reference, and is small"
                } else {
                    ""
                };
                self.problem(pointer, format!("not valid JSON Schema 2020-12: {message}{hint}"))
            })
    }

    /// Whether a schema refers to itself, so that the depth of an event decides how long a check
    /// takes. True as well for references that are not plain pointers.
    pub(crate) fn is_recursive(&self) -> bool {
        let mut references: HashMap<*const Value, &Value> = HashMap::new();
        let mut is_unclear = false;
        walk("", &self.schema, &mut |_, schema| {
            if schema.get("$dynamicRef").is_some() {
                is_unclear = true;
            }
            if let Some(reference) = schema.get("$ref") {
                match reference.as_str().and_then(|reference| resolve(&self.schema, reference)) {
                    Some(target) => {
                        references.insert(std::ptr::from_ref(schema), target);
                    }
                    None => is_unclear = true,
                }
            }
        });
        is_unclear || has_cycle(&self.schema, &references, &mut HashSet::new(), &mut HashSet::new())
    }

    fn problem(&self, pointer: impl Into<String>, message: String) -> SchemaProblem {
        SchemaProblem::Schema { path: self.path.clone(), pointer: pointer.into(), message }
    }

    fn check_dialect(&self) -> Result<(), SchemaProblem> {
        let named = self.schema.get("$schema");
        if named.is_none_or(|named| named.as_str().is_some_and(|text| text.trim_end_matches('#') == DIALECT))
        {
            return Ok(());
        }
        let message = format!("the dialect is not JSON Schema 2020-12: write {DIALECT:?}, or leave it out");
        Err(self.problem("/$schema", message))
    }

    fn check_references(&self) -> Result<(), SchemaProblem> {
        let (mut problem, mut references, mut has_inner_id) = (None, 0, false);
        walk("", &self.schema, &mut |pointer, schema| {
            has_inner_id |= !pointer.is_empty() && schema.get("$id").is_some();
            for keyword in ["$ref", "$dynamicRef"] {
                let Some(reference) = schema.get(keyword).and_then(Value::as_str) else { continue };
                references += 1;
                let shown = bounded(reference, 100);
                if !reference.starts_with('#') {
                    let message = format!(
                        "{shown:?} is outside of this file, and the broker fetches nothing: copy that schema to \
                         $defs and refer to it as \"#/$defs/NAME\""
                    );
                    problem.get_or_insert_with(|| self.problem(join(pointer, keyword), message));
                } else if reference.starts_with("#/") && resolve(&self.schema, reference).is_none() {
                    let message = format!("{shown:?} does not exist in this file");
                    problem.get_or_insert_with(|| self.problem(join(pointer, keyword), message));
                }
            }
        });
        if references > REFERENCES_MAX {
            let message = format!("{references} references, and a schema has at most {REFERENCES_MAX}");
            return Err(self.problem("", message));
        }
        // An `$id` inside changes the meaning of the pointers below it.
        problem.filter(|_| !has_inner_id).map_or(Ok(()), Err)
    }
}

/// Whether a schema, or one that it refers to, contains a reference back to itself.
fn has_cycle<'a>(
    schema: &'a Value,
    references: &HashMap<*const Value, &'a Value>,
    under_way: &mut HashSet<*const Value>,
    done: &mut HashSet<*const Value>,
) -> bool {
    let place = std::ptr::from_ref(schema);
    if done.contains(&place) {
        return false;
    }
    if !under_way.insert(place) {
        return true;
    }
    let mut targets: Vec<&Value> = Vec::new();
    walk("", schema, &mut |_, inner| targets.extend(references.get(&std::ptr::from_ref(inner)).copied()));
    let found = targets.into_iter().any(|target| has_cycle(target, references, under_way, done));
    under_way.remove(&place);
    done.insert(place);
    found
}

/// The message of the parser without the place at its end.
fn without_place(message: &str) -> String {
    message.rsplit_once(" at line ").map_or(message, |(message, _)| message).to_owned()
}
