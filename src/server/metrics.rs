//! Creates the metrics of a node, with all series and the configured limits.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::build;
use crate::config::Config;
use crate::files::FileBudget;
use crate::http::{REJECTIONS, refusal_reasons};
use tidings_auth::DenialReason;
use tidings_delivery::END_TEXTS;
use tidings_event::control::{ReconnectReason, ResetReason};
use tidings_metrics::{Metrics, Series};

/// The texts with which the log says why streams end.
fn ended_streams() -> Vec<&'static str> {
    ReconnectReason::ALL.map(ReconnectReason::as_str).into_iter().chain(END_TEXTS).collect()
}

/// Creates the metrics of a node with this configuration.
pub(super) fn metrics(config: &Config, files: &FileBudget) -> Arc<Metrics> {
    let metrics = Metrics::new();
    metrics.set_commit(build::COMMIT);
    metrics.create(&Series {
        resets: &ResetReason::ALL.map(ResetReason::as_str),
        dropped: &ResetReason::OF_DROPS.map(ResetReason::as_str),
        reconnects: &ReconnectReason::ALL.map(ReconnectReason::as_str),
        refusals: &refusal_reasons(),
        denials: &DenialReason::ALL.map(DenialReason::as_str),
        ended_streams: &ended_streams(),
        rejections: &REJECTIONS,
    });
    let signed = |number| i64::try_from(number).unwrap_or(i64::MAX);
    metrics.connections_max.set(signed(files.connections));
    metrics.connections_configured.set(signed(config.limits.connections));
    metrics.ring_bytes_max.set(signed(config.limits.ring_bytes));
    metrics
        .ring_bytes_full
        .set(signed(tidings_hub::bytes_full(config.limits.ring_bytes, config.limits.event_bytes)));
    metrics.body_bytes_max.set(signed(config.limits.body_bytes));
    metrics.replay_bytes_max.set(signed(config.limits.replay_bytes));
    metrics.unsent_bytes_max.set(signed(config.limits.unsent_bytes));
    metrics.config_read_at.set(unix_seconds(SystemTime::now()));
    Arc::new(metrics)
}

/// A time in seconds since 1970.
pub(super) fn unix_seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
