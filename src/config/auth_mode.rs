//! `auth.mode`: how requests authenticate.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// How requests authenticate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthMode {
    /// Not set: every client, on a loopback address only.
    Unset,
    /// Every client, on any address.
    None,
    /// A client that passes one of these, tried in this order; never empty.
    Methods(Vec<AuthMethod>),
}

/// A way to authenticate a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    /// By a token with a trusted signature.
    Jwt,
    /// By asking the app.
    Forward,
}

impl AuthMode {
    /// Whether a method is among those that are tried.
    #[must_use]
    pub fn uses(&self, method: AuthMethod) -> bool {
        matches!(self, Self::Methods(methods) if methods.contains(&method))
    }

    fn of(words: &[&str]) -> Option<Self> {
        match words {
            [] | [""] => return Some(Self::Unset),
            ["none"] => return Some(Self::None),
            _ => {}
        }
        let methods: Vec<_> = words
            .iter()
            .map(|word| match *word {
                "jwt" => Some(AuthMethod::Jwt),
                "forward" => Some(AuthMethod::Forward),
                _ => None,
            })
            .collect::<Option<_>>()?;
        let twice = methods.iter().enumerate().any(|(at, method)| methods[..at].contains(method));
        (!twice).then_some(Self::Methods(methods))
    }
}

/// A list, or one text in which commas separate the methods, as an environment variable has it.
#[derive(Deserialize)]
#[serde(untagged)]
enum AuthModeText {
    Text(String),
    List(Vec<String>),
}

impl<'de> Deserialize<'de> for AuthMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = || {
            D::Error::custom(
                "expected \"none\", \"jwt\", \"forward\", or several such as \"jwt,forward\", each once",
            )
        };
        let words: Vec<String> = match AuthModeText::deserialize(deserializer).map_err(|_| expected())? {
            AuthModeText::Text(text) => text.split(',').map(|word| word.trim().to_owned()).collect(),
            AuthModeText::List(list) => list,
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Self::of(&words).ok_or_else(expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_stand_in_a_list_or_in_a_text() {
        let read = |json: serde_json::Value| serde_json::from_value::<AuthMode>(json).ok();
        let both = AuthMode::Methods(vec![AuthMethod::Forward, AuthMethod::Jwt]);
        assert_eq!(read("".into()), Some(AuthMode::Unset));
        assert_eq!(read("none".into()), Some(AuthMode::None));
        assert_eq!(read("jwt".into()), Some(AuthMode::Methods(vec![AuthMethod::Jwt])));
        assert_eq!(read("forward, jwt".into()), Some(both.clone()));
        assert_eq!(read(vec!["forward", "jwt"].into()), Some(both));
        for wrong in ["Jwt", "jwt,", "jwt,jwt", "none,jwt", "basic"] {
            assert_eq!(read(wrong.into()), None, "{wrong}");
        }
        assert_eq!(read(1.into()), None);
    }
}
