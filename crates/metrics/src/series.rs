//! The label values that a node counts by.

/// The label values of counters whose values other crates define.
///
/// Each series exists from the start of the process, because `rate` and `increase` of Prometheus do
/// not see the first count of a new series.
#[derive(Debug, Clone, Copy)]
pub struct Series<'a> {
    /// The reasons of resets.
    pub resets: &'a [&'static str],
    /// The reasons for which a node drops events.
    pub dropped: &'a [&'static str],
    /// The reasons for which a node ends streams.
    pub reconnects: &'a [&'static str],
    /// The limits beyond which a node refuses connections, streams and bodies.
    pub refusals: &'a [&'static str],
    /// The checks of authentication.
    pub denials: &'a [&'static str],
    /// The reasons for which streams end.
    pub ended_streams: &'a [&'static str],
    /// The kinds of requests, each with the reasons for which the node rejects it.
    pub rejections: &'a [(&'static str, &'a [&'static str])],
}
