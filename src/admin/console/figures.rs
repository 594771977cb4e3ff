//! The figures of the node: a sample now and then, and the document of the overview.

use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::Console;
use super::history::{SAMPLE_SECONDS, Sample};
use super::reasons::ReasonCounts;
use crate::admin::status::rfc3339;
use tidings_auth::DenialReason;
use tidings_bus::{BusState, LinkState};
use tidings_event::control::{ReconnectReason, ResetReason};
use tidings_metrics::{EventKind, ForwardOutcome, SchemaResult};

impl Console {
    /// Takes a sample at each interval, the first one after it. Never ends.
    pub(super) async fn take_samples(&self) {
        let interval = Duration::from_secs(SAMPLE_SECONDS);
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + interval, interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let resident = tokio::task::spawn_blocking(resident_bytes).await.unwrap_or_default();
            self.add_sample(resident);
            self.survey.forget_idle(Instant::now());
        }
    }

    /// Adds a sample of now to the histories.
    pub(super) fn add_sample(&self, resident_bytes: u64) {
        self.reasons.add(|| self.reason_counts().totals());
        self.history.add(Sample { resident_bytes, ..self.sample(&self.parts.bus.state()) });
    }

    /// The figures of now, without the memory of the process.
    fn sample(&self, bus: &BusState) -> Sample {
        let metrics = self.parts.node.metrics();
        let small = |number: i64| u32::try_from(number).unwrap_or_default();
        let refusals: u64 = self.settings.refusals.iter().map(|&reason| metrics.refusals(reason)).sum();
        let denials: u64 = DenialReason::ALL.iter().map(|reason| metrics.denials(reason.as_str())).sum();
        Sample {
            at_ms: milliseconds(SystemTime::now()),
            connections: small(metrics.connections.get()),
            streams: small(metrics.subscribers.get()),
            behind: small(metrics.streams_behind.get()),
            bus_is_up: bus.link == LinkState::Up,
            unsent_bytes: u64::try_from(metrics.unsent_bytes.get()).unwrap_or_default(),
            resident_bytes: 0,
            events: metrics.events(EventKind::Live) + metrics.events(EventKind::Logged),
            deliveries: metrics.deliveries.get(),
            delivered_bytes: metrics.delivered_bytes.get(),
            rejections: refusals + denials,
            forward_failures: metrics.forward().counted(ForwardOutcome::Failed),
            schema_mismatches: metrics.schema_checks(SchemaResult::Mismatch),
            resets: ResetReason::ALL.iter().map(|reason| metrics.resets(reason.as_str())).sum(),
        }
    }

    /// The counts by reason since the start.
    fn reason_counts(&self) -> ReasonCounts {
        let metrics = self.parts.node.metrics();
        let denials = DenialReason::ALL.map(DenialReason::as_str);
        let resets = ResetReason::ALL.map(ResetReason::as_str);
        let reconnects = ReconnectReason::ALL.map(ReconnectReason::as_str);
        let dropped = ResetReason::OF_DROPS.map(ResetReason::as_str);
        ReasonCounts::default()
            .with("refusals", &self.settings.refusals, |reason| metrics.refusals(reason))
            .with("denials", &denials, |reason| metrics.denials(reason))
            .with("resets", &resets, |reason| metrics.resets(reason))
            .with("reconnects", &reconnects, |reason| metrics.reconnects(reason))
            .with("dropped", &dropped, |reason| metrics.dropped(reason))
    }

    /// Returns the figures of the node.
    pub(super) fn overview(&self) -> Value {
        let node = &self.parts.node;
        let (metrics, bus, unready) = (node.metrics(), self.parts.bus.state(), node.unready());
        let now = self.sample(&bus);
        let rates = self.history.base(now.at_ms).map(|base| now.rates_since(&base)).unwrap_or_default();
        let resident = self.history.newest().map_or(0, |sample| sample.resident_bytes);
        let (bounds, available) = self.settings.memory;
        let reasons = self.reason_counts();
        let (state, error) = match &bus.link {
            LinkState::Down { error } => ("down", Some(error)),
            LinkState::Resubscribing => ("resubscribing", None),
            LinkState::Up => ("up", None),
        };
        json!({
            "atMs": now.at_ms,
            "uptimeSeconds": node.began.elapsed().as_secs(),
            "ready": unready.is_empty(),
            "notReadyBecause": unready,
            "bus": {
                "kind": bus.kind,
                "server": bus.server,
                "state": state,
                "since": rfc3339(bus.since),
                "error": error,
                "interruptions": bus.interruptions,
            },
            "connections": now.connections,
            "connectionsMax": metrics.connections_max.get(),
            "streams": now.streams,
            "workspaces": metrics.workspaces.get(),
            "eventsPerSecond": rates.events,
            "deliveriesPerSecond": rates.deliveries,
            "deliveredBytesPerSecond": rates.delivered_bytes,
            "rejectionsPerSecond": rates.rejections,
            "resetsPerSecond": rates.resets,
            "streamsBehind": now.behind,
            "events": now.events,
            "deliveries": now.deliveries,
            "refusals": reasons.total("refusals"),
            "denials": reasons.total("denials"),
            "resets": reasons.total("resets"),
            "reconnects": reasons.total("reconnects"),
            "dropped": reasons.total("dropped"),
            "recent": reasons.recent(&self.reasons.recent(&reasons.totals())),
            "memory": [
                { "name": "process", "bytes": resident, "max": available },
                { "name": "all bounds", "bytes": bounds, "max": available },
                { "name": "recent events", "bytes": metrics.ring_bytes.get(), "max": metrics.ring_bytes_max.get() },
                { "name": "replays", "bytes": metrics.replay_bytes.get(), "max": metrics.replay_bytes_max.get() },
                { "name": "unsent events", "bytes": now.unsent_bytes, "max": metrics.unsent_bytes_max.get() },
            ],
            "warnings": self.warnings(&bus, &now).iter().map(|warning| json!({
                "check": warning.check,
                "result": warning.result,
                "fix": warning.fix,
            })).collect::<Vec<_>>(),
            "log": self.parts.lines.lines().iter().map(|line| json!({
                "level": line.level,
                "message": line.message,
                "fields": line.fields,
                "atMs": milliseconds(line.at),
                "count": line.count,
            })).collect::<Vec<_>>(),
        })
    }

    /// Returns the samples of the last fifteen minutes, as a list for each plot.
    pub(super) fn samples(&self) -> Value {
        let samples = self.history.samples();
        let pairs = || samples.iter().zip(samples.iter().skip(1));
        let rate = |of: fn(&super::history::SampleRates) -> f64| -> Vec<f64> {
            pairs().map(|(before, sample)| tenths(of(&sample.rates_since(before)))).collect()
        };
        let state = |of: fn(&Sample) -> u64| -> Vec<u64> { pairs().map(|(_, sample)| of(sample)).collect() };
        json!({
            "seconds": SAMPLE_SECONDS,
            "atMs": state(|sample| sample.at_ms),
            "connections": state(|sample| sample.connections.into()),
            "streams": state(|sample| sample.streams.into()),
            "behind": state(|sample| sample.behind.into()),
            "residentBytes": state(|sample| sample.resident_bytes),
            "busUp": state(|sample| sample.bus_is_up.into()),
            "events": rate(|rates| rates.events),
            "deliveries": rate(|rates| rates.deliveries),
            "rejections": rate(|rates| rates.rejections),
            "resets": rate(|rates| rates.resets),
        })
    }

    /// Returns the facts about the node that do not change.
    pub(super) fn facts(&self) -> Value {
        let (node, reach) = (&self.parts.node, &self.settings.reach);
        json!({
            "node": node.id.as_str(),
            "version": env!("CARGO_PKG_VERSION"),
            "payloads": self.settings.payloads,
            "eventBytes": self.settings.event_bytes,
            "public": reach.public,
            "publicSocket": reach.socket,
            "redisCli": reach.redis_cli,
            "channelPrefix": reach.channel_prefix,
            "authenticated": reach.authenticated,
        })
    }
}

/// A number with one decimal place, which is enough for a plot.
fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// A time in milliseconds since 1970.
pub(super) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The memory of the process, in bytes; 0 where the system does not say it. Blocks.
#[cfg(target_os = "linux")]
pub(super) fn resident_bytes() -> u64 {
    let statm = procfs::process::Process::myself().and_then(|process| process.statm());
    statm.map_or(0, |statm| statm.resident * procfs::page_size())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn resident_bytes() -> u64 {
    0
}
