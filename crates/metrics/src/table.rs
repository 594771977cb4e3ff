//! The table of `docs/metrics.md`.

use super::Metrics;

/// Returns the table of `docs/metrics.md`: Markdown with a row for each metric.
#[must_use]
pub fn markdown() -> String {
    let mut text = "| metric | type | meaning |\n| --- | --- | --- |\n".to_owned();
    for metric in Metrics::declared().1 {
        let label = metric.label.map(|label| format!("{{{label}}}")).unwrap_or_default();
        let unit = metric.unit.as_ref().map(|unit| format!(", {}", unit.as_str())).unwrap_or_default();
        let meaning = format!("{} {}", metric.help, metric.more);
        let (sample, kind) = (metric.sample(), &metric.kind);
        text.push_str(&format!("| `{sample}{label}` | {kind}{unit} | {} |\n", meaning.trim_end()));
    }
    text
}
