//! Creates the metrics of a node, with all series and the configured limits.

use std::sync::Arc;

use crate::build;
use crate::config::Config;
use crate::files::FileBudget;
use crate::http::LimitExceeded;
use tidings_auth::DenialReason;
use tidings_event::control::{ReconnectReason, ResetReason};
use tidings_limits::StreamBound;
use tidings_metrics::{Metrics, Series};

/// The refusals that no type names.
const OTHER_REFUSALS: [&str; 2] = ["workspaces", "body-bytes"];

/// The reasons for which a node counts refusals.
pub(super) fn refusals() -> Vec<&'static str> {
    LimitExceeded::ALL
        .map(LimitExceeded::reason)
        .into_iter()
        .chain(StreamBound::ALL.map(StreamBound::as_str))
        .chain(OTHER_REFUSALS)
        .collect()
}

/// Creates the metrics of a node with this configuration.
pub(super) fn metrics(config: &Config, files: &FileBudget) -> Arc<Metrics> {
    let metrics = Metrics::new();
    metrics.set_commit(build::COMMIT);
    metrics.create(&Series {
        resets: &ResetReason::ALL.map(ResetReason::as_str),
        dropped: &ResetReason::OF_DROPS.map(ResetReason::as_str),
        reconnects: &ReconnectReason::ALL.map(ReconnectReason::as_str),
        refusals: &refusals(),
        denials: &DenialReason::ALL.map(DenialReason::as_str),
    });
    let signed = |number| i64::try_from(number).unwrap_or(i64::MAX);
    metrics.connections_max.set(signed(files.connections));
    metrics.ring_bytes_max.set(signed(config.limits.ring_bytes));
    metrics.replay_bytes_max.set(signed(config.limits.replay_bytes));
    metrics.unsent_bytes_max.set(signed(config.limits.unsent_bytes));
    Arc::new(metrics)
}
