//! Who may see an event that is not for everybody.

use std::fmt;
use std::sync::Arc;

use crate::{UserId, UserKey};

/// The most users that an audience names.
pub const USERS_MAX: usize = 1_000;

/// The longest text of an audience, in bytes: the longest ids, each character escaped.
pub const TEXT_BYTES_MAX: usize = USERS_MAX * (2 * crate::identity::ID_BYTES_MAX + 3) + 1;

/// The users for whom an event is. Nobody else gets it, and neither does who has no name.
///
/// As text it is a JSON array of ids, `["u1","u2"]`, without blanks and line ends; so it stands in logs and envelopes.
#[derive(Clone, PartialEq, Eq)]
pub struct Audience {
    text: Box<str>,
    /// In order, each once, for looking up.
    users: Box<[UserKey]>,
}

/// A text is not an audience. An event whose audience cannot be read is shown to nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an audience is an array of 1 to {USERS_MAX} user ids, of 1 to 256 bytes each and without control characters"
)]
pub struct AudienceError;

impl Audience {
    /// An audience of these users.
    ///
    /// # Errors
    ///
    /// [`AudienceError`], when there are none or more than [`USERS_MAX`], or one is no [`UserId`].
    pub fn new<T: AsRef<str>>(users: &[T]) -> Result<Self, AudienceError> {
        if !(1..=USERS_MAX).contains(&users.len()) {
            return Err(AudienceError);
        }
        let parsed: Result<Vec<_>, _> = users.iter().map(|user| UserId::parse(user.as_ref())).collect();
        let parsed = parsed.map_err(|_| AudienceError)?;
        let texts: Vec<&str> = parsed.iter().map(UserId::as_str).collect();
        let text = serde_json::to_string(&texts).map_err(|_| AudienceError)?.into_boxed_str();
        let mut keys: Vec<_> = parsed.iter().map(UserId::key).collect();
        keys.sort_unstable();
        keys.dedup();
        Ok(Self { text, users: keys.into() })
    }

    /// Reads an audience's JSON, with blanks or without.
    ///
    /// # Errors
    ///
    /// [`AudienceError`], when it is anything else.
    pub fn parse(json: &[u8]) -> Result<Self, AudienceError> {
        if json.len() > TEXT_BYTES_MAX {
            return Err(AudienceError);
        }
        let users: Vec<String> = serde_json::from_slice(json).map_err(|_| AudienceError)?;
        Self::new(&users)
    }

    /// The JSON, with the users in the order in which they were named.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.text
    }

    /// Whether the event is for this user.
    #[must_use]
    pub fn contains(&self, user: UserKey) -> bool {
        self.users.binary_search(&user).is_ok()
    }

    /// What it takes in memory, about, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.text.len() + size_of_val(&*self.users)
    }
}

impl fmt::Debug for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The audiences of the events of one publication, `None` for those that are for everybody, out of JSON: one audience for
/// all of them, or an array with one for each, or null where it is for everybody.
///
/// # Errors
///
/// [`AudienceError`], when it is anything else, and where all are null: whoever names audiences means somebody.
pub fn of_each(json: &[u8], events: usize) -> Result<Vec<Option<Arc<Audience>>>, AudienceError> {
    if let Ok(for_all) = Audience::parse(json) {
        return Ok(vec![Some(Arc::new(for_all)); events]);
    }
    let each: Vec<Option<Vec<String>>> = serde_json::from_slice(json).map_err(|_| AudienceError)?;
    if each.len() != events || each.iter().all(Option::is_none) {
        return Err(AudienceError);
    }
    each.into_iter().map(|users| users.map(|users| Audience::new(&users).map(Arc::new)).transpose()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn user(id: &str) -> UserKey {
        UserId::parse(id).unwrap().key()
    }

    #[test]
    fn who_is_named_is_in_it_and_nobody_else() {
        let audience = Audience::parse(br#" [ "u2", "u1","u2", "\u00fc" ] "#).unwrap();
        assert_eq!(audience.as_json(), r#"["u2","u1","u2","ü"]"#);
        assert!(["u1", "u2", "ü"].iter().all(|id| audience.contains(user(id))));
        assert!(["u", "u3", "U1", "u1 "].iter().all(|id| !audience.contains(user(id))));
    }

    #[test]
    fn what_is_no_audience_is_refused() {
        let many = serde_json::to_string(&vec!["u"; USERS_MAX + 1]).unwrap();
        let long = serde_json::to_string(&["x".repeat(257)]).unwrap();
        let blanks = format!("[\"u\"{}]", " ".repeat(TEXT_BYTES_MAX));
        for json in [
            "",
            "[]",
            "{}",
            "null",
            "\"u\"",
            "u",
            "[\"\"]",
            "[null]",
            "[1]",
            "[\"u\",null]",
            "[[\"u\"]]",
            "[\"u\"",
            "[\"u\"] x",
            "[\"a\\nb\"]",
            "[\"\\ud800\"]",
            &many,
            &long,
            &blanks,
        ] {
            assert_eq!(Audience::parse(json.as_bytes()), Err(AudienceError), "{json:.50}");
        }
        assert_eq!(Audience::parse(b"[\"\xff\"]"), Err(AudienceError));
        let longest = vec!["\"".repeat(256); USERS_MAX];
        let longest = Audience::new(&longest).unwrap();
        assert_eq!(longest.as_json().len(), TEXT_BYTES_MAX);
        assert!(Audience::parse(longest.as_json().as_bytes()).is_ok());
    }

    /// A batch has one audience for all events or one for each; another count is an error.
    #[test]
    fn each_event_has_its_own_or_all_have_the_same() {
        let json = |each: Vec<Option<Arc<Audience>>>| -> Vec<String> {
            each.iter()
                .map(|one| one.as_ref().map_or("all".to_owned(), |one| one.as_json().to_owned()))
                .collect()
        };
        assert_eq!(json(of_each(br#"["a","b"]"#, 2).unwrap()), [r#"["a","b"]"#; 2]);
        assert_eq!(json(of_each(br#"[["a"],null]"#, 2).unwrap()), [r#"["a"]"#, "all"]);
        assert_eq!(json(of_each(br#"[["a"]]"#, 1).unwrap()), [r#"["a"]"#]);
        for (text, events) in [
            ("[null]", 1),
            ("[null,null]", 2),
            ("null", 1),
            ("[[\"a\"],null]", 1),
            ("[[\"a\"],null]", 3),
            ("[[\"a\"],[]]", 2),
            ("[[\"a\"],\"b\"]", 2),
            ("", 1),
        ] {
            assert_eq!(of_each(text.as_bytes(), events), Err(AudienceError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn written_and_read_again(ids in proptest::collection::vec("[^\\p{Cc}]{1,20}", 1..20)) {
            let audience = Audience::new(&ids).unwrap();
            prop_assert!(!audience.as_json().contains('\n'));
            prop_assert_eq!(Audience::parse(audience.as_json().as_bytes()), Ok(audience));
        }

        #[test]
        fn any_bytes_are_read_or_refused(json: Vec<u8>, events in 0usize..4) {
            let _ = Audience::parse(&json);
            let _ = of_each(&json, events);
        }
    }
}
