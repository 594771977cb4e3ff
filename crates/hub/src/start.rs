//! The place at which a subscriber begins.

use tidings_event::Position;

/// The most text of a client that is kept for a reset.
const TEXT_BYTES_MAX: usize = 128;

/// The place at which a subscriber begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// At the head.
    Head,
    /// After the position that the client sent.
    After(Resume),
    /// With the events logged at or after a time, in milliseconds since the Unix epoch.
    Since {
        /// The time.
        milliseconds: u64,
    },
    /// With the newest logged events.
    Newest {
        /// The number of events.
        count: usize,
    },
}

impl Start {
    /// The text of the client, for a reset.
    pub(super) fn text(&self) -> Option<Box<str>> {
        match self {
            Self::Head | Self::Newest { .. } => None,
            Self::After(resume) => Some(resume.text.clone()),
            Self::Since { milliseconds } => Some(format!("{milliseconds}-0").into_boxed_str()),
        }
    }
}

/// A client's `Last-Event-ID`: its text, and its position if it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    text: Box<str>,
    position: Option<Position>,
}

impl Resume {
    /// Accepts any text of a client; a long one is truncated.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let end = text.floor_char_boundary(TEXT_BYTES_MAX);
        Self { text: Box::from(&text[..end]), position: text.parse().ok() }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn position(&self) -> Option<Position> {
        self.position
    }
}
