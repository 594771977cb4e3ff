//! The metrics that guides name are those of a node.

use std::collections::BTreeSet;

use serde_json::Value;
use tidings_auth::DenialReason;
use tidings_event::control::{ReconnectReason, ResetReason};
use tidings_metrics::{EventKind, Metrics};

use super::Document;
use crate::support::directory::repository;

/// The names of all metrics of a node.
fn metrics() -> BTreeSet<String> {
    let metrics = Metrics::new();
    // A metric with labels shows itself once it has counted something.
    metrics.count_event(EventKind::Live);
    metrics.count_dropped(ResetReason::TooLarge.as_str());
    metrics.count_reset(ResetReason::Trimmed.as_str());
    metrics.count_reconnect(ReconnectReason::Lagging.as_str());
    metrics.count_refusal("workspaces");
    metrics.count_denial(DenialReason::Expiry.as_str());
    let encoded = metrics.encode().unwrap();
    let names = encoded.lines().filter(|line| !line.starts_with('#'));
    names.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

/// Words that look like a metric: the function in Redis, a file of an app, and the beginning of
/// all.
const OTHERS: [&str; 3] = ["tidings_publish", "tidings_controller", "tidings_"];

/// The words of a text that name a metric.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_');
    words.filter(|word| word.starts_with("tidings_") && !OTHERS.contains(word)).collect()
}

#[test]
fn guides_name_metrics_that_exist() {
    let known = metrics();
    let mut found = 0;
    for entry in std::fs::read_dir(repository().join("docs/guides")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for name in named(&text) {
            assert!(known.contains(name), "{}: {name}", path.display());
            found += 1;
        }
    }
    assert!(found > 15, "{found}");
}

#[test]
fn alerts_name_reasons_that_exist() {
    let document = Document::read("docs/guides/alerts.md");
    let rules = document.blocks("Alerts", "yaml").concat();
    let resets = ResetReason::ALL.map(ResetReason::as_str);
    let reconnects = ReconnectReason::ALL.map(ReconnectReason::as_str);
    let mut found = 0;
    for (metric, reasons) in [("resets", &resets[..]), ("reconnects", &reconnects[..])] {
        for rest in rules.split(&format!("tidings_{metric}_total{{reason=\"")).skip(1) {
            let reason = rest.split('"').next().unwrap();
            assert!(reasons.contains(&reason), "{metric}: {reason}");
            found += 1;
        }
    }
    assert!(found >= 3, "{found}");
    // It is YAML, with an expression in each rule.
    let rules: Value = serde_saphyr::from_str(document.blocks("Alerts", "yaml")[0]).unwrap();
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() > 5 && rules.iter().all(|rule| rule["expr"].is_string()), "{rules:?}");
}
