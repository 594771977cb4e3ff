//! The places at which two schemas differ.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use crate::keywords::join;

/// Places that are listed.
const PLACES_MAX: usize = 100;

/// One place at which two schemas differ, as a JSON pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DifferentPlace {
    /// NEW alone has it.
    Added(String),
    /// OLD alone has it.
    Removed(String),
    /// Both have it, with different values.
    Changed(String),
}

impl fmt::Display for DifferentPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added(pointer) => write!(f, "{pointer}: added"),
            Self::Removed(pointer) => write!(f, "{pointer}: removed"),
            Self::Changed(pointer) => write!(f, "{pointer}: changed"),
        }
    }
}

pub(super) fn different_places(old: &Value, new: &Value) -> Vec<DifferentPlace> {
    let mut places = Vec::new();
    compare("", old, new, &mut places);
    places.truncate(PLACES_MAX);
    places
}

fn compare(pointer: &str, old: &Value, new: &Value, places: &mut Vec<DifferentPlace>) {
    if old == new || places.len() > PLACES_MAX {
        return;
    }
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        places.push(DifferentPlace::Changed(pointer.to_owned()));
        return;
    };
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let place = join(pointer, name);
        match (old.get(name), new.get(name)) {
            (Some(old), Some(new)) => compare(&place, old, new, places),
            (None, _) => places.push(DifferentPlace::Added(place)),
            (Some(_), None) => places.push(DifferentPlace::Removed(place)),
        }
    }
}
