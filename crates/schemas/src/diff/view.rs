//! A schema as a conjunction of simple schemas, and the values that it can allow at all.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::values::{TypeSet, is_equal};
use crate::keywords::resolve;

/// Schemas in one conjunction. Leaving some out makes it allow more, which is safe.
const SCHEMAS_MAX: usize = 128;

/// Identifies a view within one proof.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SchemaViewKey {
    schemas: Vec<*const Map<String, Value>>,
    case: TypeSet,
    value: Option<*const Value>,
    chosen: usize,
}

/// The values that match all of some schemas.
#[derive(Debug, Clone)]
pub(super) struct SchemaView<'a> {
    root: &'a Value,
    /// The schemas, with those that `$ref` and `allOf` name.
    pub(super) schemas: Vec<&'a Map<String, Value>>,
    /// No value matches.
    never: bool,
    /// The types of one case.
    case: TypeSet,
    /// The value of one case.
    value: Option<&'a Value>,
    /// The lists `anyOf` and `oneOf` of which a schema was taken for this case.
    chosen: Vec<*const Value>,
}

impl<'a> SchemaView<'a> {
    /// The values that match all of `schemas`, which are parts of `root`.
    pub(super) fn new(root: &'a Value, schemas: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut view = Self {
            root,
            schemas: Vec::new(),
            never: false,
            case: TypeSet::ALL,
            value: None,
            chosen: Vec::new(),
        };
        schemas.into_iter().for_each(|schema| view.add(schema));
        view
    }

    /// The same values, as far as they match another schema too.
    pub(super) fn and(&self, schema: &'a Value) -> Self {
        let mut view = self.clone();
        view.add(schema);
        view
    }

    fn add(&mut self, schema: &'a Value) {
        match schema {
            Value::Bool(false) => self.never = true,
            Value::Object(members) => {
                let is_known = self.schemas.iter().any(|known| std::ptr::eq(*known, members));
                if is_known || self.schemas.len() >= SCHEMAS_MAX {
                    return;
                }
                self.schemas.push(members);
                let target = members.get("$ref").and_then(Value::as_str);
                if let Some(target) = target.and_then(|target| resolve(self.root, target)) {
                    self.add(target);
                }
                for schema in members.get("allOf").and_then(Value::as_array).into_iter().flatten() {
                    self.add(schema);
                }
            }
            _ => {}
        }
    }

    /// The values of a keyword in all schemas.
    pub(super) fn all<'b>(&'b self, keyword: &'b str) -> impl Iterator<Item = &'a Value> + 'b {
        self.schemas.iter().filter_map(move |schema| schema.get(keyword))
    }

    /// Whether no value matches, as far as that is easy to see.
    pub(super) fn is_never(&self) -> bool {
        self.never || self.types().is_empty() || self.finite().is_some_and(|values| values.is_empty())
    }

    /// The types that a value can have.
    pub(super) fn types(&self) -> TypeSet {
        let mut types = self.case;
        for schema in &self.schemas {
            if let Some(named) = schema.get("type") {
                types = types.and(TypeSet::named(named));
            }
            if let Some(value) = schema.get("const") {
                types = types.and(TypeSet::of(value));
            }
            if let Some(values) = schema.get("enum").and_then(Value::as_array) {
                types = types.and(values.iter().fold(TypeSet::NONE, |all, value| all.or(TypeSet::of(value))));
            }
        }
        types
    }

    /// All values that can match, if `const` or `enum` lists them.
    pub(super) fn finite(&self) -> Option<Vec<&'a Value>> {
        if let Some(value) = self.value {
            return Some(vec![value]);
        }
        let mut finite: Option<Vec<&'a Value>> = None;
        for schema in &self.schemas {
            let one = schema.get("const").map(std::slice::from_ref);
            let several = schema.get("enum").and_then(Value::as_array).map(Vec::as_slice);
            for listed in [one, several].into_iter().flatten() {
                let is_listed = |value: &&Value| listed.iter().any(|other| is_equal(value, other));
                finite = Some(match finite {
                    None => listed.iter().collect(),
                    Some(values) => values.into_iter().filter(is_listed).collect(),
                });
            }
        }
        let types = self.types_named();
        finite.map(|values| values.into_iter().filter(|value| types.has(TypeSet::of(value))).collect())
    }

    /// The types that `type` and the case leave.
    fn types_named(&self) -> TypeSet {
        self.all("type").fold(self.case, |types, named| types.and(TypeSet::named(named)))
    }

    /// Views that together allow at least all values of this one, each with more known of them. The
    /// cases are those of a list of NEW, or types and values if `by_value`.
    pub(super) fn cases(&self, by_value: bool) -> Option<Vec<Self>> {
        for schema in &self.schemas {
            for list in ["anyOf", "oneOf"].into_iter().filter_map(|keyword| schema.get(keyword)) {
                let is_chosen = self.chosen.iter().any(|chosen| std::ptr::eq(*chosen, list));
                let Some(schemas) = list.as_array().filter(|_| !is_chosen) else { continue };
                let mut rest = self.clone();
                rest.chosen.push(std::ptr::from_ref(list));
                return Some(schemas.iter().map(|schema| rest.and(schema)).collect());
            }
        }
        if !by_value {
            return None;
        }
        let types: Vec<TypeSet> = self.types().each().collect();
        if types.len() > 1 {
            return Some(types.into_iter().map(|case| Self { case, ..self.clone() }).collect());
        }
        match self.finite() {
            Some(values) if values.len() > 1 => {
                Some(values.into_iter().map(|value| Self { value: Some(value), ..self.clone() }).collect())
            }
            _ => None,
        }
    }

    /// What distinguishes this view from others.
    pub(super) fn key(&self) -> SchemaViewKey {
        let mut schemas: Vec<_> = self.schemas.iter().map(|schema| std::ptr::from_ref(*schema)).collect();
        schemas.sort();
        let value = self.value.map(std::ptr::from_ref);
        SchemaViewKey { schemas, case: self.case, value, chosen: self.chosen.len() }
    }

    /// The document of the schemas.
    pub(super) fn root(&self) -> &'a Value {
        self.root
    }

    /// The members that an object must have.
    pub(super) fn required(&self) -> BTreeSet<&'a str> {
        self.all("required").filter_map(Value::as_array).flatten().filter_map(Value::as_str).collect()
    }

    /// The values of a member, if an object has it.
    pub(super) fn member(&self, name: &str) -> Self {
        let of = |schema: &&'a Map<String, Value>| {
            let named = schema.get("properties").and_then(|properties| properties.get(name));
            // A pattern may take the member from `additionalProperties`.
            named.or_else(|| if has_patterns(schema) { None } else { schema.get("additionalProperties") })
        };
        Self::new(self.root, self.schemas.iter().filter_map(of))
    }

    /// The names of members that the schemas mention.
    pub(super) fn member_names(&self) -> BTreeSet<&'a str> {
        self.all("properties").filter_map(Value::as_object).flat_map(Map::keys).map(String::as_str).collect()
    }

    /// The values of members that no schema mentions. One view for each rule that can apply.
    pub(super) fn other_members(&self) -> Vec<Self> {
        let additional = |schema: &&'a Map<String, Value>| schema.get("additionalProperties");
        let unmatched = Self::new(self.root, self.schemas.iter().filter_map(additional));
        let without_patterns = || self.schemas.iter().filter(|schema| !has_patterns(schema));
        let patterns = self.all("patternProperties").filter_map(Value::as_object).flat_map(Map::values);
        let matched = patterns
            .map(|schema| Self::new(self.root, without_patterns().filter_map(additional).chain([schema])));
        std::iter::once(unmatched).chain(matched).collect()
    }

    /// The value at an index of an array.
    pub(super) fn item(&self, index: usize) -> Self {
        let of = |schema: &&'a Map<String, Value>| {
            let prefix = schema.get("prefixItems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            prefix.get(index).or_else(|| schema.get("items"))
        };
        Self::new(self.root, self.schemas.iter().filter_map(of))
    }

    /// The number of items at the beginning that have schemas of their own.
    pub(super) fn prefix(&self) -> usize {
        self.all("prefixItems").filter_map(Value::as_array).map(Vec::len).max().unwrap_or(0)
    }

    /// The names of members.
    pub(super) fn names(&self) -> Self {
        let names = Self::new(self.root, self.all("propertyNames"));
        Self { case: TypeSet::STRING, ..names }
    }
}

fn has_patterns(schema: &Map<String, Value>) -> bool {
    schema.get("patternProperties").and_then(Value::as_object).is_some_and(|patterns| !patterns.is_empty())
}
