//! Compares two sets of schemas: do pages that were built for OLD understand all events that NEW
//! allows?
//!
//! | part | contents |
//! | --- | --- |
//! | [`implication`] | the proof that NEW implies each rule of OLD |
//! | [`view`] | a schema as a conjunction, and the values that it allows |
//! | [`objects`], [`arrays`], [`values`] | the rules of keywords, by the type that they apply to |
//! | [`unions`] | `anyOf`, `oneOf`, and the cases of NEW |
//! | [`lines`] | the places at which two schemas differ |
//! | [`mod@tolerant`] | OLD as a page reads it, which ignores members that it does not know |
//!
//! The proof is conservative. It follows each rule of OLD and looks for rules of NEW that imply it.
//! A rule of OLD without such a proof makes the change incompatible, with the keyword.

mod arrays;
mod implication;
mod lines;
mod objects;
mod tolerant;
mod unions;
mod values;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use serde_json::Value;

use super::file::SchemaFile;
use super::problem::{SchemaError, SchemaProblem};
use super::set::read_files;
use implication::Proof;

pub use lines::DifferentPlace;
pub use tolerant::tolerant;

/// The result for one event type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypeChange {
    /// Both schemas are the same JSON.
    Same,
    /// OLD has no schema of this type.
    Added,
    /// NEW has no schema of this type.
    Removed {
        /// The caller says that no page uses the type any more.
        is_intended: bool,
    },
    /// Pages that were built for OLD understand all events that NEW allows.
    Compatible {
        /// The places at which the schemas differ.
        places: Vec<DifferentPlace>,
        /// The place of a rule of NEW that an event of OLD may break, if there is one. Publishers
        /// that were built for OLD may send such an event.
        older_events: Option<String>,
    },
    /// Some events of NEW may be unknown to pages that were built for OLD.
    Incompatible {
        /// The rules of OLD that NEW does not imply.
        obstacles: Vec<Obstacle>,
        /// The places at which the schemas differ.
        places: Vec<DifferentPlace>,
    },
}

/// A rule that is not implied.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Obstacle {
    /// The place of the rule in its schema, as a JSON pointer that ends in the keyword.
    pub pointer: String,
    /// The reason.
    pub reason: String,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", if self.pointer.is_empty() { "/" } else { &self.pointer }, self.reason)
    }
}

impl TypeChange {
    /// Whether pages that were built for OLD go on to work.
    #[must_use]
    pub fn is_compatible(&self) -> bool {
        !matches!(self, Self::Incompatible { .. } | Self::Removed { is_intended: false })
    }
}

/// Compares two directories, or two files. `removed` has the types that no page uses any more.
///
/// # Errors
///
/// Everything that is wrong with the files.
pub fn compare_paths(
    old: &Path,
    new: &Path,
    removed: &[String],
) -> Result<BTreeMap<String, TypeChange>, SchemaError> {
    let (old, new) = (read(old), read(new));
    let (old, new) = match (old, new) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(error), _) | (Ok(_), Err(error)) => return Err(error),
    };
    // A file that is no schema would be compared by accident.
    let problems: Vec<SchemaProblem> =
        old.values().chain(new.values()).filter_map(|file| file.compile().err()).collect();
    if !problems.is_empty() {
        return Err(SchemaError::new(problems));
    }
    let types: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let change = |event_type: &String| match (old.get(event_type), new.get(event_type)) {
        (Some(old), Some(new)) => compare(&old.schema, &new.schema),
        (Some(_), None) => TypeChange::Removed { is_intended: removed.contains(event_type) },
        (None, _) => TypeChange::Added,
    };
    Ok(types.into_iter().map(|event_type| (event_type.clone(), change(event_type))).collect())
}

/// Compares two schemas of one type.
#[must_use]
pub fn compare(old: &Value, new: &Value) -> TypeChange {
    if old == new {
        return TypeChange::Same;
    }
    let places = lines::different_places(old, new);
    let obstacles = broken_rules(&tolerant(old), new);
    if obstacles.is_empty() {
        let older_events = broken_rules(new, old).into_iter().next().map(|obstacle| obstacle.pointer);
        TypeChange::Compatible { places, older_events }
    } else {
        TypeChange::Incompatible { obstacles, places }
    }
}

/// The rules of `old` that `new` does not imply.
fn broken_rules(old: &Value, new: &Value) -> Vec<Obstacle> {
    let mut proof = Proof::new(old, new);
    proof.implies();
    proof.into_obstacles()
}

/// The schemas of a directory, or the one of a file.
fn read(path: &Path) -> Result<BTreeMap<String, SchemaFile>, SchemaError> {
    if path.is_dir() {
        return read_files(path);
    }
    let file = SchemaFile::read(path)?;
    Ok(BTreeMap::from([(file.event_type.clone(), file)]))
}

#[cfg(test)]
mod tests;
