//! The metric of the build: a gauge that is always 1, with version and commit as labels.

use prometheus_client::encoding::{EncodeLabel as _, EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::declare::{Declaration, Kind};

/// The labels of a build.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Build {
    version: &'static str,
    commit: &'static str,
}

/// A gauge that is always 1, with one series: the build.
#[derive(Debug, Clone)]
pub(crate) struct BuildInfo(Family<Build, Gauge>);

impl BuildInfo {
    /// Replaces the build.
    pub(crate) fn set(&self, version: &'static str, commit: &'static str) {
        self.0.clear();
        self.0.get_or_create(&Build { version, commit }).set(1);
    }
}

impl Kind for BuildInfo {
    type Registered = Family<Build, Gauge>;

    fn create(declaration: &Declaration) -> Self {
        let info = Self(Family::default());
        for version in declaration.values {
            info.set(version, "unknown");
        }
        info
    }

    fn registered(&self) -> Self::Registered {
        self.0.clone()
    }
}

impl EncodeLabelSet for Build {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        ("version", self.version).encode(encoder.encode_label())?;
        ("commit", self.commit).encode(encoder.encode_label())
    }
}

#[cfg(test)]
mod tests {
    use crate::{Metrics, TextFormat};

    #[test]
    fn build_is_one_series_with_its_commit() {
        let metrics = Metrics::new();
        let series = |commit: &str| {
            let version = env!("CARGO_PKG_VERSION");
            let text = metrics.encode(TextFormat::Prometheus).unwrap();
            let line = format!("tidings_build_info{{version=\"{version}\",commit=\"{commit}\"}} 1");
            assert_eq!(text.lines().filter(|line| line.starts_with("tidings_build_info{")).count(), 1);
            text.lines().any(|found| found == line)
        };
        assert!(series("unknown"));
        metrics.set_commit("0c536f8a1b2c");
        assert!(series("0c536f8a1b2c"));
    }
}
