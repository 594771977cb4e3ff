//! The last warnings and errors of the log, for the console.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::refusals::{RecentRefusal, RecentRefusals};
use crate::http::REFUSAL_EVENT;

/// Limits the lines. A further kind replaces the one that was written least recently.
const LINES_MAX: usize = 32;

/// Limits the fields of a line, in bytes.
const FIELDS_BYTES_MAX: usize = 500;

/// The last line of each kind, at level `warn` or `error`, and the last rejected requests. A clone
/// has the same ones.
#[derive(Debug, Clone, Default)]
pub struct RecentLines(Arc<Mutex<VecDeque<RecentKind>>>, RecentRefusals);

#[derive(Debug)]
struct RecentKind {
    kind: Identifier,
    line: RecentLine,
}

/// The last line of one kind.
#[derive(Debug, Clone)]
pub struct RecentLine {
    /// Its level: `ERROR` or `WARN`.
    pub level: &'static str,
    /// Its message.
    pub message: String,
    /// Its other fields, as text.
    pub fields: String,
    /// The time at which it was written.
    pub at: SystemTime,
    /// The lines of this kind since the first that is remembered.
    pub count: u64,
}

impl RecentLines {
    /// Returns the lines, the newest first.
    #[must_use]
    pub fn lines(&self) -> Vec<RecentLine> {
        self.0.lock().iter().rev().map(|recent| recent.line.clone()).collect()
    }

    /// Returns the last rejected requests, the newest first. A log at level `warn` has none.
    #[must_use]
    pub fn refusals(&self) -> Vec<RecentRefusal> {
        self.1.list()
    }

    fn add(&self, kind: Identifier, mut line: RecentLine) {
        let mut lines = self.0.lock();
        if let Some(known) = lines.iter().position(|recent| recent.kind == kind) {
            line.count += lines.remove(known).map_or(0, |recent| recent.line.count);
        } else if lines.len() >= LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(RecentKind { kind, line });
    }
}

impl<S: Subscriber> Layer<S> for RecentLines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        if metadata.name() == REFUSAL_EVENT {
            return self.1.add(event);
        }
        if *metadata.level() > Level::WARN {
            return;
        }
        let mut texts = LineTexts::default();
        event.record(&mut texts);
        let line = RecentLine {
            level: metadata.level().as_str(),
            message: texts.message,
            fields: texts.fields,
            at: SystemTime::now(),
            count: 1,
        };
        self.add(metadata.callsite(), line);
    }
}

/// The message of an event, and its other fields.
#[derive(Default)]
struct LineTexts {
    message: String,
    fields: String,
}

impl Visit for LineTexts {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // A String takes everything.
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else if self.fields.len() < FIELDS_BYTES_MAX {
            let separator = if self.fields.is_empty() { "" } else { " " };
            let _ = write!(self.fields, "{separator}{}={value:?}", field.name());
            if self.fields.len() > FIELDS_BYTES_MAX {
                self.fields.truncate(self.fields.floor_char_boundary(FIELDS_BYTES_MAX));
                self.fields.push('…');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn last_line_of_each_kind_is_kept_with_its_count() {
        let recent = RecentLines::default();
        let subscriber = tracing_subscriber::registry().with(recent.clone());
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..3 {
                tracing::warn!(number, text = "a", "often");
            }
            tracing::info!("not kept");
            tracing::error!("once");
        });
        let lines = recent.lines();
        let texts: Vec<_> = lines.iter().map(|line| (line.level, &*line.message, line.count)).collect();
        assert_eq!(texts, [("ERROR", "once", 1), ("WARN", "often", 3)]);
        assert_eq!(lines[1].fields, "number=2 text=\"a\"");
    }

    #[test]
    fn rejected_request_is_kept_with_its_fields() {
        let recent = RecentLines::default();
        let subscriber = tracing_subscriber::registry().with(recent.clone());
        tracing::subscriber::with_default(subscriber, || {
            for status in 0..300_u16 {
                let (check, user) = (Some("exp"), None::<&str>);
                tracing::info!(name: REFUSAL_EVENT, request = "stream", check, user, status, forwarded_for = %1);
            }
        });
        let refusals = recent.refusals();
        assert_eq!((refusals.len(), refusals[0].status, &*refusals[0].client), (200, 299, "1"));
        assert_eq!((refusals[0].check.as_deref(), refusals[0].user.as_deref()), (Some("exp"), None));
        assert!(recent.lines().is_empty());
    }

    #[test]
    fn lines_are_bounded() {
        let recent = RecentLines::default();
        let subscriber = tracing_subscriber::registry().with(recent.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(text = "ü".repeat(1000), "long");
        });
        assert!(recent.lines()[0].fields.len() <= FIELDS_BYTES_MAX + 3);
    }
}
