//! What is to be published.

use std::sync::Arc;

use bytes::Bytes;

use tidings_event::{Audience, EntryId};

/// The most events in one publication.
pub const EVENTS_MAX: usize = 1_000;

/// The longest idempotency key, in bytes.
pub(crate) const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

/// An event to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its payload.
    pub payload: Bytes,
    /// For whom it is; `None` where it is for everybody.
    pub to: Option<Arc<Audience>>,
}

impl From<Bytes> for Item {
    /// An event for everybody.
    fn from(payload: Bytes) -> Self {
        Self { payload, to: None }
    }
}

/// Events to be published to one workspace as one: all or none, next to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// In order; at least one.
    items: Vec<Item>,
    idempotency_key: Option<IdempotencyKey>,
}

impl Publication {
    /// One event.
    #[must_use]
    pub fn one(item: impl Into<Item>) -> Self {
        Self { items: vec![item.into()], idempotency_key: None }
    }

    /// Several events; `None` where there is none.
    #[must_use]
    pub fn several(items: Vec<Item>) -> Option<Self> {
        (!items.is_empty()).then_some(Self { items, idempotency_key: None })
    }

    /// Published with the same key within five minutes, it is published once.
    #[must_use]
    pub fn with_idempotency_key(mut self, key: Option<IdempotencyKey>) -> Self {
        self.idempotency_key = key;
        self
    }

    /// The events in order; at least one.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The key, if there is one.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<&IdempotencyKey> {
        self.idempotency_key.as_ref()
    }
}

/// What a publication was given.
pub type Published = Vec<EntryId>;

/// A key that makes publishing twice the same as publishing once: 1 to 128 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Box<str>);

/// A text is not an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key has 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible ASCII characters")]
pub struct IdempotencyKeyError;

impl IdempotencyKey {
    /// Checks a text and takes it as a key.
    ///
    /// # Errors
    ///
    /// When it is empty, too long, or has other characters.
    pub fn parse(text: &str) -> Result<Self, IdempotencyKeyError> {
        let fits = (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(Box::from(text)))
        } else {
            Err(IdempotencyKeyError)
        }
    }

    /// The key's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
