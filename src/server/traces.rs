//! Builds the export of spans, if there is a collector.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::start_error::StartError;
use crate::config::OtlpConfig;
use tidings_event::NodeId;
use tidings_hub::WatchList;
use tidings_metrics::Metrics;
use tidings_settings::{SecretText, read_regular_file};
use tidings_traces::{
    CollectorSettings, CollectorSetupError, PublicationTraces, TraceParts, Traces, parse_headers,
};

/// Limits the file with the headers, in bytes.
const HEADERS_BYTES_MAX: u64 = 64 * 1024;

/// The settings of the traces of a node.
#[derive(Debug)]
pub(super) struct TraceSettings {
    /// The endpoint of the collector.
    pub(super) endpoint: String,
    /// The headers of its requests; empty if a file has them.
    pub(super) headers: SecretText,
    /// The file of the headers.
    pub(super) headers_file: Option<PathBuf>,
    /// Bound on one request.
    pub(super) timeout: Duration,
    /// The share of events without a trace that get one.
    pub(super) ratio: f64,
}

/// The traces of a node.
#[derive(Debug)]
pub(super) struct NodeTraces {
    /// The sampled events, for the hub.
    pub(super) watch_list: Arc<WatchList>,
    /// The export; has to be run.
    pub(super) traces: Traces,
}

/// The collector cannot be used. The message has no part of a secret.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file of the headers cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The settings do not serve.
    #[error(transparent)]
    Setup(#[from] CollectorSetupError),
}

/// The traces of publications over HTTP; `None` if nothing uses them.
pub(super) fn publications(traces: Option<&NodeTraces>, in_streams: bool) -> Option<PublicationTraces> {
    let without_collector = || in_streams.then(PublicationTraces::without_collector);
    traces.map(|traces| traces.traces.publications()).or_else(without_collector)
}

/// The settings of the collector of a configuration; `None` without one. Reads a file, and so
/// blocks.
///
/// # Errors
///
/// Returns a [`TraceError`] if the headers cannot be had.
pub fn collector(otlp: &OtlpConfig) -> Result<Option<CollectorSettings>, TraceError> {
    if otlp.endpoint.is_empty() {
        return Ok(None);
    }
    settings(&otlp.endpoint, &otlp.headers, otlp.headers_file.clone(), otlp.timeout_seconds.duration())
        .map(Some)
}

fn settings(
    endpoint: &str,
    headers: &SecretText,
    file: Option<PathBuf>,
    timeout: Duration,
) -> Result<CollectorSettings, TraceError> {
    let headers = match file {
        None => parse_headers(headers.reveal())?,
        Some(path) => match read_regular_file(&path, HEADERS_BYTES_MAX) {
            Ok(text) => parse_headers(&String::from_utf8_lossy(&text))?,
            Err(source) => return Err(TraceError::File { path, source }),
        },
    };
    Ok(CollectorSettings { endpoint: endpoint.to_owned(), headers, timeout })
}

impl NodeTraces {
    /// Creates the traces of a node. Reads a file, and so blocks.
    ///
    /// # Errors
    ///
    /// [`StartError::Traces`], if the collector cannot be used.
    pub(super) fn new(
        trace_settings: TraceSettings,
        node: NodeId,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, StartError> {
        let TraceSettings { endpoint, headers, headers_file, timeout, ratio } = trace_settings;
        let collector = settings(&endpoint, &headers, headers_file, timeout)?;
        let watch_list = Arc::new(WatchList::new(ratio, Arc::clone(metrics)));
        let parts = TraceParts {
            node,
            version: env!("CARGO_PKG_VERSION"),
            watch_list: Arc::clone(&watch_list),
            metrics: Arc::clone(metrics),
        };
        let traces = Traces::new(collector, parts).map_err(TraceError::from)?;
        Ok(Self { watch_list, traces })
    }
}
