//! Where a subscriber wants to begin.

use tidings_event::Position;

/// The most of a client's own text that is kept to be told back to it.
const TEXT_BYTES_MAX: usize = 128;

/// Where a subscriber wants to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// At the head.
    Head,
    /// After the place that it names.
    After(Resume),
    /// With what was logged at or after a time, in milliseconds since the Unix epoch.
    Since {
        /// The time.
        milliseconds: u64,
    },
    /// With the newest logged events.
    Newest {
        /// How many.
        count: usize,
    },
}

impl Start {
    /// What the client said, to be told back to it in a reset.
    pub(super) fn text(&self) -> Option<Box<str>> {
        match self {
            Self::Head | Self::Newest { .. } => None,
            Self::After(resume) => Some(resume.text.clone()),
            Self::Since { milliseconds } => Some(format!("{milliseconds}-0").into_boxed_str()),
        }
    }
}

/// Where a client says it has been: the text of its `Last-Event-ID`, and the place that it names if it names one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    text: Box<str>,
    position: Option<Position>,
}

impl Resume {
    /// Takes what the client sent, whatever it is; a long text is cut.
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
