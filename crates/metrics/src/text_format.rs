//! The two text formats of metrics.

use std::fmt;

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use super::Metrics;

/// A text format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFormat {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The Prometheus text format 0.0.4.
    Prometheus,
}

impl TextFormat {
    /// Returns the content type of the format.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

impl Metrics {
    /// Encodes all metrics in a text format.
    ///
    /// # Errors
    ///
    /// Returns an error only if a metric cannot encode itself; none of these fails.
    pub fn encode(&self, format: TextFormat) -> Result<String, fmt::Error> {
        encode(&[&self.registry], format)
    }

    /// Encodes all metrics and those of another registry in a text format.
    ///
    /// # Errors
    ///
    /// Returns an error only if a metric cannot encode itself; none of these fails.
    pub fn encode_with(&self, other: &Registry, format: TextFormat) -> Result<String, fmt::Error> {
        encode(&[&self.registry, other], format)
    }
}

/// Encodes the metrics of registries, one after the other.
pub(crate) fn encode(registries: &[&Registry], format: TextFormat) -> Result<String, fmt::Error> {
    let mut encoded = String::new();
    for registry in registries {
        text::encode_registry(&mut encoded, registry)?;
    }
    match format {
        TextFormat::OpenMetrics => {
            text::encode_eof(&mut encoded)?;
            Ok(encoded)
        }
        TextFormat::Prometheus => Ok(prometheus_text(&encoded)),
    }
}

/// Converts OpenMetrics 1.0 to the Prometheus text format 0.0.4.
///
/// The older format has no units and no exemplars. It names a counter by its samples, with
/// `_total`.
fn prometheus_text(open_metrics: &str) -> String {
    let mut converted = String::with_capacity(open_metrics.len() + 256);
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("# UNIT ") {
            continue;
        }
        if let Some(metric) = line.strip_prefix("# HELP ")
            && let Some((name, help)) = metric.split_once(' ')
            && lines.peek() == Some(&format!("# TYPE {name} counter").as_str())
        {
            converted.push_str(&format!("# HELP {name}_total {help}\n# TYPE {name}_total counter\n"));
            lines.next();
            continue;
        }
        // No label value has this text: those with free text would escape the quote behind it.
        let is_sample = !line.starts_with('#');
        let sample = line.split_once(" # {").filter(|_| is_sample).map_or(line, |(sample, _)| sample);
        converted.push_str(sample);
        converted.push('\n');
    }
    converted
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::exemplar::HistogramWithExemplars;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::registry::Unit;

    use super::*;

    #[test]
    fn older_format_has_no_exemplars() {
        let mut registry = Registry::default();
        let histogram = HistogramWithExemplars::new([1.0].into_iter());
        registry.register("time", "A # {text} in a help", histogram.clone());
        histogram.observe(0.5, Some([("trace_id", "4bf9")]), None);
        let text = encode(&[&registry], TextFormat::OpenMetrics).unwrap();
        assert!(text.contains("time_bucket{le=\"1.0\"} 1 # {trace_id=\"4bf9\"} 0.5\n"), "{text}");
        let text = encode(&[&registry], TextFormat::Prometheus).unwrap();
        assert!(text.contains("time_bucket{le=\"1.0\"} 1\n") && !text.contains("4bf9"), "{text}");
        assert!(text.contains("# HELP time A # {text} in a help.\n"), "{text}");
    }

    #[test]
    fn counter_has_the_name_of_its_samples_in_the_older_format() {
        let mut registry = Registry::default();
        registry.register("reads", "Reads", Counter::<u64>::default());
        registry.register_with_unit("held", "Bytes held", Unit::Bytes, Gauge::<i64>::default());
        assert_eq!(
            encode(&[&registry], TextFormat::Prometheus).unwrap(),
            "# HELP reads_total Reads.\n# TYPE reads_total counter\nreads_total 0\n\
             # HELP held_bytes Bytes held.\n# TYPE held_bytes gauge\nheld_bytes 0\n"
        );
        assert_eq!(
            encode(&[&registry], TextFormat::OpenMetrics).unwrap(),
            "# HELP reads Reads.\n# TYPE reads counter\nreads_total 0\n\
             # HELP held_bytes Bytes held.\n# TYPE held_bytes gauge\n# UNIT held_bytes bytes\nheld_bytes 0\n# EOF\n"
        );
    }
}
