//! The rules of objects.

use serde_json::{Map, Value};

use super::implication::Proof;
use super::view::SchemaView;
use crate::keywords::join;

/// The keywords that only objects have to meet.
pub(super) const KEYWORDS: [&str; 9] = [
    "properties",
    "patternProperties",
    "additionalProperties",
    "propertyNames",
    "required",
    "minProperties",
    "maxProperties",
    "dependentRequired",
    "dependentSchemas",
];

impl<'a> Proof<'a> {
    /// Proves one of [`KEYWORDS`] of a schema with these `rules`.
    pub(super) fn object_rule(
        &mut self,
        new: &SchemaView<'a>,
        keyword: &str,
        rules: &'a Map<String, Value>,
        rule: &'a Value,
        place: &str,
    ) {
        match keyword {
            "properties" => self.properties(new, rule, place),
            "patternProperties" => self.pattern_properties(new, rule, place),
            "additionalProperties" => self.additional_properties(new, rules, rule, place),
            "propertyNames" => self.part(&new.names(), rule, place),
            "required" => self.required(new, rule, place),
            "minProperties" => {
                if rule.as_u64().is_none_or(|least| (new.required().len() as u64) < least) {
                    self.bound_rule(new, keyword, rule, place);
                }
            }
            "maxProperties" => {
                let closed = new.schemas.iter().filter_map(|schema| closed_members(schema)).min();
                if rule.as_u64().is_none_or(|most| closed.is_none_or(|members| members > most)) {
                    self.bound_rule(new, keyword, rule, place);
                }
            }
            "dependentRequired" => self.dependent_required(new, rule, place),
            _ => self.dependent_schemas(new, rule, place),
        }
    }

    fn properties(&mut self, new: &SchemaView<'a>, rule: &'a Value, place: &str) {
        for (name, schema) in rule.as_object().into_iter().flatten() {
            let place = join(place, name);
            let member = new.member(name);
            if member.schemas.is_empty() && !member.is_never() {
                let before = self.count();
                self.part(&member, schema, &place);
                if self.count() > before {
                    self.truncate(before);
                    self.obstacle(
                        &place,
                        "NEW says nothing about this member, so it may have any value: keep its schema, or forbid it by \
                         \"additionalProperties\": false",
                    );
                }
            } else {
                self.part(&member, schema, &place);
            }
        }
    }

    fn pattern_properties(&mut self, new: &SchemaView<'a>, rule: &'a Value, place: &str) {
        for (pattern, schema) in rule.as_object().into_iter().flatten() {
            let place = join(place, pattern);
            let same = new.all("patternProperties").filter_map(|patterns| patterns.get(pattern));
            let view = SchemaView::new(new.root(), same.collect::<Vec<_>>());
            self.part(&view, schema, &place);
        }
    }

    /// The members without a schema of their own in OLD.
    fn additional_properties(
        &mut self,
        new: &SchemaView<'a>,
        rules: &'a Map<String, Value>,
        rule: &'a Value,
        place: &str,
    ) {
        let known = rules.get("properties");
        for name in new.member_names() {
            if known.is_none_or(|known| known.get(name).is_none()) {
                self.part(&new.member(name), rule, place);
            }
        }
        for others in new.other_members() {
            self.part(&others, rule, place);
        }
    }

    fn required(&mut self, new: &SchemaView<'a>, rule: &'a Value, place: &str) {
        let required = new.required();
        for name in rule.as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !required.contains(name) {
                self.obstacle(place, format!("NEW does not require {name:?}"));
            }
        }
    }

    fn dependent_required(&mut self, new: &SchemaView<'a>, rule: &'a Value, place: &str) {
        let required = new.required();
        for (name, needed) in rule.as_object().into_iter().flatten() {
            let is_known = |other: &str| {
                required.contains(other)
                    || new.all("dependentRequired").any(|rules| {
                        rules
                            .get(name)
                            .and_then(Value::as_array)
                            .is_some_and(|all| all.iter().any(|one| one == other))
                    })
            };
            let mut needed = needed.as_array().into_iter().flatten().filter_map(Value::as_str);
            if !new.member(name).is_never() && !needed.all(is_known) {
                self.obstacle(&join(place, name), "NEW requires fewer members beside this one");
            }
        }
    }

    fn dependent_schemas(&mut self, new: &SchemaView<'a>, rule: &'a Value, place: &str) {
        for (name, schema) in rule.as_object().into_iter().flatten() {
            let dependent = new.all("dependentSchemas").filter_map(|schemas| schemas.get(name));
            let view =
                dependent.collect::<Vec<_>>().into_iter().fold(new.clone(), |view, schema| view.and(schema));
            if !new.member(name).is_never() {
                self.schema(&view, schema, &join(place, name));
            }
        }
    }
}

/// The number of members of a schema that allows no others.
fn closed_members(schema: &Map<String, Value>) -> Option<u64> {
    let has_patterns =
        schema.get("patternProperties").and_then(Value::as_object).is_some_and(|all| !all.is_empty());
    let is_closed = schema.get("additionalProperties") == Some(&Value::Bool(false)) && !has_patterns;
    let members = schema.get("properties").and_then(Value::as_object).map_or(0, Map::len);
    is_closed.then_some(members as u64)
}
