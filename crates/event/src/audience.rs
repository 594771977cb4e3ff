//! The users that may receive a private event.

use std::fmt;
use std::sync::Arc;

use crate::{UserId, UserKey};

/// Limits the user ids of one audience.
pub const USERS_MAX: usize = 1_000;

/// Limits the JSON of an audience, in bytes: [`USERS_MAX`] longest ids with each character escaped.
pub const TEXT_BYTES_MAX: usize = USERS_MAX * (2 * crate::identity::ID_BYTES_MAX + 3) + 1;

/// Lists the users that receive a private event. Other users and clients without a user do not
/// receive it.
///
/// Its text is a JSON array of ids, `["u1","u2"]`, without spaces between them and without line
/// ends. Logs and envelopes carry this text.
#[derive(Clone, PartialEq, Eq)]
pub struct Audience {
    text: Box<str>,
    /// Sorted and without duplicates, for binary search.
    users: Box<[UserKey]>,
}

/// Reports that a text is not an audience. A node delivers an event with such an audience to no
/// client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an audience is an array of 1 to {USERS_MAX} user ids, of 1 to 256 bytes each and without control characters"
)]
pub struct AudienceError;

impl Audience {
    /// Creates an audience of these users.
    ///
    /// # Errors
    ///
    /// Returns [`AudienceError`] if there are no ids or more than [`USERS_MAX`], or if one is not a
    /// [`UserId`].
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

    /// Parses the JSON of an audience. Spaces between the ids are allowed.
    ///
    /// # Errors
    ///
    /// Returns [`AudienceError`] if the JSON is longer than [`TEXT_BYTES_MAX`] or is not an array
    /// of 1 to [`USERS_MAX`] user ids.
    pub fn parse(json: &[u8]) -> Result<Self, AudienceError> {
        if json.len() > TEXT_BYTES_MAX {
            return Err(AudienceError);
        }
        let users: Vec<String> = serde_json::from_slice(json).map_err(|_| AudienceError)?;
        Self::new(&users)
    }

    /// Returns the JSON, with the users in the order in which they were given.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.text
    }

    /// Returns whether this user receives the event.
    #[must_use]
    pub fn contains(&self, user: UserKey) -> bool {
        self.users.binary_search(&user).is_ok()
    }

    /// Returns the approximate memory use in bytes.
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

/// Parses the audiences of one publication with `events` events; `None` is an event for all users.
///
/// The JSON is one audience for all events, or an array with an audience or `null` for each event.
///
/// # Errors
///
/// Returns [`AudienceError`] if the JSON has another form, if the array has another length, or if
/// all its items are `null`. A publisher that sends audiences means at least one.
pub fn parse_each(json: &[u8], events: usize) -> Result<Vec<Option<Arc<Audience>>>, AudienceError> {
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
mod tests;
