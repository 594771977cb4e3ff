//! All schemas of a directory, compiled once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::file::SchemaFile;
use super::mismatch::{Mismatch, Violation, nearest};
use super::problem::{SchemaError, SchemaProblem};
use tidings_event::SchemaVersion;
use tidings_event::frame::event_type;

/// Files of one set.
const FILES_MAX: usize = 1000;

/// The schemas of a node, by event type.
#[derive(Debug)]
pub struct SchemaSet {
    schemas: BTreeMap<String, Validator>,
    version: SchemaVersion,
    is_recursive: bool,
}

impl SchemaSet {
    /// Reads and compiles each file `*.json` of a directory. Thus it blocks.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the files, each with its place.
    pub fn read(directory: &Path) -> Result<Self, SchemaError> {
        let files = read_files(directory)?;
        let (mut schemas, mut problems) = (BTreeMap::new(), Vec::new());
        for (event_type, file) in &files {
            match file.compile() {
                Ok(validator) => {
                    schemas.insert(event_type.clone(), validator);
                }
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(SchemaError::new(problems));
        }
        let is_recursive = files.values().any(SchemaFile::is_recursive);
        Ok(Self { schemas, version: version(&files), is_recursive })
    }

    /// The event types that have a schema, in byte order.
    pub fn types(&self) -> impl ExactSizeIterator<Item = &str> {
        self.schemas.keys().map(String::as_str)
    }

    /// The version of the set.
    #[must_use]
    pub fn version(&self) -> SchemaVersion {
        self.version
    }

    /// Whether a schema refers to itself. Then the depth of an event decides how long a check
    /// takes, and not its size alone.
    #[must_use]
    pub fn is_recursive(&self) -> bool {
        self.is_recursive
    }

    /// Checks a payload by the schema of its type.
    ///
    /// # Errors
    ///
    /// [`Mismatch`] has the place and the rule.
    pub fn check(&self, payload: &[u8]) -> Result<(), Mismatch> {
        let text =
            std::str::from_utf8(payload).map_err(|_| Mismatch::NotJson("it is not UTF-8".to_owned()))?;
        let event: Value =
            serde_json::from_str(text).map_err(|error| Mismatch::NotJson(error.to_string()))?;
        let Some(Value::String(named)) = event.get("type") else { return Err(Mismatch::NoType) };
        let Some(validator) = self.schemas.get(named) else {
            return Err(Mismatch::no_schema(named, nearest(named, self.types())));
        };
        // The parser of a page takes the last of two members, the filter of a stream the first.
        if event_type(text).as_deref() != Some(named) {
            return Err(Mismatch::TwoTypes);
        }
        // Far faster than the error, which most events do not need.
        if validator.is_valid(&event) {
            return Ok(());
        }
        match validator.validate(&event) {
            Ok(()) => Ok(()),
            Err(error) => Err(Mismatch::Violation(Violation::new(named, &error))),
        }
    }
}

/// Reads all schemas of a directory, by type. Does not compile them.
pub(crate) fn read_files(directory: &Path) -> Result<BTreeMap<String, SchemaFile>, SchemaError> {
    let paths = paths(directory)?;
    let (mut files, mut problems) = (BTreeMap::<String, SchemaFile>::new(), Vec::new());
    for path in &paths {
        match SchemaFile::read(path) {
            Ok(file) => match files.get(&file.event_type) {
                Some(first) => problems.push(SchemaProblem::Twice {
                    event_type: file.event_type,
                    first: first.path.clone(),
                    second: file.path,
                }),
                None => {
                    files.insert(file.event_type.clone(), file);
                }
            },
            Err(problem) => problems.push(problem),
        }
    }
    for file in files.values().filter(|file| file.stem() != file.event_type) {
        problems.push(SchemaProblem::Schema {
            path: file.path.clone(),
            pointer: "/properties/type/const".to_owned(),
            message: format!(
                "the type is {:?}, and the name of the file says another: rename the file to {0}.json, or correct the type",
                file.event_type
            ),
        });
    }
    if problems.is_empty() { Ok(files) } else { Err(SchemaError::new(problems)) }
}

/// The files of a directory that are schemas, in the order of their names.
fn paths(directory: &Path) -> Result<Vec<PathBuf>, SchemaProblem> {
    let unreadable = |reason| SchemaProblem::Unreadable { path: directory.to_owned(), reason };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        // A link to a file counts, as a volume of Kubernetes has them.
        if path.extension().is_some_and(|extension| extension == "json") && path.is_file() {
            paths.push(path);
        }
        if paths.len() > FILES_MAX {
            let reason = format!("a set has at most {FILES_MAX} schemas");
            return Err(SchemaProblem::TooLarge { path: directory.to_owned(), reason });
        }
    }
    if paths.is_empty() {
        return Err(SchemaProblem::Empty { path: directory.to_owned() });
    }
    paths.sort();
    Ok(paths)
}

/// The first 16 hexadecimal digits of the SHA-256 of all files, in the byte order of their types.
/// Each adds its type, a zero byte, its bytes, and a zero byte.
fn version(files: &BTreeMap<String, SchemaFile>) -> SchemaVersion {
    let mut digest = Sha256::new();
    for (event_type, file) in files {
        digest.update(event_type);
        digest.update([0]);
        digest.update(&file.bytes);
        digest.update([0]);
    }
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(digest.finalize());
    SchemaVersion::new([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests;
