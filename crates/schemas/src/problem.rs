//! The reasons for which a set of schemas cannot be used.

use std::fmt;
use std::path::PathBuf;

/// Why a set of schemas was refused: everything that is wrong with it. `Display` gives one line for
/// each problem.
#[derive(Debug)]
pub struct SchemaError {
    problems: Vec<SchemaProblem>,
}

impl SchemaError {
    pub(crate) fn new(problems: Vec<SchemaProblem>) -> Self {
        Self { problems }
    }

    /// The problems, at least one.
    #[must_use]
    pub fn problems(&self) -> &[SchemaProblem] {
        &self.problems
    }
}

impl From<SchemaProblem> for SchemaError {
    fn from(problem: SchemaProblem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl fmt::Display for SchemaError {
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

impl std::error::Error for SchemaError {}

/// One thing that is wrong with a set of schemas.
#[derive(Debug, thiserror::Error)]
pub enum SchemaProblem {
    /// A file or the directory cannot be read.
    #[error("{}: cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// The error of the system.
        reason: std::io::Error,
    },
    /// The directory has no schema.
    #[error("{}: no file ends in .json: add a schema for each event type, such as CHANNEL_UPDATED.json", path.display())]
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// A bound on files is exceeded.
    #[error("{}: {reason}", path.display())]
    TooLarge {
        /// The file or directory.
        path: PathBuf,
        /// The bound.
        reason: String,
    },
    /// A file is not JSON.
    #[error("{}:{line}:{column}: not JSON: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// The error of the parser.
        message: String,
    },
    /// A file is not a schema that the broker uses.
    #[error("{} at {}: {message}", path.display(), ShownPlace(pointer))]
    Schema {
        /// The file.
        path: PathBuf,
        /// The place, as a JSON pointer.
        pointer: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// Two files have one type.
    #[error("{} and {}: both are for the type {event_type:?}: keep one, with the name {event_type}.json", first.display(), second.display())]
    Twice {
        /// The type.
        event_type: String,
        /// One file.
        first: PathBuf,
        /// The other one.
        second: PathBuf,
    },
}

/// A JSON pointer for people: the empty one is the whole document.
pub(crate) struct ShownPlace<'a>(pub(crate) &'a str);

impl fmt::Display for ShownPlace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "the root" } else { self.0 })
    }
}
