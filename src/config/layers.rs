//! The layers on top of the defaults: what each source sets, as settings of known keys.

use config::{Value, ValueKind};

use super::error::ConfigProblem;
use super::file;
use super::key;
use super::reference::REFERENCE;
use super::source::{Source, Sources};

/// A value that a source gives to a known key. It has no `Debug`: the value is not masked yet.
pub(super) struct Setting {
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) origin: Source,
}

/// The settings of all sources, weakest first, and everything that is wrong with them so far.
pub(super) fn settings(
    sources: &Sources,
    defaults: &serde_json::Value,
) -> (Vec<Setting>, Vec<ConfigProblem>) {
    let (mut settings, mut problems) = sources.file.as_deref().map(file::settings).unwrap_or_default();
    let mut environment: Vec<_> =
        sources.environment.iter().filter(|(name, _)| key::is_variable(name)).collect();
    environment.sort();
    let environment = environment.into_iter().map(|(name, text)| {
        let key = key::of_variable(name);
        // In other letters than the documented ones a variable would be a second name for the same
        // key.
        let known = key::variable(&key) == *name;
        (key, known, text, Source::Environment(name.clone()))
    });
    let flags =
        sources.flags.iter().map(|(key, text, flag)| ((*key).to_owned(), true, text, Source::Flag(flag)));
    for (key, known, text, origin) in environment.chain(flags) {
        match super::load::at(defaults, &key) {
            Some(default) if known && REFERENCE.get(&key).is_some() => {
                settings.push(Setting { value: Value::new(None, typed(text, default)), key, origin });
            }
            _ => problems.push(ConfigProblem::UnknownKey { nearest: key::nearest(&key), key, origin }),
        }
    }
    (settings, problems)
}

/// Reads text as the type that the key's default has. What cannot be read so stays text, for the
/// key's own type to refuse and name.
fn typed(text: &str, default: &serde_json::Value) -> ValueKind {
    let word = text.trim();
    match default {
        serde_json::Value::Number(_) => {
            if let Ok(whole) = word.parse::<i64>() {
                return whole.into();
            }
            match word.parse::<f64>() {
                Ok(number) if number.is_finite() => number.into(),
                _ => text.into(),
            }
        }
        serde_json::Value::Bool(_) => word.parse::<bool>().map_or_else(|_| text.into(), Into::into),
        serde_json::Value::Array(_) if word.is_empty() => Vec::<Value>::new().into(),
        serde_json::Value::Array(_) => word.split(',').map(str::trim).collect::<Vec<_>>().into(),
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_is_read_as_the_type_of_the_default() {
        for (text, default, read) in [
            ("123", json!(""), ValueKind::from("123")),
            ("true", json!("x"), "true".into()),
            (" padded ", json!("x"), " padded ".into()),
            ("123", json!(1), 123_i64.into()),
            (" 0.5 ", json!(1), 0.5.into()),
            ("7", json!(1.5), 7_i64.into()),
            ("ten", json!(1), "ten".into()),
            ("inf", json!(1), "inf".into()),
            ("true", json!(false), true.into()),
            ("yes", json!(false), "yes".into()),
            ("a, b", json!([]), vec!["a", "b"].into()),
            ("", json!([]), Vec::<Value>::new().into()),
        ] {
            assert_eq!(typed(text, &default), read, "{text:?} for {default}");
        }
    }
}
