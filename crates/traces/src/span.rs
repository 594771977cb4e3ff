//! A span, and the bounded queue of those that wait for the export.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;

use tidings_event::{SpanId, TraceParent};
use tidings_metrics::{Metrics, SpanResult};

/// The spans that wait for the export at most.
pub(super) const QUEUE_SPANS: usize = 2_048;

/// The kind of a span, with its number in OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SpanKind {
    /// A request that the node serves.
    Server = 2,
    /// An event that the node delivers.
    Consumer = 5,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AttributeValue {
    Text(String),
    Integer(u64),
    Flag(bool),
}

/// A finished span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TraceSpan {
    pub(super) name: &'static str,
    pub(super) kind: SpanKind,
    /// The trace, with this span.
    pub(super) context: TraceParent,
    /// The span before it, if there is one.
    pub(super) parent: Option<SpanId>,
    pub(super) begin: SystemTime,
    pub(super) duration: Duration,
    pub(super) attributes: Vec<(&'static str, AttributeValue)>,
    /// Whether the operation failed.
    pub(super) has_failed: bool,
}

/// The sender of the queue. A span for which it has no space is dropped and counted.
#[derive(Debug, Clone)]
pub(super) struct SpanQueue {
    sender: mpsc::Sender<TraceSpan>,
    metrics: Arc<Metrics>,
}

impl SpanQueue {
    /// Creates the queue.
    pub(super) fn new(metrics: Arc<Metrics>) -> (Self, mpsc::Receiver<TraceSpan>) {
        let (sender, receiver) = mpsc::channel(QUEUE_SPANS);
        (Self { sender, metrics }, receiver)
    }

    /// Adds a span. Never waits.
    pub(super) fn push(&self, span: TraceSpan) {
        if self.sender.try_send(span).is_err() {
            self.metrics.count_spans(SpanResult::Dropped, 1);
        }
    }
}

impl From<&str> for AttributeValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for AttributeValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<usize> for AttributeValue {
    fn from(number: usize) -> Self {
        Self::Integer(number as u64)
    }
}

impl From<bool> for AttributeValue {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}
