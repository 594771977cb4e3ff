//! The reason for which an event does not match, as a bounded text. It has the place and the rule,
//! and no value of the event.

use std::fmt;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use super::problem::ShownPlace;

/// Characters of a JSON pointer.
const PLACE_CHARACTERS: usize = 200;

/// Characters of a name: a type, or a member of an object.
const NAME_CHARACTERS: usize = 64;

/// Characters of a value of the schema.
const RULE_CHARACTERS: usize = 200;

/// An event that does not match the schemas.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The payload is not JSON.
    #[error("it is not JSON: {0}")]
    NotJson(String),
    /// The payload names no type.
    #[error("it is not a JSON object with a text as its `type`")]
    NoType,
    /// The payload has the member `type` twice.
    #[error("it has two members `type`")]
    TwoTypes,
    /// The type has no schema.
    #[error("its type {event_type:?} has no schema{}", Nearest(nearest.as_deref()))]
    NoSchema {
        /// The type, bounded.
        event_type: String,
        /// The type with a schema that is most like it.
        nearest: Option<String>,
    },
    /// The payload breaks a rule of its schema.
    #[error("{0}")]
    Violation(Violation),
}

impl Mismatch {
    pub(crate) fn no_schema(event_type: &str, nearest: Option<&str>) -> Self {
        Self::NoSchema {
            event_type: bounded(event_type, NAME_CHARACTERS),
            nearest: nearest.map(str::to_owned),
        }
    }
}

/// A broken rule of a schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at {}, {rule} (schema {event_type})", ShownPlace(place))]
pub struct Violation {
    /// The type of the event.
    pub event_type: String,
    /// The place in the payload, as a JSON pointer.
    pub place: String,
    /// The rule: the keyword of the schema, and its value if that helps.
    pub rule: String,
}

impl Violation {
    pub(crate) fn new(event_type: &str, error: &ValidationError<'_>) -> Self {
        Self {
            event_type: event_type.to_owned(),
            place: bounded(&error.instance_path().to_string(), PLACE_CHARACTERS),
            rule: rule(error.kind()),
        }
    }
}

/// The rule of an error. It has values of the schema, and names of members, but no other part of
/// the event.
fn rule(kind: &ValidationErrorKind) -> String {
    use ValidationErrorKind as Kind;
    let limit = |limit: &dyn fmt::Display| format!("`{}` is {limit}", kind.keyword());
    let value = |value: &Value| bounded(&format!("`{}` is {value}", kind.keyword()), RULE_CHARACTERS);
    let first = |names: &[String]| {
        let name = names.first().map(|name| bounded(name, NAME_CHARACTERS)).unwrap_or_default();
        let more = names.len().saturating_sub(1);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("`{}` forbids {name}{more}", kind.keyword())
    };
    match kind {
        Kind::Required { property } => {
            bounded(&format!("`required` has {property}, which is missing"), RULE_CHARACTERS)
        }
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            first(unexpected)
        }
        Kind::Type { kind: jsonschema::error::TypeKind::Single(expected) } => limit(expected),
        Kind::Type { kind: jsonschema::error::TypeKind::Multiple(expected) } => {
            let names: Vec<String> = expected.iter().map(|name| name.to_string()).collect();
            limit(&names.join(" or "))
        }
        Kind::Constant { expected_value } => value(expected_value),
        Kind::Enum { options } => value(options),
        Kind::Maximum { limit: bound }
        | Kind::Minimum { limit: bound }
        | Kind::ExclusiveMaximum { limit: bound }
        | Kind::ExclusiveMinimum { limit: bound } => value(bound),
        Kind::MaxLength { limit: bound }
        | Kind::MinLength { limit: bound }
        | Kind::MaxItems { limit: bound }
        | Kind::MinItems { limit: bound }
        | Kind::MaxProperties { limit: bound }
        | Kind::MinProperties { limit: bound } => limit(bound),
        Kind::MultipleOf { multiple_of } => limit(multiple_of),
        Kind::Pattern { pattern } => bounded(&format!("`pattern` is {pattern}"), RULE_CHARACTERS),
        Kind::PropertyNames { error } => {
            bounded(&format!("`propertyNames`: {}", rule(error.kind())), RULE_CHARACTERS)
        }
        Kind::FalseSchema => "the schema forbids a value here".to_owned(),
        Kind::OneOfMultipleValid { .. } => "more than one schema of `oneOf` matches".to_owned(),
        Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } => {
            format!("no schema of `{}` matches", kind.keyword())
        }
        _ => format!("`{}` is not met", bounded(kind.keyword(), NAME_CHARACTERS)),
    }
}

/// Returns the beginning of a text, of so many characters.
pub(crate) fn bounded(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The known type that is most like a text, if one is.
pub(crate) fn nearest<'a>(text: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const LIKE: f64 = 0.85;
    // The comparison takes the product of both lengths.
    if text.chars().count() > NAME_CHARACTERS {
        return None;
    }
    let rated = known.map(|name| (strsim::jaro_winkler(text, name), name)).filter(|(like, _)| *like > LIKE);
    rated.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, name)| name)
}

struct Nearest<'a>(Option<&'a str>);

impl fmt::Display for Nearest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => write!(f, ": did you mean {name:?}?"),
            None => f.write_str(": add one to the directory of schemas"),
        }
    }
}

#[cfg(test)]
mod tests;
