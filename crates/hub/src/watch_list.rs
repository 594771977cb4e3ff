//! The sampled events whose deliveries are not complete.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use tidings_event::workspace::WorkspaceId;
use tidings_event::{EventWatch, Frame, Position, TraceParent};
use tidings_metrics::{Metrics, SpanResult};

/// Events that are watched at a time. Further sampled events get no span.
pub const WATCHED_MAX: usize = 256;

/// Events of one workspace that are watched at a time. So a stalled client of a busy workspace does
/// not use up all places, and a pass of its streams looks for few events.
pub(super) const WATCHED_OF_WORKSPACE_MAX: usize = 64;

/// The time after which a watch ends, although streams lack the event.
pub const WATCH_TIME: Duration = Duration::from_secs(10);

/// A sampled event.
#[derive(Debug, Clone)]
pub struct WatchedEvent {
    /// Its deliveries.
    pub watch: Arc<EventWatch>,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its position.
    pub position: Position,
    /// Bytes of its frame.
    pub bytes: usize,
    /// Whether it has an audience.
    pub is_private: bool,
    /// Its number in the ring of the workspace.
    pub number: u64,
}

/// Decides which events are sampled, and holds those that streams still owe.
#[derive(Debug)]
pub struct WatchList {
    /// The share of sampled events among those without a trace, from 0 to 1.
    ratio: f64,
    metrics: Arc<Metrics>,
    events: Mutex<Vec<WatchedEvent>>,
    added: Notify,
}

impl WatchList {
    /// Creates an empty list that samples a share (0 to 1) of the events without a trace.
    #[must_use]
    pub fn new(ratio: f64, metrics: Arc<Metrics>) -> Self {
        Self { ratio, metrics, events: Mutex::default(), added: Notify::new() }
    }

    /// Returns whether some events without a trace are sampled.
    #[must_use]
    pub fn draws(&self) -> bool {
        self.ratio > 0.0
    }

    /// Returns whether an event is sampled. If it has a trace, the publisher decides.
    #[must_use]
    pub fn samples(&self, trace: Option<TraceParent>) -> bool {
        match trace {
            Some(trace) => trace.is_sampled(),
            None => self.ratio > 0.0 && fastrand::f64() < self.ratio,
        }
    }

    /// Watches a frame that `owing` readers owe, if its event is sampled and the list has space.
    pub(super) fn watched(
        &self,
        frame: Frame,
        trace: Option<TraceParent>,
        workspace: &WorkspaceId,
        number: u64,
        owing: usize,
    ) -> Frame {
        if !self.samples(trace) {
            return frame;
        }
        let mut events = self.events.lock();
        let of_workspace = || events.iter().filter(|event| event.workspace == *workspace).count();
        if events.len() >= WATCHED_MAX || of_workspace() >= WATCHED_OF_WORKSPACE_MAX {
            self.metrics.count_spans(SpanResult::LeftOut, 1);
            return frame;
        }
        let watch = Arc::new(EventWatch::new(trace, Instant::now(), owing));
        events.push(WatchedEvent {
            watch: Arc::clone(&watch),
            workspace: workspace.clone(),
            position: *frame.position(),
            bytes: frame.plain().len(),
            is_private: frame.audience().is_some(),
            number,
        });
        drop(events);
        self.added.notify_one();
        frame.with_watch(Some(watch))
    }

    /// Takes the events whose deliveries are complete, or that are older than `time`.
    #[must_use]
    pub fn take_finished(&self, now: Instant, time: Duration) -> Vec<WatchedEvent> {
        let is_finished = |event: &mut WatchedEvent| {
            event.watch.is_done() || now.saturating_duration_since(event.watch.began()) >= time
        };
        self.events.lock().extract_if(.., is_finished).collect()
    }

    /// Whether no event is watched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.lock().is_empty()
    }

    /// Waits until an event was added since the last call. Cancellation safe.
    pub async fn added(&self) {
        self.added.notified().await;
    }
}
