//! `allOf`, `anyOf` and `oneOf` of OLD.

use serde_json::Value;

use super::implication::Proof;
use super::values::{TypeSet, is_equal};
use super::view::SchemaView;

/// Schemas of one list that are compared with each other.
const SCHEMAS_MAX: usize = 64;

impl<'a> Proof<'a> {
    pub(super) fn all_of(&mut self, new: &SchemaView<'a>, rule: &'a Value, place: &str) {
        for (index, schema) in rule.as_array().into_iter().flatten().enumerate() {
            self.schema(new, schema, &format!("{place}/{index}"));
        }
    }

    /// One schema of the list is implied. If each case of NEW implies another one, the caller finds
    /// that out.
    pub(super) fn any_of(&mut self, new: &SchemaView<'a>, rule: &'a Value, place: &str) {
        let mut schemas = rule.as_array().into_iter().flatten().enumerate();
        if !schemas.any(|(index, schema)| self.holds(new, schema, &format!("{place}/{index}"))) {
            self.obstacle(place, "no schema of the list has all values that NEW allows");
        }
    }

    pub(super) fn one_of(&mut self, new: &SchemaView<'a>, rule: &'a Value, place: &str) {
        if rule.as_array().is_some_and(|schemas| are_disjoint(self.old_root(), schemas)) {
            self.any_of(new, rule, place);
        } else {
            self.obstacle(
                place,
                "more than one schema of `oneOf` may match a value: use `anyOf`, or give each a required member with a \
                 `const` of its own",
            );
        }
    }
}

/// Whether a value can match at most one of these schemas, as far as types and members with listed
/// values show it.
pub(super) fn are_disjoint(root: &Value, schemas: &[Value]) -> bool {
    if schemas.len() > SCHEMAS_MAX {
        return false;
    }
    let views: Vec<SchemaView<'_>> = schemas.iter().map(|schema| SchemaView::new(root, [schema])).collect();
    views.iter().enumerate().all(|(index, one)| views[index + 1..].iter().all(|other| excludes(one, other)))
}

fn excludes(one: &SchemaView<'_>, other: &SchemaView<'_>) -> bool {
    let types = one.types().and(other.types());
    if types.is_empty() {
        return true;
    }
    let is_disjoint = |one: Option<Vec<&Value>>, other: Option<Vec<&Value>>| match (one, other) {
        (Some(one), Some(other)) => !one.iter().any(|value| other.iter().any(|other| is_equal(value, other))),
        _ => false,
    };
    if is_disjoint(one.finite(), other.finite()) {
        return true;
    }
    let (required, too) = (one.required(), other.required());
    TypeSet::OBJECT.has(types)
        && required
            .intersection(&too)
            .any(|name| is_disjoint(one.member(name).finite(), other.member(name).finite()))
}
