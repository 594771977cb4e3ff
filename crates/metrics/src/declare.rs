//! One declaration a metric: its field, type, name, unit, label and text.
//!
//! [`metrics!`] turns declarations into a struct with a field for each metric. It registers them
//! for `/metrics`, and collects them for the table of `docs/metrics.md`.

use std::hash::{Hash, Hasher};
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabel as _, EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry, Unit};

/// The beginning of all names.
const PREFIX: &str = "tidings";

/// The declaration of a metric, as `/metrics` and the table show it.
#[derive(Debug, Default)]
pub(crate) struct Declaration {
    /// The doc comment of the field, with a full stop at its end.
    pub(crate) help: &'static str,
    /// The name between `tidings_` and the suffix of its unit and type.
    pub(crate) name: &'static str,
    /// The unit, which is part of the name.
    pub(crate) unit: Option<Unit>,
    /// The name of its one label.
    pub(crate) label: Option<&'static str>,
    /// The values of the label that exist from the start, with 0.
    pub(crate) values: &'static [&'static str],
    /// The upper bounds of a histogram's buckets.
    pub(crate) buckets: &'static [f64],
    /// Markdown that only the table has, behind the help.
    pub(crate) more: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub(crate) kind: String,
}

/// The metrics that are declared so far.
#[derive(Debug)]
pub(crate) struct Declared {
    pub(crate) registry: Registry,
    pub(crate) declarations: Vec<Declaration>,
}

/// A type of metric.
pub(crate) trait Kind: Sized {
    /// What the registry holds of it.
    type Registered: Metric + TypedMetric;

    /// Creates a metric at zero.
    fn create(declaration: &Declaration) -> Self;

    /// Returns a handle to the same metric.
    fn registered(&self) -> Self::Registered;
}

/// A gauge of fractions.
pub(crate) type FloatGauge = Gauge<f64, AtomicU64>;

/// A counter for each value of one label.
#[derive(Debug, Clone)]
pub(crate) struct CounterBy {
    label: &'static str,
    counters: Family<LabelValue, Counter>,
}

/// Creates the histograms of a family, with the same buckets.
#[derive(Debug, Clone)]
pub(crate) struct NewHistogram(pub(crate) &'static [f64]);

/// A label with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LabelValue {
    label: &'static str,
    value: &'static str,
}

/// Declares the metrics of a struct. A doc comment is the help of its field; the other parts are
/// fields of [`Declaration`].
macro_rules! metrics {
    (
        $(#[$about:meta])*
        $access:vis struct $group:ident {
            $(
                $(#[doc = $help:literal])+
                $visible:vis $field:ident: $kind:ty { $($part:ident: $value:expr),+ $(,)? }
            )+
        }
    ) => {
        $(#[$about])*
        $access struct $group {
            pub(crate) registry: prometheus_client::registry::Registry,
            $(
                $(#[doc = $help])+
                $visible $field: $kind,
            )+
        }

        impl $group {
            /// Creates all metrics at zero, with the declarations behind them.
            pub(crate) fn declared() -> (Self, Vec<$crate::declare::Declaration>) {
                let mut declared = $crate::declare::Declared::default();
                $(
                    let $field: $kind = declared.add($crate::declare::Declaration {
                        help: concat!($($help),+).trim_ascii(),
                        $($part: $value,)+
                        ..Default::default()
                    });
                )+
                (Self { registry: declared.registry, $($field),+ }, declared.declarations)
            }
        }
    };
}

pub(crate) use metrics;

impl Declaration {
    /// Returns the name of the samples in `/metrics`.
    pub(crate) fn sample(&self) -> String {
        let mut name = format!("{PREFIX}_{}", self.name);
        if let Some(unit) = &self.unit {
            name = format!("{name}_{}", unit.as_str());
        }
        if self.kind == "counter" { format!("{name}_total") } else { name }
    }
}

impl Default for Declared {
    fn default() -> Self {
        Self { registry: Registry::with_prefix(PREFIX), declarations: Vec::new() }
    }
}

impl Declared {
    /// Creates and registers a metric.
    pub(crate) fn add<K: Kind>(&mut self, declaration: Declaration) -> K {
        let metric = K::create(&declaration);
        // The registry adds a full stop.
        let help = declaration.help.trim_end_matches('.');
        let name = declaration.name;
        match &declaration.unit {
            Some(unit) => self.registry.register_with_unit(name, help, unit.clone(), metric.registered()),
            None => self.registry.register(name, help, metric.registered()),
        }
        let kind = K::Registered::TYPE.as_str().to_owned();
        self.declarations.push(Declaration { kind, ..declaration });
        metric
    }
}

impl Kind for Counter {
    type Registered = Self;

    fn create(_: &Declaration) -> Self {
        Self::default()
    }

    fn registered(&self) -> Self {
        self.clone()
    }
}

impl Kind for Gauge {
    type Registered = Self;

    fn create(_: &Declaration) -> Self {
        Self::default()
    }

    fn registered(&self) -> Self {
        self.clone()
    }
}

impl Kind for FloatGauge {
    type Registered = Self;

    fn create(_: &Declaration) -> Self {
        Self::default()
    }

    fn registered(&self) -> Self {
        self.clone()
    }
}

impl Kind for CounterBy {
    type Registered = Family<LabelValue, Counter>;

    fn create(declaration: &Declaration) -> Self {
        let label = declaration.label.unwrap_or_default();
        let counter = Self { label, counters: Family::default() };
        for value in declaration.values {
            counter.create(value);
        }
        counter
    }

    fn registered(&self) -> Self::Registered {
        self.counters.clone()
    }
}

impl Kind for Histogram {
    type Registered = Self;

    fn create(declaration: &Declaration) -> Self {
        Self::new(declaration.buckets.iter().copied())
    }

    fn registered(&self) -> Self {
        self.clone()
    }
}

impl MetricConstructor<Histogram> for NewHistogram {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

impl CounterBy {
    /// Counts one of a value.
    pub(crate) fn inc(&self, value: &'static str) {
        self.inc_by(value, 1);
    }

    /// Counts several of a value.
    pub(crate) fn inc_by(&self, value: &'static str, count: u64) {
        self.counters.get_or_create(&LabelValue { label: self.label, value }).inc_by(count);
    }

    /// Creates the series of a value.
    pub(crate) fn create(&self, value: &'static str) {
        let _created = self.counters.get_or_create(&LabelValue { label: self.label, value });
    }

    /// Returns the count of a value.
    pub(crate) fn get(&self, value: &'static str) -> u64 {
        self.counters.get_or_create(&LabelValue { label: self.label, value }).get()
    }
}

impl Hash for LabelValue {
    /// Hashes the value alone: all label values of one family have the same label.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value.hash(state);
    }
}

impl EncodeLabelSet for LabelValue {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        (self.label, self.value).encode(encoder.encode_label())
    }
}
