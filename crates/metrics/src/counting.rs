//! Counting by label values, and reading these counts.

use super::{EventKind, Metrics, SchemaResult, Series, SignInOutcome, SpanResult};

impl Metrics {
    /// Creates the series of these label values, with 0. A rate of a series that begins with its
    /// first count lacks that count.
    pub fn create(&self, series: &Series<'_>) {
        for (counter, values) in [
            (&self.resets, series.resets),
            (&self.dropped, series.dropped),
            (&self.reconnects, series.reconnects),
            (&self.refusals, series.refusals),
            (&self.denials, series.denials),
            (&self.ended_streams, series.ended_streams),
        ] {
            for value in values {
                counter.create(value);
            }
        }
        for (request, reasons) in series.rejections {
            for reason in *reasons {
                self.rejections.create(request, reason);
            }
        }
    }

    /// Counts an event from the bus.
    pub fn count_event(&self, kind: EventKind) {
        self.events.inc(kind.as_str());
    }

    /// Counts a connection, stream or body beyond the limit that `reason` names.
    pub fn count_refusal(&self, reason: &'static str) {
        self.refusals.inc(reason);
    }

    /// Counts an event that the node dropped.
    pub fn count_dropped(&self, reason: &'static str) {
        self.dropped.inc(reason);
    }

    /// Counts events that were checked by their schemas.
    pub fn count_schema_checks(&self, result: SchemaResult, events: u64) {
        self.schema_checks.inc_by(result.as_str(), events);
    }

    /// Counts spans.
    pub fn count_spans(&self, result: SpanResult, spans: u64) {
        self.spans.inc_by(result.as_str(), spans);
    }

    /// Counts an attempt to sign in to the console.
    pub fn count_sign_in(&self, outcome: SignInOutcome) {
        self.sign_ins.inc(outcome.as_str());
    }

    /// Counts a reset.
    pub fn count_reset(&self, reason: &'static str) {
        self.resets.inc(reason);
    }

    /// Counts a stream that the node ended with a request to reconnect.
    pub fn count_reconnect(&self, reason: &'static str) {
        self.reconnects.inc(reason);
    }

    /// Counts a request that authentication rejected.
    pub fn count_denial(&self, reason: &'static str) {
        self.denials.inc(reason);
    }

    /// Counts a request that the node rejected. `request` and `reason` are those of its log line.
    pub fn count_rejection(&self, request: &'static str, reason: &'static str) {
        self.rejections.inc(request, reason);
    }

    /// Counts a stream that ended. `why` is that of its log line.
    pub fn count_ended_stream(&self, why: &'static str) {
        self.ended_streams.inc(why);
    }

    /// Returns the number of events of a kind from the bus.
    #[must_use]
    pub fn events(&self, kind: EventKind) -> u64 {
        self.events.get(kind.as_str())
    }

    /// Returns the number of events that were dropped for a reason.
    #[must_use]
    pub fn dropped(&self, reason: &'static str) -> u64 {
        self.dropped.get(reason)
    }

    /// Returns the number of connections, streams and bodies beyond the limit that `reason` names.
    #[must_use]
    pub fn refusals(&self, reason: &'static str) -> u64 {
        self.refusals.get(reason)
    }

    /// Returns the number of requests that authentication rejected by the check that `reason`
    /// names.
    #[must_use]
    pub fn denials(&self, reason: &'static str) -> u64 {
        self.denials.get(reason)
    }

    /// Returns the number of checks by schemas with a result.
    #[must_use]
    pub fn schema_checks(&self, result: SchemaResult) -> u64 {
        self.schema_checks.get(result.as_str())
    }

    /// Returns the number of spans with a result.
    #[must_use]
    pub fn spans(&self, result: SpanResult) -> u64 {
        self.spans.get(result.as_str())
    }

    /// Returns the number of resets for a reason.
    #[must_use]
    pub fn resets(&self, reason: &'static str) -> u64 {
        self.resets.get(reason)
    }

    /// Returns the number of streams that the node ended for a reason.
    #[must_use]
    pub fn reconnects(&self, reason: &'static str) -> u64 {
        self.reconnects.get(reason)
    }
}
