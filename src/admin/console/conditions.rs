//! The warnings about the node as it is, each with a fix.

use std::time::{Duration, SystemTime};

use super::Console;
use super::history::Sample;
use tidings_bus::redis::access::Finding;
use tidings_bus::{BusState, LinkState};

/// The part of a bound from which on the console warns, in percent.
const NEARLY_FULL_PERCENT: i64 = 90;

/// The time for which failed requests to the app count, in milliseconds.
const RECENT_MS: u64 = 60_000;

/// The interval at which the rights of the node are tried. Each right is a command or two.
const RIGHTS_INTERVAL: Duration = Duration::from_secs(300);

/// The bound on trying all rights.
const RIGHTS_TIMEOUT: Duration = Duration::from_secs(30);

/// The interval of looks for an open page.
const PAGE_INTERVAL: Duration = Duration::from_secs(1);

/// The time before the end of a certificate in which the console warns.
const CERTIFICATE_SOON: Duration = Duration::from_secs(14 * 86_400);

impl Console {
    /// Tries the rights of the node at the bus while a page is open. Never ends.
    pub(super) async fn watch_rights(&self) {
        loop {
            if self.feed.is_open() && self.parts.bus.state().link == LinkState::Up {
                let tried = tokio::time::timeout(RIGHTS_TIMEOUT, self.parts.bus.examine()).await;
                if let Ok(findings) = tried {
                    *self.rights.lock() =
                        findings.into_iter().filter(|finding| finding.fix.is_some()).collect();
                    tokio::time::sleep(RIGHTS_INTERVAL).await;
                }
            }
            tokio::time::sleep(PAGE_INTERVAL).await;
        }
    }

    /// Returns the warnings of the start, and those of the present.
    pub(super) fn warnings(&self, bus: &BusState, now: &Sample) -> Vec<Finding> {
        let at_start = self.settings.findings.iter().filter(|finding| finding.fix.is_some()).cloned();
        let mut warnings: Vec<_> = of_bus(bus).into_iter().chain(at_start).collect();
        if bus.link == LinkState::Up {
            warnings.extend(self.rights.lock().iter().cloned());
        }
        let metrics = self.parts.node.metrics();
        for (check, now, max, setting) in [
            ("connections", metrics.connections.get(), metrics.connections_max.get(), "limits.connections"),
            ("recent events", metrics.ring_bytes.get(), metrics.ring_bytes_max.get(), "limits.ring_bytes"),
            ("replays", metrics.replay_bytes.get(), metrics.replay_bytes_max.get(), "limits.replay_bytes"),
            (
                "unsent events",
                metrics.unsent_bytes.get(),
                metrics.unsent_bytes_max.get(),
                "limits.unsent_bytes",
            ),
        ] {
            if max > 0 && now.saturating_mul(100) >= max.saturating_mul(NEARLY_FULL_PERCENT) {
                let fix = format!("raise {setting}, or add a node");
                warnings.push(warning(check, format!("{now} of {max} are in use"), fix));
            }
        }
        let ends = u64::try_from(metrics.tls_not_after.get()).unwrap_or(0);
        if ends > 0 {
            warnings.extend(of_certificate(
                SystemTime::UNIX_EPOCH + Duration::from_secs(ends),
                SystemTime::now(),
            ));
        }
        let without_keys = self.parts.tokens.as_ref().map(|tokens| tokens.without_keys()).unwrap_or_default();
        if !without_keys.is_empty() {
            let found = format!("there are none from {}", without_keys.join(", "));
            warnings.push(warning("keys for tokens", found, "let that URL return 200 and a set of keys"));
        }
        if let Some(before) = self.history.before(now.at_ms, RECENT_MS) {
            warnings.extend(of_last_minute(&before, now));
        }
        let lost = metrics.log_lines_dropped.get();
        if lost > 0 {
            let fix = "read standard error faster, or lower log.level".to_owned();
            warnings.push(warning("log", format!("{lost} lines could not be written"), fix));
        }
        warnings
    }
}

fn warning(check: &'static str, result: String, fix: impl Into<String>) -> Finding {
    Finding { check, result, fix: Some(fix.into()) }
}

/// The warnings about the link to the bus.
fn of_bus(bus: &BusState) -> Vec<Finding> {
    let rights = "run `tidings check`, which names the right that the Redis user lacks";
    let mut warnings = Vec::new();
    match &bus.link {
        LinkState::Down { error } => warnings.push(warning(
            "bus",
            format!("no link: {error}"),
            "clients stay connected and get a reset or the missed events later; start Redis or correct [redis]: `tidings check` tries \
             the connection",
        )),
        LinkState::Resubscribing => warnings.push(warning(
            "bus",
            "the node subscribes to its channels again".to_owned(),
            "wait: streams resume by themselves",
        )),
        LinkState::Up => {}
    }
    for (check, refused) in [
        ("probes", &bus.probe_refused),
        ("subscriptions", &bus.subscription_refused),
        ("control channel", &bus.control_refused),
        ("stored bans", &bus.bans_refused),
    ] {
        warnings.extend(
            refused.iter().map(|reason| warning(check, format!("Redis rejects it: {reason}"), rights)),
        );
    }
    if let Some((count, reason)) = &bus.refused {
        warnings.push(warning("workspaces", format!("Redis rejects {count} of them: {reason}"), rights));
    }
    if let Some(cluster) = &bus.cluster
        && cluster.slots_uncovered > 0
    {
        let found = format!("{} slots have no primary", cluster.slots_uncovered);
        warnings.push(warning(
            "cluster",
            found,
            "repair the cluster: `redis-cli --cluster check` names the slots",
        ));
    }
    warnings
}

/// The warnings about the app and the schemas in the last minute.
fn of_last_minute(before: &Sample, now: &Sample) -> Vec<Finding> {
    let mut warnings = Vec::new();
    let failures = now.forward_failures.saturating_sub(before.forward_failures);
    if failures > 0 {
        warnings.push(warning(
            "app at auth.forward.url",
            format!("requests without a valid response in the last minute: {failures}"),
            "start the app or correct it: `tidings check` asks it, and the log has the reason",
        ));
    }
    let mismatches = now.schema_mismatches.saturating_sub(before.schema_mismatches);
    if mismatches > 0 {
        warnings.push(warning(
            "schemas",
            format!("events that did not match their schema in the last minute: {mismatches}"),
            "correct the publisher: the log names the type and the place",
        ));
    }
    warnings
}

/// The warning about the end of a certificate.
fn of_certificate(ends: SystemTime, now: SystemTime) -> Option<Finding> {
    let left = ends.duration_since(now).unwrap_or_default();
    let found = match left.as_secs() {
        0 => "it has ended".to_owned(),
        _ if left < CERTIFICATE_SOON => format!("it ends in {} days", left.as_secs() / 86_400),
        _ => return None,
    };
    Some(warning("certificate", found, "replace the files; the node takes new ones"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_bus::StateCell;

    #[test]
    fn lost_and_limited_bus_has_warnings() {
        let state = StateCell::new("redis");
        assert_eq!(of_bus(&state.snapshot()).len(), 1, "not connected yet");
        state.set_link(LinkState::Up);
        assert!(of_bus(&state.snapshot()).is_empty());
        state.set_control_refused(Some("NOPERM".to_owned()));
        state.set_refused(Some((2, "NOPERM".to_owned())));
        let warnings = of_bus(&state.snapshot());
        assert!(warnings.len() == 2 && warnings.iter().all(|warning| warning.fix.is_some()), "{warnings:?}");
    }

    #[test]
    fn failures_of_the_last_minute_are_reported() {
        let before = Sample { forward_failures: 2, schema_mismatches: 3, ..Sample::default() };
        assert_eq!(of_last_minute(&before, &before), []);
        let now = Sample { forward_failures: 4, schema_mismatches: 4, ..before };
        let found: Vec<_> = of_last_minute(&before, &now).into_iter().map(|warning| warning.result).collect();
        assert!(found[0].ends_with(": 2") && found[1].ends_with(": 1"), "{found:?}");
    }

    #[test]
    fn certificate_is_reported_before_its_end() {
        let now = SystemTime::UNIX_EPOCH + CERTIFICATE_SOON;
        let day = Duration::from_secs(86_400);
        assert_eq!(of_certificate(now + CERTIFICATE_SOON, now), None);
        assert_eq!(of_certificate(now + 3 * day, now).unwrap().result, "it ends in 3 days");
        assert_eq!(of_certificate(now - day, now).unwrap().result, "it has ended");
    }
}
