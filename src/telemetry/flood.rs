//! Bounds on lines of one kind. A kind is the place in the code that writes the line, so no line is
//! left without a bound.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// The time over which lines of a kind are counted.
const WINDOW: Duration = Duration::from_secs(1);

/// The longest message that names a kind, in characters.
const MESSAGE_CHARS_MAX: usize = 120;

/// Lets a number of lines of each kind through in a second, and counts the others. A clone has the
/// same counts.
#[derive(Debug, Clone)]
pub(super) struct FloodFilter(Arc<FloodCounts>);

#[derive(Debug)]
struct FloodCounts {
    per_second: Option<NonZeroU32>,
    kinds: Mutex<HashMap<Identifier, LineKind>>,
}

#[derive(Debug)]
struct LineKind {
    /// The message of its first line.
    message: String,
    since: Instant,
    written: u32,
    silenced: u64,
}

impl FloodFilter {
    /// `per_second`: lines of each kind in a second; `None`: any number.
    pub(super) fn new(per_second: Option<NonZeroU32>) -> Self {
        Self(Arc::new(FloodCounts { per_second, kinds: Mutex::default() }))
    }

    /// Writes one line for each kind of which lines were left out since the last call.
    pub(super) fn report(&self) {
        for (message, silenced) in self.take_silenced() {
            tracing::warn!(
                kind = message,
                silenced,
                "lines of one kind were left out (log.lines_per_second)"
            );
        }
    }

    fn take_silenced(&self) -> Vec<(String, u64)> {
        let mut kinds = self.0.kinds.lock();
        let silenced = kinds.values_mut().filter(|kind| kind.silenced > 0);
        silenced.map(|kind| (kind.message.clone(), std::mem::take(&mut kind.silenced))).collect()
    }

    fn admits(&self, event: &Event<'_>, now: Instant) -> bool {
        let Some(per_second) = self.0.per_second else { return true };
        let metadata = event.metadata();
        // The report itself: one line for each kind a second.
        if metadata.target() == module_path!() {
            return true;
        }
        let callsite = metadata.callsite();
        if let Some(kind) = self.0.kinds.lock().get_mut(&callsite) {
            return kind.admits(per_second, now);
        }
        // Formatted without the lock, as values format themselves.
        let message = LineMessage::of(event);
        let kind = LineKind { message, since: now, written: 0, silenced: 0 };
        self.0.kinds.lock().entry(callsite).or_insert(kind).admits(per_second, now)
    }
}

impl<S: Subscriber> Layer<S> for FloodFilter {
    fn event_enabled(&self, event: &Event<'_>, _context: Context<'_, S>) -> bool {
        self.admits(event, Instant::now())
    }
}

impl LineKind {
    fn admits(&mut self, per_second: NonZeroU32, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= WINDOW {
            self.since = now;
            self.written = 0;
        }
        if self.written < per_second.get() {
            self.written += 1;
            return true;
        }
        self.silenced = self.silenced.saturating_add(1);
        false
    }
}

/// The message among the fields of an event.
struct LineMessage(String);

impl LineMessage {
    fn of(event: &Event<'_>) -> String {
        let mut message = Self(String::new());
        event.record(&mut message);
        match message.0.char_indices().nth(MESSAGE_CHARS_MAX) {
            Some((end, _)) => format!("{}…", &message.0[..end]),
            None => message.0,
        }
    }
}

impl Visit for LineMessage {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // A String takes everything.
            let _ = write!(self.0, "{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Written {
        fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
            self.0.lock().push(LineMessage::of(event));
        }
    }

    #[test]
    fn each_kind_has_its_own_bound_and_count() {
        let (filter, written) = (FloodFilter::new(NonZeroU32::new(2)), Written::default());
        let subscriber = tracing_subscriber::registry().with(written.clone()).with(filter.clone());
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..5 {
                tracing::info!(number, "often");
            }
            tracing::info!("rarely");
        });
        assert_eq!(*written.0.lock(), ["often", "often", "rarely"]);
        assert_eq!(filter.take_silenced(), [("often".to_owned(), 3)]);
        assert!(filter.take_silenced().is_empty(), "each is counted once");
    }

    #[test]
    fn without_a_bound_every_line_passes() {
        let (filter, written) = (FloodFilter::new(None), Written::default());
        let subscriber = tracing_subscriber::registry().with(written.clone()).with(filter.clone());
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..1000 {
                tracing::info!("often");
            }
        });
        assert_eq!(written.0.lock().len(), 1000);
    }

    #[test]
    fn a_second_later_lines_pass_again() {
        let start = Instant::now();
        let mut kind = LineKind { message: String::new(), since: start, written: 0, silenced: 0 };
        let one = NonZeroU32::MIN;
        assert!(kind.admits(one, start));
        assert!(!kind.admits(one, start + Duration::from_millis(999)));
        assert!(kind.admits(one, start + Duration::from_millis(1000)));
        assert_eq!(kind.silenced, 1);
    }
}
