//! Types and single values: `type`, `const`, `enum`, and the rules of numbers and strings.

use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::implication::Proof;
use super::view::SchemaView;

/// Some of the types of JSON. Numbers are integers and fractions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TypeSet(u8);

/// The name of each bit.
const TYPES: [&str; 7] = ["null", "boolean", "integer", "fraction", "string", "array", "object"];

impl TypeSet {
    pub(super) const NONE: Self = Self(0);
    pub(super) const ALL: Self = Self(0b111_1111);
    pub(super) const NUMBER: Self = Self(0b000_1100);
    pub(super) const STRING: Self = Self(0b001_0000);
    pub(super) const ARRAY: Self = Self(0b010_0000);
    pub(super) const OBJECT: Self = Self(0b100_0000);

    /// The types that the keyword `type` names.
    pub(super) fn named(keyword: &Value) -> Self {
        let one = |name: &str| match name {
            "number" => Self::NUMBER,
            name => TYPES.iter().position(|known| *known == name).map_or(Self::ALL, |bit| Self(1 << bit)),
        };
        match keyword {
            Value::String(name) => one(name),
            Value::Array(names) => {
                names.iter().filter_map(Value::as_str).fold(Self::NONE, |all, name| all.or(one(name)))
            }
            _ => Self::ALL,
        }
    }

    /// The type of a value. 1.0 is an integer (JSON Schema 2020-12, core section 6.1.1).
    pub(super) fn of(value: &Value) -> Self {
        Self(
            1 << match value {
                Value::Null => 0,
                Value::Bool(_) => 1,
                Value::Number(number) => match number.as_f64() {
                    Some(float) if number.is_f64() && float.fract() != 0.0 => 3,
                    _ => 2,
                },
                Value::String(_) => 4,
                Value::Array(_) => 5,
                Value::Object(_) => 6,
            },
        )
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(super) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each type alone.
    pub(super) fn each(self) -> impl Iterator<Item = Self> {
        (0..TYPES.len()).map(|bit| Self(1 << bit)).filter(move |one| self.has(*one))
    }
}

impl std::fmt::Display for TypeSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut names: Vec<&str> =
            (0..TYPES.len()).filter(|bit| self.0 & 1 << bit != 0).map(|bit| TYPES[bit]).collect();
        if self.has(Self::NUMBER) {
            names.retain(|name| !matches!(*name, "integer" | "fraction"));
            names.push("number");
        }
        f.write_str(&names.join(" or "))
    }
}

/// Whether two values are equal as JSON Schema sees them: 1 and 1.0 are.
pub(super) fn is_equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => compare(one, other) == Some(Ordering::Equal),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| is_equal(value, other)))
        }
        _ => one == other,
    }
}

/// Compares two numbers exactly.
fn compare(one: &Number, other: &Number) -> Option<Ordering> {
    /// Beyond it a float is no exact `i128`; every integer of JSON is far below.
    const LARGE: f64 = 1e30;
    let integer =
        |number: &Number| number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    let mixed = |integer: i128, float: f64| {
        if float.abs() > LARGE {
            return if float > 0.0 { Ordering::Less } else { Ordering::Greater };
        }
        let floor = float.floor();
        integer.cmp(&(floor as i128)).then(if float > floor { Ordering::Less } else { Ordering::Equal })
    };
    match (integer(one), integer(other)) {
        (Some(one), Some(other)) => Some(one.cmp(&other)),
        (Some(one), None) => Some(mixed(one, other.as_f64()?)),
        (None, Some(other)) => Some(mixed(other, one.as_f64()?).reverse()),
        (None, None) => one.as_f64()?.partial_cmp(&other.as_f64()?),
    }
}

/// Whether every number that is `keyword` `bound` away is so for `other` too.
fn is_as_strict(keyword: &str, bound: &Value, than: &Value) -> bool {
    let (Value::Number(bound), Value::Number(than)) = (bound, than) else { return false };
    let wanted = if is_lower_bound(keyword) { Ordering::Less } else { Ordering::Greater };
    compare(bound, than).is_some_and(|order| order != wanted)
}

fn is_lower_bound(keyword: &str) -> bool {
    keyword.starts_with("min") || keyword == "exclusiveMinimum"
}

impl<'a> Proof<'a> {
    pub(super) fn type_rule(&mut self, new: &SchemaView<'a>, rule: &Value, pointer: &str) {
        let (old, new) = (TypeSet::named(rule), new.types());
        if !old.has(new) {
            self.obstacle(pointer, format!("NEW allows {new}, and OLD {old}"));
        }
    }

    /// `const` and `enum`.
    pub(super) fn value_rule(&mut self, new: &SchemaView<'a>, rule: &Value, pointer: &str) {
        let allowed = match rule {
            Value::Array(values) if pointer.ends_with("/enum") => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        match new.finite() {
            Some(values) => {
                let unknown =
                    values.iter().find(|value| !allowed.iter().any(|allowed| is_equal(value, allowed)));
                if let Some(unknown) = unknown {
                    let shown = crate::mismatch::bounded(&unknown.to_string(), 64);
                    self.obstacle(pointer, format!("NEW allows {shown}, which OLD does not list"));
                }
            }
            None => self.obstacle(pointer, "OLD lists the values, and NEW allows others"),
        }
    }

    /// Bounds: the same keyword of NEW with a value that is as strict.
    pub(super) fn bound_rule(&mut self, new: &SchemaView<'a>, keyword: &str, rule: &Value, pointer: &str) {
        let mut stricter = new.all(keyword).any(|bound| is_as_strict(keyword, bound, rule));
        // An exclusive bound excludes more.
        stricter |= match keyword {
            "minimum" => new.all("exclusiveMinimum").any(|bound| is_as_strict("minimum", bound, rule)),
            "maximum" => new.all("exclusiveMaximum").any(|bound| is_as_strict("maximum", bound, rule)),
            "exclusiveMinimum" => new.all("minimum").any(|bound| is_beyond(keyword, bound, rule)),
            "exclusiveMaximum" => new.all("maximum").any(|bound| is_beyond(keyword, bound, rule)),
            _ => false,
        };
        if !stricter {
            let word = if is_lower_bound(keyword) { "less" } else { "more" };
            self.obstacle(pointer, format!("NEW allows {word} than {rule}"));
        }
    }

    /// `multipleOf`: a whole multiple, or the same number.
    pub(super) fn multiple_rule(&mut self, new: &SchemaView<'a>, rule: &Value, pointer: &str) {
        let is_multiple = |factor: &Value| match (factor.as_u64(), rule.as_u64()) {
            (Some(factor), Some(rule)) => rule != 0 && factor % rule == 0,
            _ => factor == rule,
        };
        if !new.all("multipleOf").any(is_multiple) {
            self.obstacle(pointer, format!("NEW allows numbers that are no multiple of {rule}"));
        }
    }

    /// Rules that only the same value of the same keyword is known to imply.
    pub(super) fn same_rule(&mut self, new: &SchemaView<'a>, keyword: &str, rule: &Value, pointer: &str) {
        if !new.all(keyword).any(|value| value == rule) {
            self.obstacle(pointer, format!("NEW has another `{keyword}`, or none"));
        }
    }
}

/// Whether an inclusive bound lies behind an exclusive one.
fn is_beyond(keyword: &str, bound: &Value, rule: &Value) -> bool {
    let (Value::Number(bound), Value::Number(rule)) = (bound, rule) else { return false };
    let wanted = if is_lower_bound(keyword) { Ordering::Greater } else { Ordering::Less };
    compare(bound, rule) == Some(wanted)
}
