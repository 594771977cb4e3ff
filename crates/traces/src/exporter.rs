//! The tasks that export spans, until the node stops.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use super::collector::{Collector, CollectorSettings, CollectorSetupError};
use super::encoding::{self, Resource};
use super::events;
use super::publication::PublicationTraces;
use super::span::{SpanQueue, TraceSpan};
use tidings_delivery::BodyStreams;
use tidings_event::NodeId;
use tidings_hub::WatchList;
use tidings_metrics::{Metrics, SpanResult, Throttle};

/// The spans of one request.
const BATCH_SPANS: usize = 512;

/// The time in which spans gather for one request.
const GATHER: Duration = Duration::from_secs(1);

/// The pauses before a request is sent again. After the last one its spans are dropped.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// The time for the spans that are left when the node stops.
pub const FLUSH_TIME: Duration = Duration::from_secs(3);

/// The parts of a node that its traces use.
#[derive(Debug)]
pub struct TraceParts {
    /// The node.
    pub node: NodeId,
    /// The version of the program.
    pub version: &'static str,
    /// The sampled events of the hub.
    pub watch_list: Arc<WatchList>,
    /// The counters of the node.
    pub metrics: Arc<Metrics>,
}

/// The traces of a node; [`run`](Self::run) has to run.
#[derive(Debug)]
pub struct Traces {
    watch_list: Arc<WatchList>,
    queue: SpanQueue,
    spans: Receiver<TraceSpan>,
    exporter: Exporter,
}

/// Sends batches of spans.
#[derive(Debug)]
struct Exporter {
    collector: Collector,
    resource: Resource,
    metrics: Arc<Metrics>,
    warnings: Throttle,
}

impl Traces {
    /// Creates the traces of a node, without connecting to the collector.
    ///
    /// # Errors
    ///
    /// Returns a [`CollectorSetupError`] if the settings do not serve.
    pub fn new(settings: CollectorSettings, parts: TraceParts) -> Result<Self, CollectorSetupError> {
        let TraceParts { node, version, watch_list, metrics } = parts;
        let (queue, spans) = SpanQueue::new(Arc::clone(&metrics));
        let exporter = Exporter {
            collector: Collector::new(settings)?,
            resource: Resource { version, instance: node.as_str().to_owned() },
            metrics,
            warnings: Throttle::default(),
        };
        Ok(Self { watch_list, queue, spans, exporter })
    }

    /// The traces of publications over HTTP.
    #[must_use]
    pub fn publications(&self) -> PublicationTraces {
        PublicationTraces::new(self.queue.clone(), Arc::clone(&self.watch_list))
    }

    /// Exports spans until `stop`, then those that are left, within [`FLUSH_TIME`].
    pub async fn run(self, bodies: Arc<BodyStreams>, stop: CancellationToken) {
        let Self { watch_list, queue, mut spans, exporter } = self;
        let no_more = CancellationToken::new();
        let watching = async {
            events::run(watch_list, bodies, queue, stop).await;
            no_more.cancel();
        };
        let exporting = async {
            exporter.run(&mut spans, &no_more).await;
            exporter.flush(&mut spans).await;
        };
        let late = async {
            no_more.cancelled().await;
            tokio::time::sleep(FLUSH_TIME).await;
        };
        let bounded = async {
            tokio::select! {
                () = exporting => {}
                () = late => {}
            }
        };
        tokio::join!(watching, bounded);
        let mut left = 0;
        while spans.try_recv().is_ok() {
            left += 1;
        }
        exporter.metrics.count_spans(SpanResult::Dropped, left);
    }
}

impl Exporter {
    /// Exports spans as they come, until `no_more`.
    async fn run(&self, spans: &mut Receiver<TraceSpan>, no_more: &CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH_SPANS);
        while !no_more.is_cancelled() {
            batch.clear();
            tokio::select! {
                _ = spans.recv_many(&mut batch, BATCH_SPANS) => {}
                () = no_more.cancelled() => return,
            }
            // Spans of the same second share a request.
            tokio::select! {
                () = tokio::time::sleep(GATHER) => {}
                () = no_more.cancelled() => {}
            }
            while batch.len() < BATCH_SPANS
                && let Ok(span) = spans.try_recv()
            {
                batch.push(span);
            }
            self.export(&batch, no_more).await;
        }
    }

    /// Exports the spans that are left, each once.
    async fn flush(&self, spans: &mut Receiver<TraceSpan>) {
        let mut batch = Vec::with_capacity(BATCH_SPANS);
        loop {
            batch.clear();
            while batch.len() < BATCH_SPANS
                && let Ok(span) = spans.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() {
                return;
            }
            let unsent = UnsentSpans::new(&self.metrics, &batch);
            if self.send(&batch).await.is_ok() {
                unsent.forget();
            }
        }
    }

    /// Exports a batch, again after a pause if the collector cannot be reached. When the node
    /// stops, it makes one more attempt.
    async fn export(&self, batch: &[TraceSpan], no_more: &CancellationToken) {
        let unsent = UnsentSpans::new(&self.metrics, batch);
        let mut pauses = PAUSES.iter();
        loop {
            match self.send(batch).await {
                Ok(()) => return unsent.forget(),
                Err(false) => return,
                Err(true) => {}
            }
            let Some(pause) = pauses.next().filter(|_| !no_more.is_cancelled()) else { return };
            tokio::select! {
                () = tokio::time::sleep(*pause) => {}
                () = no_more.cancelled() => {}
            }
        }
    }

    /// Sends a request; counts the spans that the collector took. The error says whether another
    /// attempt may succeed.
    async fn send(&self, batch: &[TraceSpan]) -> Result<(), bool> {
        let body = Bytes::from(encoding::request(&self.resource, batch));
        match self.collector.send(body).await {
            Ok(response) => {
                let rejected = encoding::rejected(&response).min(batch.len() as u64);
                self.metrics.count_spans(SpanResult::Exported, batch.len() as u64 - rejected);
                self.metrics.count_spans(SpanResult::Dropped, rejected);
                Ok(())
            }
            Err(error) => {
                if let Some(silenced) = self.warnings.pass() {
                    tracing::warn!(%error, silenced, "the collector does not take spans (tracing.otlp.endpoint)");
                }
                Err(error.is_temporary())
            }
        }
    }
}

/// Counts spans as dropped, unless they are sent.
struct UnsentSpans<'a> {
    metrics: &'a Metrics,
    count: u64,
}

impl<'a> UnsentSpans<'a> {
    fn new(metrics: &'a Metrics, batch: &[TraceSpan]) -> Self {
        Self { metrics, count: batch.len() as u64 }
    }

    fn forget(mut self) {
        self.count = 0;
    }
}

impl Drop for UnsentSpans<'_> {
    fn drop(&mut self) {
        self.metrics.count_spans(SpanResult::Dropped, self.count);
    }
}
