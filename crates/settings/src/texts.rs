//! Lists of texts; one text is a list too.

use std::ops::Deref;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// Holds a list of texts. A single text is a list of one, an empty text is the empty list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts(Vec<String>);

impl Texts {
    /// Creates a list.
    #[must_use]
    pub fn new(texts: Vec<String>) -> Self {
        Self(texts)
    }
}

impl Deref for Texts {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0
    }
}

/// The two forms in a configuration.
#[derive(Deserialize)]
#[serde(untagged)]
enum TextsForm {
    One(String),
    Several(Vec<String>),
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match TextsForm::deserialize(deserializer) {
            Ok(TextsForm::One(text)) if text.is_empty() => Ok(Self::default()),
            Ok(TextsForm::One(text)) => Ok(Self(vec![text])),
            Ok(TextsForm::Several(texts)) => Ok(Self(texts)),
            Err(_) => Err(D::Error::custom("expected text in quotes, or a list such as [\"a\", \"b\"]")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_text_is_a_list_of_one() {
        let read = |json| serde_json::from_value::<Texts>(json).ok().map(|texts| texts.0);
        assert_eq!(read(json!("")), Some(vec![]));
        assert_eq!(read(json!("a, b")), Some(vec!["a, b".to_owned()]));
        assert_eq!(read(json!(["a", "b"])), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(read(json!(["a", 1])), None);
        assert_eq!(read(json!(1)), None);
    }
}
