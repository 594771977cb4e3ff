//! Publications: events for the bus.

use std::sync::Arc;

use bytes::Bytes;

use tidings_event::{Audience, EntryId, TraceParent};

/// Limits the events of one publication.
pub const EVENTS_MAX: usize = 1_000;

/// Limits an idempotency key, in bytes.
pub(crate) const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

/// One event to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The payload.
    pub payload: Bytes,
    /// The audience; `None` for an event for all users.
    pub to: Option<Arc<Audience>>,
}

impl From<Bytes> for Item {
    /// Creates an event for all users.
    fn from(payload: Bytes) -> Self {
        Self { payload, to: None }
    }
}

/// The events of one publication to one workspace. The bus publishes all or none, next to each
/// other in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// In order, at least one.
    items: Vec<Item>,
    idempotency_key: Option<IdempotencyKey>,
    trace: Option<TraceParent>,
}

impl Publication {
    /// Creates a publication of one event.
    #[must_use]
    pub fn one(item: impl Into<Item>) -> Self {
        Self { items: vec![item.into()], idempotency_key: None, trace: None }
    }

    /// Creates a publication of several events; returns `None` if there are none.
    #[must_use]
    pub fn several(items: Vec<Item>) -> Option<Self> {
        (!items.is_empty()).then_some(Self { items, idempotency_key: None, trace: None })
    }

    /// Sets the idempotency key. Within five minutes, a publication with the same key publishes
    /// nothing.
    #[must_use]
    pub fn with_idempotency_key(mut self, key: Option<IdempotencyKey>) -> Self {
        self.idempotency_key = key;
        self
    }

    /// Sets the trace of all events.
    #[must_use]
    pub fn with_trace(mut self, trace: Option<TraceParent>) -> Self {
        self.trace = trace;
        self
    }

    /// Returns the trace of the events, if they have one.
    #[must_use]
    pub fn trace(&self) -> Option<TraceParent> {
        self.trace
    }

    /// Returns the events, at least one, in order.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// Returns the idempotency key, if there is one.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<&IdempotencyKey> {
        self.idempotency_key.as_ref()
    }
}

/// The ids of the published events, in order.
pub type Published = Vec<EntryId>;

/// Names a publication, so that a repetition publishes nothing: 1 to 128 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Box<str>);

/// Reports that a text is not an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key has 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible ASCII characters")]
pub struct IdempotencyKeyError;

impl IdempotencyKey {
    /// Parses a key.
    ///
    /// # Errors
    ///
    /// Returns an error if the text is empty, longer than 128 bytes or has other characters.
    pub fn parse(text: &str) -> Result<Self, IdempotencyKeyError> {
        let fits = (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(Box::from(text)))
        } else {
            Err(IdempotencyKeyError)
        }
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
