//! A configuration file: read, parsed, and taken apart into settings.

use std::io;
use std::path::Path;

use config::{FileFormat, Source as _, Value, ValueKind};

use super::error::{ConfigProblem, FilePosition};
use super::key;
use super::layers::Setting;
use super::reference::REFERENCE;
use super::source::Source;
use tidings_settings::read_regular_file;

/// The largest file that is read. Ours has 6 KiB; what is larger was not meant.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A table of values by name, as the parser gives it: in no order.
type TomlTable = config::Map<String, Value>;

/// Reads a file. Returns what it sets, by key, and what is wrong with it.
pub(super) fn settings(path: &Path) -> (Vec<Setting>, Vec<ConfigProblem>) {
    match read(path).and_then(|text| parse(path, &text)) {
        Ok(table) => {
            let mut leaves =
                Leaves { origin: Source::File(path.to_owned()), settings: vec![], problems: vec![] };
            leaves.take_table("", table);
            (leaves.settings, leaves.problems)
        }
        Err(problem) => (vec![], vec![problem]),
    }
}

fn read(path: &Path) -> Result<String, ConfigProblem> {
    let unreadable =
        |reason: &str| ConfigProblem::Unreadable { path: path.to_owned(), reason: reason.to_owned() };
    let bytes = read_regular_file(path, FILE_BYTES_MAX).map_err(|error| unreadable(&reason(&error)))?;
    String::from_utf8(bytes).map_err(|_| unreadable("not UTF-8 text"))
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::IsADirectory => "a directory, not a configuration file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::FileTooLarge => "larger than 1 MiB: not a configuration file".to_owned(),
        _ => error.to_string(),
    }
}

fn parse(path: &Path, text: &str) -> Result<TomlTable, ConfigProblem> {
    config::File::from_str(text, FileFormat::Toml).collect().map_err(|error| {
        let report = match &error {
            config::ConfigError::FileParse { cause, .. } => cause.to_string(),
            other => other.to_string(),
        };
        let (at, message) = without_quote(&report);
        ConfigProblem::Syntax { path: path.to_owned(), at, message }
    })
}

/// Takes the position and the message out of a parser's report. It leaves out the quoted line,
/// which may hold a password. The report has the position in its first line, the quote in the next
/// three, and then the message; or the message alone.
fn without_quote(report: &str) -> (FilePosition, String) {
    let Some(position) = report.strip_prefix("TOML parse error at line ") else {
        return (FilePosition(None), one_line(report));
    };
    let mut lines = position.splitn(5, '\n');
    let at = lines.next().and_then(|first| first.split_once(", column "));
    let at = at.and_then(|(line, column)| Some((line.parse().ok()?, column.parse().ok()?)));
    (FilePosition(at), one_line(lines.nth(3).unwrap_or_default()))
}

fn one_line(text: &str) -> String {
    text.trim().replace('\n', ", ")
}

/// Collects the leaves of a tree of tables.
struct Leaves {
    origin: Source,
    settings: Vec<Setting>,
    problems: Vec<ConfigProblem>,
}

impl Leaves {
    fn take_table(&mut self, prefix: &str, table: TomlTable) {
        let mut entries: Vec<_> = table.into_iter().collect();
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (name, value) in entries {
            let name = bare_or_quoted(&name);
            let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            match value.kind {
                ValueKind::Table(table) if REFERENCE.is_section(&key) || !table.is_empty() => {
                    self.take_table(&key, table);
                }
                _ => self.take_leaf(key, value),
            }
        }
    }

    fn take_leaf(&mut self, key: String, value: Value) {
        let origin = self.origin.clone();
        if REFERENCE.get(&key).is_some() {
            self.settings.push(Setting { key, value, origin });
        } else if REFERENCE.is_section(&key) {
            self.problems.push(ConfigProblem::NotASection { origin, section: key });
        } else {
            let nearest = key::nearest(&key);
            self.problems.push(ConfigProblem::UnknownKey { origin, key, nearest });
        }
    }
}

/// A name as TOML writes it. A quoted `"server.listen"` is one name with a dot in it and differs
/// from the key `server.listen`. Otherwise a file could set a key twice, and chance would decide
/// which value counts.
fn bare_or_quoted(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { format!("{name:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        parse(Path::new("t.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn a_syntax_error_names_its_place_and_quotes_nothing() {
        for (text, expected) in [
            ("[server]\nlisten = \n", "t.toml:2:10: not valid TOML: string values must be quoted"),
            (
                "[redis]\n\nurl = \"redis://:s3cret@host\n",
                "t.toml:3:28: not valid TOML: invalid basic string",
            ),
            ("[redis]\nurl = redis://:s3cret@host\n", "t.toml:2:7: not valid TOML: "),
            ("[ring]\nevents = 1\nevents = 2\n", "t.toml:3:1: not valid TOML: duplicate key"),
            ("[ring]\nevents = 99999999999999999999\n", "t.toml: not valid TOML: number too large"),
        ] {
            let problem = problem(text);
            assert!(problem.starts_with(expected), "{problem}");
            assert!(!problem.contains("s3cret"), "{problem}");
            assert!(!problem.contains('\n'), "{problem}");
        }
    }

    #[test]
    fn unreadable_files_say_why() {
        for (kind, expected) in [
            (io::ErrorKind::NotFound, "no such file"),
            (io::ErrorKind::IsADirectory, "a directory, not a configuration file"),
            (io::ErrorKind::PermissionDenied, "permission denied"),
        ] {
            assert_eq!(reason(&kind.into()), expected);
        }
        assert_eq!(
            read(Path::new("/dev/zero")).unwrap_err().to_string(),
            "/dev/zero: it is not a regular file"
        );
    }
}
