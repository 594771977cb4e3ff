//! The counters of a node, for `/metrics` and `/status`. Names follow the Prometheus conventions.
//!
//! All names begin with `tidings_`. `metrics!` declares each metric once, with its text, and
//! [`markdown`] is the table of `docs/metrics.md`. [`Throttle`] bounds log lines, and [`chain()`]
//! formats the causes of an error.
//!
//! Read first: [`Metrics`].
//!
//! This crate must never know the types of what it counts. It depends on no other crate of
//! ours.

mod authentication;
mod build_info;
mod chain;
mod counted;
mod counting;
mod declare;
mod delivery_times;
mod forward;
mod kinds;
mod metrics;
mod rejections;
mod series;
mod sign_in;
mod table;
mod text_format;
mod throttle;

pub use authentication::{AuthenticationMethod, AuthenticationOutcome, AuthenticationTimes};
pub use chain::chain;
pub use counted::Counted;
pub use delivery_times::{DeliveryTimes, ExemplarLabels};
pub use forward::{ForwardMetrics, ForwardOutcome};
pub use kinds::{EventKind, SchemaResult, SpanResult};
pub use metrics::Metrics;
pub use series::Series;
pub use sign_in::SignInOutcome;
pub use table::markdown;
pub use text_format::TextFormat;
pub use throttle::Throttle;
