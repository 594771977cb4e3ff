//! The rules of arrays.

use serde_json::{Map, Value};

use super::implication::Proof;
use super::view::SchemaView;

/// The keywords that only arrays have to meet.
pub(super) const KEYWORDS: [&str; 8] =
    ["items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains", "minContains", "maxContains"];

impl<'a> Proof<'a> {
    /// Proves one of [`KEYWORDS`] of a schema with these `rules`.
    pub(super) fn array_rule(
        &mut self,
        new: &SchemaView<'a>,
        keyword: &str,
        rules: &'a Map<String, Value>,
        rule: &'a Value,
        place: &str,
    ) {
        // An array has no item at this index or behind it.
        let end = new.all("maxItems").filter_map(Value::as_u64).min();
        let is_behind_end = |index: usize| end.is_some_and(|end| index as u64 >= end);
        match keyword {
            "prefixItems" => {
                for (index, schema) in rule.as_array().into_iter().flatten().enumerate() {
                    if !is_behind_end(index) {
                        self.part(&new.item(index), schema, &format!("{place}/{index}"));
                    }
                }
            }
            "items" => {
                let begin = rules.get("prefixItems").and_then(Value::as_array).map_or(0, Vec::len);
                // All items behind the prefixes of NEW have the same rules.
                for index in begin..=begin.max(new.prefix()) {
                    if !is_behind_end(index) {
                        self.part(&new.item(index), rule, place);
                    }
                }
            }
            "minItems" | "maxItems" => self.bound_rule(new, keyword, rule, place),
            "uniqueItems" if rule == &Value::Bool(true) && end.is_none_or(|end| end > 1) => {
                self.same_rule(new, keyword, rule, place);
            }
            "contains" => {
                const SAME: [&str; 3] = ["contains", "minContains", "maxContains"];
                let is_same = |schema: &&Map<String, Value>| {
                    SAME.iter().all(|keyword| schema.get(*keyword) == rules.get(*keyword))
                };
                let is_plain = !rule.to_string().contains("ef\"");
                if !(is_plain && new.schemas.iter().any(is_same)) {
                    self.obstacle(place, "NEW has another `contains`, `minContains` or `maxContains`");
                }
            }
            // They belong to `contains`.
            _ => {}
        }
    }
}
