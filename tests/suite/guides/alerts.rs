//! The metrics that guides name are those of a node.

use std::collections::BTreeSet;

use tidings_metrics::{Metrics, Series, TextFormat};

use crate::support::directory::repository;

/// The names of all metrics of a node.
fn metrics() -> BTreeSet<String> {
    let metrics = Metrics::new();
    // A metric with labels shows itself once it has a series.
    let any = &["any"][..];
    metrics.create(&Series {
        resets: any,
        dropped: any,
        reconnects: any,
        refusals: any,
        denials: any,
        ended_streams: any,
        rejections: &[("any", any)],
    });
    let encoded = metrics.encode(TextFormat::Prometheus).unwrap();
    let names = encoded.lines().filter(|line| !line.starts_with('#'));
    let names = names.filter_map(|line| line.split(['{', ' ']).next());
    // A guide may name a histogram without the suffixes of its samples.
    names.flat_map(|name| [name, name.trim_end_matches("_bucket")]).map(str::to_owned).collect()
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
    assert!(found > 1, "{found}");
}
