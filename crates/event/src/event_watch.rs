//! The deliveries of one sampled event on this node.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::{ConnectionId, SpanId, TraceParent};

/// Counts the deliveries of a sampled event, from its arrival to its last write.
///
/// A reader of the workspace owes the event until it has taken it or leaves. A reader that reads
/// for several streams hands its debt to each of them.
#[derive(Debug)]
pub struct EventWatch {
    /// The span of the event on this node.
    context: TraceParent,
    /// The span of the publisher, if it sent one.
    parent: Option<SpanId>,
    began: Instant,
    owing: AtomicUsize,
    deliveries: AtomicUsize,
    last: Mutex<LastDelivery>,
}

/// The last delivery of an event so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct LastDelivery {
    after: Duration,
    connection: Option<ConnectionId>,
    /// A stream that lacked the event when it was last looked for.
    behind: Option<ConnectionId>,
}

/// The deliveries of an event at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deliveries {
    /// The streams to which the event was written.
    pub streams: usize,
    /// The streams that lack it.
    pub behind: usize,
    /// The time from the arrival of the event on the node to its last delivery.
    pub after: Duration,
    /// A known stream that lacks the event; if none does, the one that got it last.
    pub slowest: Option<ConnectionId>,
}

impl EventWatch {
    /// Creates a watch of an event that arrived at `began`, and that `owing` readers owe. Its span
    /// is a child of `parent`, or the first of a trace.
    #[must_use]
    pub fn new(parent: Option<TraceParent>, began: Instant, owing: usize) -> Self {
        Self {
            context: parent.map_or_else(|| TraceParent::begin(true), TraceParent::child),
            parent: parent.map(|parent| parent.span),
            began,
            owing: AtomicUsize::new(owing),
            deliveries: AtomicUsize::new(0),
            last: Mutex::default(),
        }
    }

    /// The trace of the event, with its span on this node.
    #[must_use]
    pub fn context(&self) -> TraceParent {
        self.context
    }

    /// The span of the publisher, if it sent one.
    #[must_use]
    pub fn parent(&self) -> Option<SpanId> {
        self.parent
    }

    /// The time at which the event arrived on the node.
    #[must_use]
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Adds readers or streams that owe the event.
    pub fn owe(&self, count: usize) {
        self.owing.fetch_add(count, Ordering::AcqRel);
    }

    /// Notes that some of them owe it no more, without a delivery: they left, or a filter hides it.
    pub fn release(&self, count: usize) {
        // A debt that was never noted must not become a huge one.
        let _ = self
            .owing
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |owing| Some(owing.saturating_sub(count)));
    }

    /// Notes deliveries at a time, the last of them to `connection` if that is known.
    pub fn deliver(&self, count: usize, at: Instant, connection: Option<ConnectionId>) {
        let after = at.saturating_duration_since(self.began);
        self.deliveries.fetch_add(count, Ordering::AcqRel);
        {
            let mut last = self.last.lock();
            if after >= last.after {
                (last.after, last.connection) = (after, connection.or(last.connection));
            }
        }
        self.release(count);
    }

    /// Names a stream that lacks the event.
    pub fn note_behind(&self, connection: Option<ConnectionId>) {
        self.last.lock().behind = connection;
    }

    /// The stream that was named as one that lacks the event.
    #[must_use]
    pub fn behind(&self) -> Option<ConnectionId> {
        self.last.lock().behind
    }

    /// Whether no reader owes the event.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.owing.load(Ordering::Acquire) == 0
    }

    /// The deliveries so far.
    #[must_use]
    pub fn deliveries(&self) -> Deliveries {
        let behind = self.owing.load(Ordering::Acquire);
        let last = *self.last.lock();
        let slowest = if behind > 0 { last.behind } else { last.connection };
        Deliveries { behind, streams: self.deliveries.load(Ordering::Acquire), after: last.after, slowest }
    }
}

/// Two watches are equal if they are the same.
impl PartialEq for EventWatch {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for EventWatch {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeId;

    #[test]
    fn watch_ends_when_no_reader_owes_the_event() {
        let began = Instant::now();
        let watch = EventWatch::new(None, began, 2);
        let connection = |number| Some(ConnectionId { node: NodeId::random(), number });
        let (late, early) = (connection(1), connection(2));
        watch.deliver(1, began + Duration::from_millis(9), late);
        watch.owe(3);
        watch.release(1);
        watch.deliver(2, began + Duration::from_millis(3), early);
        watch.note_behind(early);
        assert!(!watch.is_done());
        let after = Duration::from_millis(9);
        assert_eq!(watch.deliveries(), Deliveries { streams: 3, behind: 1, after, slowest: early });
        watch.release(1);
        assert!(watch.is_done());
        assert_eq!(watch.deliveries(), Deliveries { streams: 3, behind: 0, after, slowest: late });
        watch.release(1);
        assert!(watch.is_done(), "a debt is never below zero");
    }

    #[test]
    fn span_continues_the_trace_of_the_publisher() {
        let parent = TraceParent::begin(true);
        let watch = EventWatch::new(Some(parent), Instant::now(), 0);
        assert_eq!((watch.context().trace, watch.parent()), (parent.trace, Some(parent.span)));
        assert!(watch.context().span != parent.span && watch.is_done());
        assert_eq!(EventWatch::new(None, Instant::now(), 0).parent(), None);
    }
}
