//! The configuration in force, as `tidings config` prints it. Secrets are masked when a
//! configuration is loaded; what is shown here has none.

use std::fmt;

use serde::{Serialize, Serializer};

use super::load::{EffectiveValue, Loaded};
use super::reference::REFERENCE;
use super::source::Source;

/// The widest setting that moves the comments of the others; longer ones stick out.
const WIDTH_MAX: usize = 60;

impl Loaded {
    /// A table in the form of a configuration file, with the source of each value in a comment.
    #[must_use]
    pub fn table(&self) -> String {
        SettingsTable(self).to_string()
    }

    /// A JSON object of sections, of keys, of `value` and `source`, indented.
    ///
    /// # Errors
    ///
    /// Those of `serde_json`, none of which a tree of texts and numbers can cause.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    /// The values of each section, in the order of the file.
    fn sections(&self) -> impl Iterator<Item = (&str, Vec<(&str, &EffectiveValue)>)> {
        REFERENCE.sections.iter().map(|section| {
            let inside = |value: &&EffectiveValue| section.entries.iter().any(|entry| entry.key == value.key);
            let values = self.values().iter().filter(inside);
            (section.name.as_str(), values.map(|value| (section.short(value.key), value)).collect())
        })
    }
}

struct SettingsTable<'a>(&'a Loaded);

impl fmt::Display for SettingsTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |(name, value): &(&str, &EffectiveValue)| format!("{name} = {}", value.value);
        let lengths =
            self.0.sections().flat_map(|(_, values)| values).map(|value| text(&value).chars().count());
        let width = lengths.filter(|length| *length <= WIDTH_MAX).max().unwrap_or(0);
        for (index, (section, values)) in self.0.sections().enumerate() {
            writeln!(f, "{}[{section}]", if index == 0 { "" } else { "\n" })?;
            for value in values {
                writeln!(f, "{:width$}  # {}", text(&value), value.1.source)?;
            }
        }
        Ok(())
    }
}

impl Serialize for Loaded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.sections().map(|(section, values)| (section, Values(values))))
    }
}

struct Values<'a>(Vec<(&'a str, &'a EffectiveValue)>);

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::source::Sources;
    use super::*;

    fn loaded() -> Loaded {
        let environment = vec![("TIDINGS__RING__EVENTS".to_owned(), "7".to_owned())];
        Sources { environment, ..Sources::default() }.load().unwrap()
    }

    #[test]
    fn the_table_is_a_configuration_file_with_sources() {
        let loaded = loaded();
        let table = loaded.table();
        assert!(table.starts_with("[server]\nlisten = \"127.0.0.1:8080\""), "{table}");
        let line = table.lines().find(|line| line.starts_with("events = ")).unwrap();
        let (setting, comment) = line.split_once('#').unwrap();
        assert_eq!((setting.trim(), comment.trim()), ("events = 7", "TIDINGS__RING__EVENTS"));
        let headers: Vec<_> =
            table.lines().filter_map(|line| line.strip_prefix('[')?.strip_suffix(']')).collect();
        assert_eq!(
            headers,
            REFERENCE.sections.iter().map(|section| section.name.as_str()).collect::<Vec<_>>()
        );
        // Nothing is secret here, so the table can be read back.
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(table.as_bytes()).unwrap();
        let sources = Sources { file: Some(file.path().to_owned()), ..Sources::default() };
        assert_eq!(sources.load().unwrap().config.ring.events, 7);
    }

    #[test]
    fn json_has_value_and_source_of_every_key() {
        let loaded = loaded();
        let json: serde_json::Value = serde_json::from_str(&loaded.json().unwrap()).unwrap();
        assert_eq!(
            json["ring"]["events"],
            serde_json::json!({ "value": 7, "source": "TIDINGS__RING__EVENTS" })
        );
        assert_eq!(json["cors"]["origins"], serde_json::json!({ "value": [], "source": "default" }));
        for key in REFERENCE.keys() {
            let (section, name) = key.rsplit_once('.').unwrap();
            assert!(json.pointer(&format!("/{section}/{name}/source")).is_some(), "{key}");
        }
    }
}
