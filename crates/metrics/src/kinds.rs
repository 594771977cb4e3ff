//! The kinds of events, checks and spans that a node counts by.

/// The outcome of the check of an event by its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaResult {
    /// The event matches.
    Valid,
    /// The event does not match, and is delivered.
    Mismatch,
    /// The type of the event has no schema, and the event is delivered.
    NoSchema,
    /// The node refused the event, which came over HTTP.
    Refused,
    /// Too many events came at once, so the event was not checked.
    Unchecked,
}

/// The outcome of the span of a sampled event or publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanResult {
    /// The collector took it.
    Exported,
    /// The collector did not take it in time.
    Dropped,
    /// Too many sampled events were on their way, so the event got no span.
    LeftOut,
}

/// Whether an event is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A live event, without an entry in the log.
    Live,
    /// A durable event.
    Logged,
}

impl SchemaResult {
    /// The values of the label, in the order of declaration.
    pub(crate) const VALUES: [&str; 5] = [
        Self::Valid.as_str(),
        Self::Mismatch.as_str(),
        Self::NoSchema.as_str(),
        Self::Refused.as_str(),
        Self::Unchecked.as_str(),
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Mismatch => "mismatch",
            Self::NoSchema => "no-schema",
            Self::Refused => "refused",
            Self::Unchecked => "unchecked",
        }
    }
}

impl SpanResult {
    /// The values of the label, in the order of declaration.
    pub(crate) const VALUES: [&str; 3] =
        [Self::Exported.as_str(), Self::Dropped.as_str(), Self::LeftOut.as_str()];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Exported => "exported",
            Self::Dropped => "dropped",
            Self::LeftOut => "left-out",
        }
    }
}

impl EventKind {
    pub(crate) const VALUES: [&str; 2] = [Self::Live.as_str(), Self::Logged.as_str()];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Logged => "logged",
        }
    }
}
