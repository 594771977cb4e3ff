//! What is to be published.

use bytes::Bytes;

use crate::event::EntryId;

/// The most events in one publication.
pub const EVENTS_MAX: usize = 1_000;

/// The longest idempotency key, in bytes.
pub(crate) const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

/// Events to be published to one workspace as one: all or none, next to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The payloads in order; at least one.
    first: Bytes,
    rest: Vec<Bytes>,
    idempotency_key: Option<IdempotencyKey>,
}

impl Publication {
    /// One event.
    #[must_use]
    pub fn one(payload: Bytes) -> Self {
        Self { first: payload, rest: Vec::new(), idempotency_key: None }
    }

    /// Several events; `None` where there is none.
    #[must_use]
    pub fn several(payloads: Vec<Bytes>) -> Option<Self> {
        let mut payloads = payloads.into_iter();
        Some(Self { first: payloads.next()?, rest: payloads.collect(), idempotency_key: None })
    }

    /// Published with the same key within five minutes, it is published once.
    #[must_use]
    pub fn with_idempotency_key(mut self, key: Option<IdempotencyKey>) -> Self {
        self.idempotency_key = key;
        self
    }

    /// The first payload.
    #[must_use]
    pub fn first(&self) -> &Bytes {
        &self.first
    }

    /// The payloads after the first.
    #[must_use]
    pub fn rest(&self) -> &[Bytes] {
        &self.rest
    }

    /// All payloads in order.
    pub fn payloads(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.first).chain(&self.rest)
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
