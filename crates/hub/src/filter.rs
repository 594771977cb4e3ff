//! The events of a workspace that a subscriber gets, and their form.

use bytes::Bytes;

use tidings_event::Frame;
use tidings_event::UserKey;
use tidings_event::frame::EVENT_TYPE_BYTES_MAX;

/// The most types of one subscriber.
pub(crate) const TYPES_MAX: usize = 64;

/// The events that a subscriber gets, and their form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubscriptionFilter {
    /// The types that the client asks for; `None` for all events.
    pub types: Option<TypeFilter>,
    /// Whether frames carry `event:` from the payload's type.
    pub named: bool,
    /// The user, which decides about private events. A subscriber without a user gets none.
    pub user: Option<UserKey>,
}

impl SubscriptionFilter {
    /// The bytes of a frame in the subscriber's form, shared with all other subscribers; `None` if
    /// the filter excludes it.
    #[must_use]
    pub fn bytes<'a>(&self, frame: &'a Frame) -> Option<&'a Bytes> {
        if let Some(audience) = frame.audience()
            && !self.user.is_some_and(|user| audience.contains(user))
        {
            return None;
        }
        if let Some(types) = &self.types
            && frame.is_application()
            && !frame.event_type().is_some_and(|event_type| types.contains(event_type))
        {
            return None;
        }
        Some(if self.named { frame.named() } else { frame.plain() })
    }
}

/// A list of payload types, `A,B`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeFilter(Box<[Box<str>]>);

/// The list of types is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TypeFilterError {
    /// The list is empty or has an empty entry.
    #[error("`types` lists the wanted payload types, separated by commas, without empty entries")]
    Empty,
    /// More than [`TYPES_MAX`].
    #[error("`types` lists at most {TYPES_MAX} types")]
    TooMany,
    /// A type is longer than the types that frames carry.
    #[error("a type in `types` has at most {EVENT_TYPE_BYTES_MAX} bytes")]
    TooLong,
}

impl TypeFilter {
    /// Parses a list of types separated by commas.
    ///
    /// # Errors
    ///
    /// [`TypeFilterError`] says which bound the list breaks.
    pub fn parse(list: &str) -> Result<Self, TypeFilterError> {
        let types: Vec<&str> = list.split(',').take(TYPES_MAX + 1).collect();
        if types.len() > TYPES_MAX {
            return Err(TypeFilterError::TooMany);
        }
        if types.iter().any(|name| name.is_empty()) {
            return Err(TypeFilterError::Empty);
        }
        if types.iter().any(|name| name.len() > EVENT_TYPE_BYTES_MAX) {
            return Err(TypeFilterError::TooLong);
        }
        Ok(Self(types.into_iter().map(Box::from).collect()))
    }

    /// The types, in the order of the list.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }

    fn contains(&self, event_type: &str) -> bool {
        self.0.iter().any(|name| **name == *event_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tidings_event::UserId;

    use tidings_event::control::ResetReason;
    use tidings_event::{Audience, EntryId, Position};

    #[test]
    fn lists_are_bounded() {
        assert!(TypeFilter::parse("A").unwrap().contains("A"));
        assert!(!TypeFilter::parse("A,B").unwrap().contains("A,B"));
        for list in ["", ",", "A,", ",A", "A,,B"] {
            assert_eq!(TypeFilter::parse(list), Err(TypeFilterError::Empty), "{list:?}");
        }
        assert_eq!(TypeFilter::parse(&["A"; 65].join(",")), Err(TypeFilterError::TooMany));
        assert_eq!(TypeFilter::parse(&"A".repeat(257)), Err(TypeFilterError::TooLong));
    }

    #[test]
    fn filter_excludes_other_types_but_no_event_of_the_broker() {
        let position = Position::logged(EntryId::ZERO);
        let filter = SubscriptionFilter {
            types: Some(TypeFilter::parse("A,B").unwrap()),
            ..SubscriptionFilter::default()
        };
        assert!(filter.bytes(&Frame::application(position, r#"{"type":"B"}"#)).is_some());
        assert!(filter.bytes(&Frame::application(position, r#"{"type":"C"}"#)).is_none());
        assert!(filter.bytes(&Frame::application(position, "text")).is_none());
        let reset = Frame::reset(ResetReason::Trimmed, None, position);
        assert!(filter.bytes(&reset).is_some());
    }

    /// A private event is visible to its audience alone.
    #[test]
    fn filter_shows_a_private_event_to_its_users_only() {
        let audience = Arc::new(Audience::new(&["u1", "u2"]).unwrap());
        let frame = Frame::application(Position::logged(EntryId::ZERO), r#"{"type":"A"}"#)
            .with_audience(Some(audience));
        let of = |user: Option<&str>| SubscriptionFilter {
            user: user.map(|user| UserId::parse(user).unwrap().key()),
            ..SubscriptionFilter::default()
        };
        assert!(of(Some("u1")).bytes(&frame).is_some() && of(Some("u2")).bytes(&frame).is_some());
        assert!(of(Some("u3")).bytes(&frame).is_none() && of(None).bytes(&frame).is_none());
        let types = Some(TypeFilter::parse("B").unwrap());
        assert!(
            SubscriptionFilter { types, ..of(Some("u1")) }.bytes(&frame).is_none(),
            "a filter applies to it too"
        );
    }
}
