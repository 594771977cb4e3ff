//! The reference of all keys, read out of the comments of `config/default.toml`: keys, defaults and
//! meanings are written there, and nowhere a second time. `docs/configuration.md` is made from it.
//!
//! The file keeps to a plain form, which tests hold it to: one line a setting, its meaning in the
//! comment lines directly above it.

use std::fmt::Write as _;
use std::sync::LazyLock;

use super::key;
use super::reload::{self, ReloadClass};

/// The defaults, compiled in.
pub(super) const DEFAULT_TOML: &str = include_str!("../../config/default.toml");

/// The reference of the defaults that are compiled in.
pub(super) static REFERENCE: LazyLock<Reference> = LazyLock::new(|| Reference::parse(DEFAULT_TOML));

/// Sections and keys in the order of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) sections: Vec<Section>,
}

/// A section, such as `[server]`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) entries: Vec<ReferenceEntry>,
}

/// A key with its default and its meaning.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ReferenceEntry {
    /// The dotted key, such as `server.listen`.
    pub(super) key: String,
    /// The default as the file has it.
    pub(super) default: String,
    /// The comment above it, on one line.
    pub(super) meaning: String,
}

impl Reference {
    pub(super) fn parse(toml: &str) -> Self {
        let mut sections: Vec<Section> = Vec::new();
        let mut meaning: Vec<&str> = Vec::new();
        for line in toml.lines().map(str::trim) {
            if let Some(comment) = line.strip_prefix('#') {
                meaning.push(comment.trim());
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                sections.push(Section { name: name.to_owned(), entries: Vec::new() });
            } else if let (Some(section), Some((name, default))) = (sections.last_mut(), line.split_once('='))
            {
                section.entries.push(ReferenceEntry {
                    key: format!("{}.{}", section.name, name.trim()),
                    default: default.trim().to_owned(),
                    meaning: meaning.join(" "),
                });
            }
            // A comment belongs to the line right below it and to no other.
            meaning.clear();
        }
        Self { sections }
    }

    /// Every key.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries().map(|entry| entry.key.as_str())
    }

    /// A key's entry.
    pub(super) fn get(&self, key: &str) -> Option<&ReferenceEntry> {
        self.entries().find(|entry| entry.key == key)
    }

    /// Whether this is the name of a section, or of a part of one.
    pub(super) fn is_section(&self, name: &str) -> bool {
        let within = |section: &Section| {
            section.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.sections.iter().any(within)
    }

    fn entries(&self) -> impl Iterator<Item = &ReferenceEntry> {
        self.sections.iter().flat_map(|section| &section.entries)
    }
}

impl Section {
    /// A key of this section without the section's name.
    pub(super) fn short<'key>(&self, key: &'key str) -> &'key str {
        key.strip_prefix(&self.name).and_then(|key| key.strip_prefix('.')).unwrap_or(key)
    }
}

/// The text above the tables of `docs/configuration.md`.
const INTRODUCTION: &str = "\
# Configuration

<!-- Made from config/default.toml. To change it, edit that file, then run: UPDATE_DOCS=1 cargo test --lib config::reference -->

Tidings needs no configuration: every setting has a default. Four layers can set it, and later ones
win:

1. [`config/default.toml`](../config/default.toml), which is compiled into the program;
2. the file of `--config FILE`, or else of the variable `TIDINGS_CONFIG`, with any of the same
   sections and keys;
3. environment variables: `TIDINGS__SECTION__KEY`, with two underscores between the parts. Commas
   separate the elements of a list. Text needs no quotes;
4. flags, such as `--listen` and `--redis`.

`tidings config` shows every setting in force and its source, with secrets masked.

An unknown key or an invalid value stops the start. The message has the file, the variable or the
flag, the key, and the found and expected values. For an unknown key it has the nearest valid one.
Tidings ignores variables that do not begin with `TIDINGS__`.

Keys that end in `_seconds` take fractions (`0.5`), and at most 86400.

On SIGHUP a node reads the file again, and replaces the settings that have `yes` in the column
SIGHUP, or a password in an address. Its log names changed settings that need a restart. Variables
and flags are those of its start. [operations.md](operations.md#reloading) has more.
";

/// The text of `docs/configuration.md`: a table for each section.
#[must_use]
pub fn markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    for section in &REFERENCE.sections {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n## `[{}]`\n", section.name);
        text.push_str(
            "| key | default | environment variable | SIGHUP | meaning |\n| --- | --- | --- | --- | --- |\n",
        );
        for entry in &section.entries {
            let _ = writeln!(
                text,
                "| `{}` | `{}` | `{}` | {} | {} |",
                section.short(&entry.key),
                entry.default,
                key::variable(&entry.key),
                match reload::class(&entry.key) {
                    Some(ReloadClass::OnReload) => "`yes`",
                    Some(ReloadClass::PasswordOnReload) => "password",
                    Some(ReloadClass::OnRestart) | None => "",
                },
                escaped(&entry.meaning),
            );
        }
    }
    text
}

/// Plain text as Markdown that shows it unchanged inside a table.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        if matches!(c, '|' | '*' | '<' | '[' | ']' | '`' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_default_and_a_meaning() {
        for entry in REFERENCE.entries() {
            assert!(!entry.default.is_empty(), "{}", entry.key);
            assert!(!entry.meaning.is_empty(), "{} has no comment right above it", entry.key);
        }
    }

    #[test]
    fn a_comment_belongs_to_the_key_below_it() {
        let reference = Reference::parse(
            "# About the file.\n\n[a]\n# First\n# line.\nx = [1]\ny = 2\n\n# Lost.\n\n[a.b]\nz = \"=\"\n",
        );
        let entry = |key: &str, default: &str, meaning: &str| ReferenceEntry {
            key: key.to_owned(),
            default: default.to_owned(),
            meaning: meaning.to_owned(),
        };
        let expected = [
            ("a", vec![entry("a.x", "[1]", "First line."), entry("a.y", "2", "")]),
            ("a.b", vec![entry("a.b.z", "\"=\"", "")]),
        ];
        let expected = expected.map(|(name, entries)| Section { name: name.to_owned(), entries });
        assert_eq!(reference.sections, expected);
        assert!(reference.is_section("a") && reference.is_section("a.b") && !reference.is_section("a.x"));
    }

    #[test]
    fn markdown_shows_characters_of_its_own_unchanged() {
        assert_eq!(escaped("a|b [c_d] *`<"), r"a\|b \[c_d\] \*\`\<");
    }

    #[test]
    fn the_document_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/docs")).unwrap();
            std::fs::write(path, markdown()).unwrap();
        }
        let document = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            document == markdown(),
            "docs/configuration.md differs from config/default.toml: run UPDATE_DOCS=1 cargo test --lib config::reference"
        );
    }
}
