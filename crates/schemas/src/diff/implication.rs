//! The proof that one schema implies another.

use std::collections::HashMap;

use jsonschema::Draft;
use serde_json::{Map, Value};

use super::Obstacle;
use super::values::TypeSet;
use super::view::{SchemaView, SchemaViewKey};
use crate::keywords::{join, resolve, walk};

/// Steps of one proof. Schemas with many cases in each other could take any number.
const STEPS_MAX: usize = 20_000;

/// Schemas inside of each other.
const DEPTH_MAX: usize = 150;

/// Obstacles of one proof.
const OBSTACLES_MAX: usize = 50;

/// Keywords that allow and forbid nothing.
const ANNOTATIONS: [&str; 16] = [
    "$schema",
    "$id",
    "$anchor",
    "$dynamicAnchor",
    "$comment",
    "$vocabulary",
    "$defs",
    "definitions",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "$recursiveAnchor",
];

/// A pair that is being proven: a view and a schema.
type ProofGoal = (SchemaViewKey, *const Value);

/// A proof that all events of NEW match OLD, with the obstacles that it meets.
#[derive(Debug)]
pub(super) struct Proof<'a> {
    old: &'a Value,
    new: &'a Value,
    obstacles: Vec<Obstacle>,
    steps: usize,
    nesting: usize,
    /// How far the proof has gone into the event.
    depth: usize,
    /// The pairs that are being proven, with the depth. Such a pair further down in an event is
    /// proven by induction over its depth.
    under_way: HashMap<ProofGoal, usize>,
}

impl<'a> Proof<'a> {
    pub(super) fn new(old: &'a Value, new: &'a Value) -> Self {
        Self { old, new, obstacles: Vec::new(), steps: 0, nesting: 0, depth: 0, under_way: HashMap::new() }
    }

    /// Proves the whole.
    pub(super) fn implies(&mut self) {
        for (name, schema) in [("OLD", self.old), ("NEW", self.new)] {
            let mut inner = None;
            walk("", schema, &mut |pointer, schema| {
                if !pointer.is_empty() && schema.get("$id").is_some() {
                    inner.get_or_insert_with(|| join(pointer, "$id"));
                }
            });
            if let Some(pointer) = inner {
                self.obstacle(
                    &pointer,
                    format!("{name} has an `$id` inside, whose references cannot be compared"),
                );
                return;
            }
        }
        let view = SchemaView::new(self.new, [self.new]);
        self.schema(&view, self.old, "");
    }

    /// The obstacles, each once, in the order of their places.
    pub(super) fn into_obstacles(mut self) -> Vec<Obstacle> {
        self.obstacles.sort();
        self.obstacles.dedup();
        self.obstacles
    }

    pub(super) fn old_root(&self) -> &'a Value {
        self.old
    }

    pub(super) fn obstacle(&mut self, pointer: &str, reason: impl Into<String>) {
        if self.obstacles.len() < OBSTACLES_MAX {
            self.obstacles.push(Obstacle { pointer: pointer.to_owned(), reason: reason.into() });
        }
    }

    /// The number of obstacles.
    pub(super) fn count(&self) -> usize {
        self.obstacles.len()
    }

    /// Forgets obstacles behind the first `count`.
    pub(super) fn truncate(&mut self, count: usize) {
        self.obstacles.truncate(count);
    }

    /// Proves that all values of a view match a schema of OLD, for a part of the event.
    pub(super) fn part(&mut self, new: &SchemaView<'a>, old: &'a Value, pointer: &str) {
        self.depth += 1;
        self.schema(new, old, pointer);
        self.depth -= 1;
    }

    /// The same without a trace. Returns whether it succeeds.
    pub(super) fn holds(&mut self, new: &SchemaView<'a>, old: &'a Value, pointer: &str) -> bool {
        let before = self.obstacles.len();
        // A full list would hide an obstacle.
        if before >= OBSTACLES_MAX {
            return false;
        }
        self.schema(new, old, pointer);
        let holds = self.obstacles.len() == before;
        self.obstacles.truncate(before);
        holds
    }

    /// The same for the same part of the event.
    pub(super) fn schema(&mut self, new: &SchemaView<'a>, old: &'a Value, pointer: &str) {
        self.steps += 1;
        if self.steps > STEPS_MAX || self.nesting > DEPTH_MAX {
            self.obstacle(pointer, "too many cases, or too deep: this cannot be compared");
            return;
        }
        if old == &Value::Bool(true) || new.is_never() {
            return;
        }
        let Value::Object(rules) = old else {
            self.obstacle(pointer, "OLD forbids a value here, and NEW may allow one");
            return;
        };
        let pair = (new.key(), std::ptr::from_ref(old));
        match self.under_way.get(&pair) {
            Some(&depth) if depth < self.depth => return,
            Some(_) => {
                self.obstacle(pointer, "a reference leads back to itself: this cannot be compared");
                return;
            }
            None => {}
        }
        if matches_each(new, old) {
            return;
        }
        self.under_way.insert(pair.clone(), self.depth);
        self.nesting += 1;
        let before = self.obstacles.len();
        self.rules(new, rules, pointer);
        if self.obstacles.len() > before
            && before < OBSTACLES_MAX
            && self.holds_in_each_case(new, old, pointer)
        {
            self.obstacles.truncate(before);
        }
        self.nesting -= 1;
        self.under_way.remove(&pair);
    }

    /// Whether the proof succeeds for each case of NEW by itself.
    fn holds_in_each_case(&mut self, new: &SchemaView<'a>, old: &'a Value, pointer: &str) -> bool {
        let room = self.obstacles.len();
        if room >= OBSTACLES_MAX || self.steps > STEPS_MAX {
            return false;
        }
        // A list of OLD may have another schema for each of them.
        let by_value = old.get("anyOf").is_some() || old.get("oneOf").is_some();
        let Some(cases) = new.cases(by_value) else { return false };
        cases.iter().all(|case| self.holds(case, old, pointer))
    }

    /// Proves each keyword of a schema of OLD.
    fn rules(&mut self, new: &SchemaView<'a>, rules: &'a Map<String, Value>, pointer: &str) {
        let types = new.types();
        for (keyword, rule) in rules {
            let place = join(pointer, keyword);
            match keyword.as_str() {
                name if ANNOTATIONS.contains(&name) => {}
                "$ref" => self.reference(new, rule, &place),
                "type" => self.type_rule(new, rule, &place),
                "const" | "enum" => self.value_rule(new, rule, &place),
                "allOf" => self.all_of(new, rule, &place),
                "anyOf" => self.any_of(new, rule, &place),
                "oneOf" => self.one_of(new, rule, &place),
                name @ ("minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum")
                    if types.meets(TypeSet::NUMBER) =>
                {
                    self.bound_rule(new, name, rule, &place);
                }
                "multipleOf" if types.meets(TypeSet::NUMBER) => {
                    self.multiple_rule(new, rule, &place);
                }
                name @ ("minLength" | "maxLength") if types.meets(TypeSet::STRING) => {
                    self.bound_rule(new, name, rule, &place);
                }
                name @ ("pattern" | "contentEncoding" | "contentMediaType" | "contentSchema")
                    if types.meets(TypeSet::STRING) =>
                {
                    self.same_rule(new, name, rule, &place);
                }
                "format" => self.same_rule(new, keyword, rule, &place),
                name if super::arrays::KEYWORDS.contains(&name) && types.meets(TypeSet::ARRAY) => {
                    self.array_rule(new, name, rules, rule, &place);
                }
                name if super::objects::KEYWORDS.contains(&name) && types.meets(TypeSet::OBJECT) => {
                    self.object_rule(new, name, rules, rule, &place);
                }
                // Their meaning depends on `if` beside them.
                "then" | "else" if rules.contains_key("if") => {}
                "if" => self.conditional(new, rules, &place),
                // A schema that both have in common was recognised before.
                "not"
                | "$dynamicRef"
                | "$recursiveRef"
                | "unevaluatedItems"
                | "unevaluatedProperties"
                | "dependencies"
                | "additionalItems" => {
                    let is_plain = !rule.to_string().contains("ef\"");
                    let is_independent = keyword == "not";
                    if !(is_plain && is_independent && new.all(keyword).any(|value| value == rule)) {
                        self.obstacle(&place, format!("`{keyword}` cannot be compared"));
                    }
                }
                // The specification makes an unknown keyword an annotation.
                _ => {}
            }
        }
    }

    fn reference(&mut self, new: &SchemaView<'a>, rule: &Value, place: &str) {
        let reference = rule.as_str().unwrap_or_default();
        match resolve(self.old, reference) {
            Some(target) => self.schema(new, target, reference.trim_start_matches('#')),
            None => self.obstacle(place, "only a reference such as \"#/$defs/NAME\" can be compared"),
        }
    }

    /// `if` with `then` and `else`: the same three, without references.
    fn conditional(&mut self, new: &SchemaView<'a>, rules: &'a Map<String, Value>, place: &str) {
        const KEYWORDS: [&str; 3] = ["if", "then", "else"];
        let is_plain =
            |keyword: &&str| rules.get(*keyword).is_none_or(|rule| !rule.to_string().contains("ef\""));
        let is_same = |schema: &&Map<String, Value>| {
            KEYWORDS.iter().all(|keyword| schema.get(*keyword) == rules.get(*keyword))
        };
        if !(KEYWORDS.iter().all(is_plain) && new.schemas.iter().any(is_same)) {
            self.obstacle(place, "NEW has another `if`, `then` or `else`");
        }
    }
}

/// Whether NEW lists its values, and each of them matches a schema of OLD without references.
fn matches_each(new: &SchemaView<'_>, old: &Value) -> bool {
    let Some(values) = new.finite() else { return false };
    if old.to_string().contains("ef\"") {
        return false;
    }
    let validator = jsonschema::options()
        .with_draft(Draft::Draft202012)
        .offline()
        .with_pattern_options(jsonschema::PatternOptions::regex())
        .build(old);
    validator.is_ok_and(|validator| values.iter().all(|value| validator.is_valid(value)))
}
