//! What a configuration is read from, and the origin that each value carries.

use std::fmt;
use std::path::PathBuf;

use super::key;

/// Where a value comes from. Shown as the path, the variable or the flag itself, or as `default`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `config/default.toml`, compiled in.
    Default,
    /// The file given by `--config`.
    File(PathBuf),
    /// An environment variable, by its name.
    Environment(String),
    /// A flag, by its name.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(variable) => f.write_str(variable),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// What a configuration is read from, on top of the defaults that are compiled in. Of two values
/// for a key the one from the later field wins.
#[derive(Clone, Default)]
pub struct Sources {
    /// The file given by `--config`.
    pub file: Option<PathBuf>,
    /// Environment variables as name and value. Those that do not begin with `TIDINGS__` are left
    /// alone.
    pub environment: Vec<(String, String)>,
    /// Flags as dotted key, value and the flag's name, for example `("server.listen", "[::]:80",
    /// "--listen")`.
    pub flags: Vec<(&'static str, String, &'static str)>,
}

impl Sources {
    /// A file and flags, and the environment of this process. Bytes that are not UTF-8 are replaced
    /// by U+FFFD.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(&'static str, String, &'static str)>) -> Self {
        let environment = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .filter(|(name, _)| key::is_variable(name) || key::meant(name).is_some())
            .collect();
        Self { file, environment, flags }
    }
}

/// Names only: values may be secrets, and which are is known only once their keys are.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("file", &self.file)
            .field("environment", &self.environment.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("flags", &self.flags.iter().map(|(_, _, flag)| flag).collect::<Vec<_>>())
            .finish()
    }
}
