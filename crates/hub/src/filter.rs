//! What of a workspace's events a subscriber wants, and in which form.

use bytes::Bytes;

use tidings_event::Frame;
use tidings_event::UserKey;
use tidings_event::frame::EVENT_TYPE_BYTES_MAX;

/// The most types that one subscriber may list.
pub(crate) const TYPES_MAX: usize = 64;

/// A subscriber's choice of events and of their form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubscriptionFilter {
    /// Only events of these types; all events where there is no filter.
    pub types: Option<TypeFilter>,
    /// Whether frames carry `event:` from the payload's type.
    pub named: bool,
    /// Who looks: decides over events that are not for everybody. Somebody without a name sees none of these.
    pub user: Option<UserKey>,
}

impl SubscriptionFilter {
    /// The bytes of a frame in this view, shared with all other subscribers; `None` where the view leaves it out.
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

/// A list of types is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TypeFilterError {
    /// Nothing is listed, or there is an empty entry.
    #[error("`types` lists the wanted payload types, separated by commas, without empty entries")]
    Empty,
    /// More than [`TYPES_MAX`].
    #[error("`types` lists at most {TYPES_MAX} types")]
    TooMany,
    /// A type is longer than any that is taken note of.
    #[error("a type in `types` has at most {EVENT_TYPE_BYTES_MAX} bytes")]
    TooLong,
}

impl TypeFilter {
    /// Takes a list of types separated by commas.
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
    fn a_filter_leaves_out_other_types_and_untyped_events_but_never_the_broker() {
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
    fn a_private_event_is_shown_to_its_users_alone() {
        let audience = Arc::new(Audience::new(&["u1", "u2"]).unwrap());
        let frame = Frame::application(Position::logged(EntryId::ZERO), r#"{"type":"A"}"#).to(Some(audience));
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
