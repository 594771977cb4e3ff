//! Bounds on lines of one kind. A kind is the place in the code that writes the line, so no line is
//! left without a bound.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::line_rate::{LeftOut, LineRate};

/// The longest message that names a kind, in characters.
const MESSAGE_CHARS_MAX: usize = 120;

/// The fields by which lines that are left out are counted: the reason for which a stream ended, or
/// a request was rejected.
const REASON_FIELDS: [&str; 2] = ["why", "reason"];

/// Lets a number of lines of each kind through in a second, and counts the others. A clone has the
/// same counts.
#[derive(Debug, Clone)]
pub(super) struct FloodFilter(Arc<FloodCounts>);

#[derive(Debug)]
struct FloodCounts {
    /// 0: any number.
    per_second: AtomicU32,
    kinds: Mutex<HashMap<Identifier, LineKind>>,
}

#[derive(Debug)]
struct LineKind {
    /// The message of its first line.
    message: String,
    rate: LineRate,
}

impl FloodFilter {
    /// `per_second`: lines of each kind in a second; `None`: any number.
    pub(super) fn new(per_second: Option<NonZeroU32>) -> Self {
        let per_second = AtomicU32::new(per_second.map_or(0, NonZeroU32::get));
        Self(Arc::new(FloodCounts { per_second, kinds: Mutex::default() }))
    }

    /// Replaces the number of lines, after a report of those that were left out.
    pub(super) fn set_rate(&self, per_second: Option<NonZeroU32>) {
        let per_second = per_second.map_or(0, NonZeroU32::get);
        if self.0.per_second.swap(per_second, Ordering::Relaxed) != per_second {
            self.report();
            // Each kind gets the new number with its next line.
            self.0.kinds.lock().clear();
        }
    }

    /// Writes one line for each kind of which lines were left out since the last call.
    pub(super) fn report(&self) {
        for (message, left_out) in self.take_left_out() {
            tracing::warn!(
                kind = message,
                silenced = left_out.lines,
                reasons = left_out.reasons(),
                "lines of one kind were left out (log.lines_per_second)"
            );
        }
    }

    fn take_left_out(&self) -> Vec<(String, LeftOut)> {
        let mut kinds = self.0.kinds.lock();
        let taken = kinds.values_mut().map(|kind| (&kind.message, kind.rate.take_left_out()));
        taken.filter_map(|(message, left_out)| Some((message.clone(), left_out?))).collect()
    }

    fn admits(&self, event: &Event<'_>, now: Instant) -> bool {
        let per_second = self.0.per_second.load(Ordering::Relaxed);
        let Some(per_second) = NonZeroU32::new(per_second) else { return true };
        let metadata = event.metadata();
        // The report itself: one line for each kind a second.
        if metadata.target() == module_path!() {
            return true;
        }
        let callsite = metadata.callsite();
        let known = self.0.kinds.lock().get_mut(&callsite).map(|kind| kind.rate.admits(now));
        let is_admitted = known.unwrap_or_else(|| {
            // Formatted without the lock, as values format themselves.
            let message = LineMessage::of(event);
            let kind = LineKind { message, rate: LineRate::new(per_second, now) };
            self.0.kinds.lock().entry(callsite.clone()).or_insert(kind).rate.admits(now)
        });
        if !is_admitted {
            let reason = LineReason::of(event);
            if let Some(kind) = self.0.kinds.lock().get_mut(&callsite) {
                kind.rate.leave_out(reason.as_deref());
            }
        }
        is_admitted
    }
}

impl<S: Subscriber> Layer<S> for FloodFilter {
    fn event_enabled(&self, event: &Event<'_>, _context: Context<'_, S>) -> bool {
        self.admits(event, Instant::now())
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

/// The reason among the fields of an event.
struct LineReason(Option<String>);

impl LineReason {
    fn of(event: &Event<'_>) -> Option<String> {
        let mut reason = Self(None);
        event.record(&mut reason);
        reason.0
    }
}

impl Visit for LineReason {
    fn record_str(&mut self, field: &Field, value: &str) {
        if REASON_FIELDS.contains(&field.name()) {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
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
                tracing::info!(number, why = "a reason", "often");
            }
            tracing::info!("rarely");
        });
        assert_eq!(*written.0.lock(), ["often", "often", "rarely"]);
        let left_out = filter.take_left_out();
        assert_eq!(
            left_out.iter().map(|(kind, left_out)| (&**kind, left_out.lines)).collect::<Vec<_>>(),
            [("often", 3)]
        );
        assert_eq!(left_out[0].1.reasons().unwrap(), "a reason 3");
        assert!(filter.take_left_out().is_empty(), "each is counted once");
        filter.set_rate(None);
        assert!(filter.0.kinds.lock().is_empty() && filter.0.per_second.load(Ordering::Relaxed) == 0);
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
}
