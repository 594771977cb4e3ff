//! Sections of the configuration with their default values, for tests.

use config::{Config, File, FileFormat};
use serde::de::DeserializeOwned;

const DEFAULT_TOML: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/default.toml"));

/// Returns a section with other values for some of its keys.
pub(crate) fn section<T: DeserializeOwned>(name: &str, settings: &[(&str, &str)]) -> T {
    let file = File::from_str(DEFAULT_TOML, FileFormat::Toml);
    let defaults = Config::builder().add_source(file.clone()).build().unwrap();
    let mut builder = Config::builder().add_source(file);
    for (key, value) in settings {
        let key = format!("{name}.{key}");
        builder = if defaults.get_array(&key).is_ok() {
            builder.set_override(key, value.split(',').map(str::trim).collect::<Vec<_>>())
        } else {
            builder.set_override(key, *value)
        }
        .unwrap();
    }
    builder.build().unwrap().get(name).unwrap()
}
