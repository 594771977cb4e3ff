//! The problems of a configuration. Each names its place; a value is shown only after the masking
//! of [`secret`](super::secret).

use std::fmt;
use std::path::PathBuf;

use super::load::EffectiveValue;
use super::source::Source;
use tidings_settings::ListenAddress;

/// Why a configuration was refused: everything that is wrong with it. `Display` gives one line for
/// each problem.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<ConfigProblem>,
}

impl ConfigError {
    pub(super) fn new(problems: Vec<ConfigProblem>) -> Self {
        Self { problems }
    }

    /// The problems, in the order in which they were found; at least one.
    #[must_use]
    pub fn problems(&self) -> &[ConfigProblem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigProblem {
    /// The file cannot be read.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// The file as it was given.
        path: PathBuf,
        /// Why, such as `no such file`.
        reason: String,
    },
    /// The file is not TOML.
    #[error("{}:{at} not valid TOML: {message}", path.display())]
    Syntax {
        /// The file as it was given.
        path: PathBuf,
        /// The place, if the parser reports one.
        at: FilePosition,
        /// What the parser stumbled over. It never quotes the file.
        message: String,
    },
    /// A key that does not exist.
    #[error("{origin}: unknown key `{key}`{}", Hint(*nearest, origin))]
    UnknownKey {
        /// Its source.
        origin: Source,
        /// The key as it was written.
        key: String,
        /// The known key that is most like it.
        nearest: Option<&'static str>,
    },
    /// A value where a section belongs, such as `server = 3`.
    #[error("{origin}: `{section}` is a section: write its keys below a line [{section}]")]
    NotASection {
        /// Its source.
        origin: Source,
        /// The section.
        section: String,
    },
    /// A value of the wrong type, or outside of what its key takes.
    #[error("{}: {found}: expected {expected}", found.origin)]
    Value {
        /// The value.
        found: Found,
        /// What its key takes.
        expected: String,
    },
    /// Two values that do not go together.
    #[error("{}: {found}, and {other} ({}): {rule}", found.origin, other.origin)]
    Conflict {
        /// One value.
        found: Found,
        /// The other.
        other: Box<Found>,
        /// What must hold between the two.
        rule: &'static str,
    },
    /// A listener that other machines can reach, without an explicit `auth.mode`.
    #[error(
        "{origin}: server.listen is {listen}, which other machines can reach, and auth.mode is not set: \
         set auth.mode (for example auth.mode = \"none\" to accept every client), or listen on 127.0.0.1"
    )]
    OpenToOthers {
        /// The source of `server.listen`.
        origin: Source,
        /// The address.
        listen: ListenAddress,
    },
    /// The defaults that are compiled in do not fit the program: a defect of the program.
    #[error("built-in defaults: {0}")]
    Defaults(String),
}

/// A value that was found. Shown as `ring.events is 0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The dotted key.
    pub key: &'static str,
    /// The value as JSON, masked where it is secret.
    pub value: String,
    /// Its source.
    pub origin: Source,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.key, self.value)
    }
}

impl From<&EffectiveValue> for Found {
    fn from(value: &EffectiveValue) -> Self {
        Self { key: value.key, value: value.value.to_string(), origin: value.source.clone() }
    }
}

/// A place in a file, counted from 1. Shown as `3:14:`, or as nothing where it is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilePosition(pub Option<(usize, usize)>);

impl fmt::Display for FilePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |(line, column)| write!(f, "{line}:{column}:"))
    }
}

/// The question after an unknown key. After a variable it names a variable.
struct Hint<'a>(Option<&'static str>, &'a Source);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (None, _) => Ok(()),
            (Some(key), Source::Environment(_)) => {
                write!(f, ", did you mean `{key}` ({})?", super::key::variable(key))
            }
            (Some(key), _) => write!(f, ", did you mean `{key}`?"),
        }
    }
}
