//! Spans of sampled events and publications, and their export to an OpenTelemetry collector.
//!
//! | part | contents |
//! | --- | --- |
//! | [`span`] | a span, and the bounded queue of those that wait for the export |
//! | [`events`] | turns the watched events of the hub into spans |
//! | [`publication`] | the trace of a publication over HTTP, and its span |
//! | [`encoding`] | spans as OTLP in JSON |
//! | [`collector`] | requests to the collector |
//! | [`exporter`] | the tasks that export, until the node stops |
//!
//! Read first: [`Traces`], [`PublicationTraces`].
//!
//! This crate must never know the bus, routes or the configuration. The node works the same
//! without a collector: spans are then dropped and counted.

mod collector;
mod encoding;
mod events;
mod exporter;
mod publication;
mod span;

pub use collector::{Collector, CollectorError, CollectorSettings, CollectorSetupError, parse_headers};
pub use exporter::{FLUSH_TIME, TraceParts, Traces};
pub use publication::{PublicationSpan, PublicationTraces};
