//! Loading: the layers are merged, read into [`Config`], and checked.

use std::collections::HashMap;
use std::fmt;

use config::{FileFormat, ValueKind};
use serde::Serialize;
use serde_json::Value as Json;

use super::error::{ConfigError, ConfigProblem};
use super::layers::{self, Setting};
use super::reference::{DEFAULT_TOML, REFERENCE};
use super::source::{Source, Sources};
use super::{Config, key, secret, validate};
use tidings_settings::MASK;

/// A checked configuration, and where each of its values comes from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    pub(super) values: Vec<EffectiveValue>,
}

/// A value in force, to be shown.
#[derive(Debug, Clone, Serialize)]
pub struct EffectiveValue {
    /// The dotted key, such as `server.listen`.
    #[serde(skip)]
    pub key: &'static str,
    /// The value as the sources give it, masked where it is secret.
    pub value: Json,
    /// Where it comes from.
    pub source: Source,
    /// The value itself, to compare it with another one.
    #[serde(skip)]
    pub(super) unmasked: UnmaskedValue,
}

/// A value that may be secret. It can be compared, and nothing shows it.
#[derive(Clone, PartialEq)]
pub(super) struct UnmaskedValue(Json);

impl fmt::Debug for UnmaskedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Loaded {
    /// Every value in force, in the order of `config/default.toml`.
    #[must_use]
    pub fn values(&self) -> &[EffectiveValue] {
        &self.values
    }
}

impl Config {
    /// The defaults, without any other source.
    ///
    /// # Panics
    ///
    /// Never: the defaults are compiled in, and a test reads them.
    #[must_use]
    pub fn defaults() -> Self {
        match Sources::default().load() {
            Ok(loaded) => loaded.config,
            Err(error) => unreachable!("{error}"),
        }
    }
}

impl Sources {
    /// What is set and not read although it looks as if it should be, in words.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let warning = |name: &String| {
            let meant = key::meant(name)?;
            Some(format!("{name} is not read: did you mean {meant}, with two underscores?"))
        };
        self.environment.iter().filter_map(|(name, _)| warning(name)).collect()
    }

    /// Reads all sources and checks the result. Reads the file, if there is one, and thus blocks.
    ///
    /// # Errors
    ///
    /// Everything that is wrong: first with files, keys and types, and where these are right, with
    /// values.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let (defaults, _) = merge(vec![]).map_err(|problem| ConfigError::new(vec![problem]))?;
        let (settings, mut problems) = layers::settings(self, &defaults);
        let (merged, mut origins) = merge(settings).map_err(|problem| ConfigError::new(vec![problem]))?;
        let copied: Vec<&str> = REFERENCE
            .keys()
            .filter(|key| at(&merged, key).is_some_and(|value| secret::is_mask(key, value)))
            .collect();
        let values: Vec<_> = REFERENCE
            .keys()
            .map(|key| EffectiveValue {
                key,
                value: secret::masked(key, at(&merged, key).unwrap_or(&Json::Null)),
                unmasked: UnmaskedValue(at(&merged, key).cloned().unwrap_or(Json::Null)),
                source: origins.remove(key).unwrap_or(Source::Default),
            })
            .collect();
        let mut config = match read(merged, &defaults, &values) {
            Ok(config) if problems.is_empty() => config,
            Ok(_) => return Err(ConfigError::new(problems)),
            Err(more) => {
                problems.extend(more);
                return Err(ConfigError::new(problems));
            }
        };
        let mut problems = validate::problems(&config, &values);
        let copied = values.iter().filter(|value| copied.contains(&value.key));
        problems.extend(
            copied.map(|value| ConfigProblem::Value { found: value.into(), expected: UNMASKED.to_owned() }),
        );
        config.fit_reply_bytes();
        if problems.is_empty() { Ok(Loaded { config, values }) } else { Err(ConfigError::new(problems)) }
    }
}

const UNMASKED: &str = "the secret itself: *** is what `tidings config` shows in its place";

/// The value of a dotted key in a tree.
pub(super) fn at<'tree>(tree: &'tree Json, key: &str) -> Option<&'tree Json> {
    tree.pointer(&pointer(key))
}

fn pointer(key: &str) -> String {
    format!("/{}", key.replace('.', "/"))
}

/// Lays settings over the defaults, later ones over earlier ones. Returns the source of each key
/// that is set too.
fn merge(settings: Vec<Setting>) -> Result<(Json, HashMap<String, Source>), ConfigProblem> {
    let mut origins = HashMap::new();
    let defaults = config::File::from_str(DEFAULT_TOML, FileFormat::Toml);
    let mut builder = config::Config::builder().add_source(defaults);
    for Setting { key, value, origin } in settings {
        builder = builder.set_override(&key, value).map_err(|error| defect(&error))?;
        origins.insert(key, origin);
    }
    let merged = builder.build().map_err(|error| defect(&error))?;
    Ok((json(merged.cache.kind), origins))
}

fn defect(error: &config::ConfigError) -> ConfigProblem {
    ConfigProblem::Defaults(error.to_string())
}

/// The same value as JSON. `config` itself would deserialize too leniently: it rounds 1.5 to 2
/// where a whole number is wanted, and takes "yes" for true.
fn json(kind: ValueKind) -> Json {
    match kind {
        ValueKind::Nil => Json::Null,
        ValueKind::Boolean(value) => value.into(),
        ValueKind::I64(value) => value.into(),
        ValueKind::U64(value) => value.into(),
        ValueKind::I128(value) => value.to_string().into(),
        ValueKind::U128(value) => value.to_string().into(),
        // JSON has no infinity and no NaN; neither is a value of any key, and the text says what
        // was found.
        ValueKind::Float(value) if !value.is_finite() => value.to_string().into(),
        ValueKind::Float(value) => value.into(),
        ValueKind::String(value) => value.into(),
        ValueKind::Array(values) => values.into_iter().map(|value| json(value.kind)).collect(),
        ValueKind::Table(table) => table.into_iter().map(|(name, value)| (name, json(value.kind))).collect(),
    }
}

/// Reads the merged tree into its types. A refused value is recorded and reset to its default, so
/// that the next round finds the next one. The operator sees all of them at once.
fn read(mut tree: Json, defaults: &Json, values: &[EffectiveValue]) -> Result<Config, Vec<ConfigProblem>> {
    let mut problems = Vec::new();
    loop {
        let error = match serde_path_to_error::deserialize::<_, Config>(&tree) {
            Ok(config) if problems.is_empty() => return Ok(config),
            Ok(_) => return Err(problems),
            Err(error) => error,
        };
        let path = error.path().to_string();
        let value = values.iter().find(|value| covers(value.key, &path));
        let reset = value.and_then(|value| {
            let default = at(defaults, value.key)?;
            let slot = tree.pointer_mut(&pointer(value.key))?;
            (slot != default).then(|| *slot = default.clone())
        });
        let (Some(value), Some(())) = (value, reset) else {
            problems.push(ConfigProblem::Defaults(format!("{path}: {}", expected(error.inner()))));
            return Err(problems);
        };
        problems.push(ConfigProblem::Value { found: value.into(), expected: expected(error.inner()) });
    }
}

/// Whether a path is the key's own or leads into its value, as `cors.origins[0]` does.
fn covers(key: &str, path: &str) -> bool {
    path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
}

/// The values that a type accepts, in words of TOML. Only the text behind the last "expected" of
/// serde's message counts: the text before it repeats the value, which may be secret.
fn expected(error: &serde_json::Error) -> String {
    let message = error.to_string();
    match message.rsplit_once("expected ") {
        Some((_, "usize" | "u64")) => "a whole number that is not negative".to_owned(),
        Some((_, "a boolean")) => "true or false".to_owned(),
        Some((_, "a string" | "string or map")) => "text in quotes".to_owned(),
        Some((_, "a sequence")) => "a list such as [\"a\", \"b\"]".to_owned(),
        Some((_, other)) => other.replace('`', "\""),
        // This names a field, and no value.
        None if message.starts_with("missing field") => message,
        None => "another value".to_owned(),
    }
}
