//! Names of questions to all nodes.

use std::fmt;
use std::str::FromStr;

use super::position::PositionError;
use super::random_name::RandomName;

/// Names one question to all nodes with sixteen characters of `a-z 0-9`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct QuestionId(RandomName<16>);

impl QuestionId {
    /// Draws a new name.
    #[must_use]
    pub fn random() -> Self {
        Self(RandomName::draw())
    }
}

impl fmt::Display for QuestionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl fmt::Debug for QuestionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for QuestionId {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        text.parse().map(Self)
    }
}
