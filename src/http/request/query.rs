//! The query of a stream request.

use jiff::Timestamp;
use jiff::fmt::temporal::Pieces;

use super::last_event_id::QueryIds;
use crate::http::response::problem::Problem;
use tidings_hub::{Start, SubscriptionFilter, TypeFilter};

/// A query parameter of a stream. A name is read only if it is in [`StreamParameter::ALL`], with
/// which a test compares `docs/openapi.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamParameter {
    /// The types of events, `A,B`.
    Types,
    /// Whether events have their type as a name.
    Named,
    /// The time from which on events are sent.
    Since,
    /// The number of events that are sent first.
    Last,
    /// The form of temporary trouble.
    Errors,
    /// The ticket that opens the stream.
    Ticket,
}

impl StreamParameter {
    /// All parameters but those with an [id](super::last_event_id::ID_PARAMETERS).
    pub const ALL: [Self; 6] =
        [Self::Types, Self::Named, Self::Since, Self::Last, Self::Errors, Self::Ticket];

    /// Returns the name in a query.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Types => "types",
            Self::Named => "named",
            Self::Since => "since",
            Self::Last => "last",
            Self::Errors => "errors",
            Self::Ticket => "ticket",
        }
    }

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|parameter| parameter.as_str() == name)
    }
}

/// The query of a stream request. Unknown parameters are ignored: caches and proxies add some.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamQuery {
    /// `types=A,B` and `named=1`.
    pub filter: SubscriptionFilter,
    /// `last_event_id=…` by any of its names, or else `since=…` or `last=…`: the place at which
    /// the stream begins.
    pub start: Option<Start>,
    /// `errors=http`: temporary trouble is reported by a status, not inside the stream.
    pub errors_by_status: bool,
    /// `ticket=…`: the ticket that opens this stream.
    pub ticket: Option<String>,
}

impl StreamQuery {
    /// Reads a query string, percent-encoded as forms are. `named` is the configured default,
    /// `newest_max` bounds `last`.
    ///
    /// # Errors
    ///
    /// A known parameter with an invalid value, or twice, is a [`Problem`] with status 400.
    pub fn parse(query: &str, named: bool, newest_max: usize) -> Result<Self, Problem> {
        let mut parsed =
            Self { filter: SubscriptionFilter { named, ..SubscriptionFilter::default() }, ..Self::default() };
        let mut ids = QueryIds::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if ids.take(&name, &value) {
                continue;
            }
            let Some(parameter) = StreamParameter::of(&name) else { continue };
            match parameter {
                StreamParameter::Types => {
                    let types =
                        TypeFilter::parse(&value).map_err(|error| Problem::bad_query(error.to_string()))?;
                    if parsed.filter.types.replace(types).is_some() {
                        return Err(Problem::bad_query(
                            "`types` is given twice: list all types in one, as in types=A,B",
                        ));
                    }
                }
                StreamParameter::Named => {
                    parsed.filter.named = match &*value {
                        "1" | "true" => true,
                        "0" | "false" => false,
                        _ => return Err(Problem::bad_query("`named` is 1 or 0")),
                    };
                }
                StreamParameter::Since => {
                    let milliseconds = milliseconds(&value).ok_or_else(|| {
                        Problem::bad_query(
                            "`since` is a time: milliseconds since 1970, or RFC 3339 such as 2026-11-22T10:00:00Z",
                        )
                    })?;
                    parsed.begin(Start::Since { milliseconds })?;
                }
                StreamParameter::Last => {
                    let count =
                        value.parse().ok().filter(|count| (1..=newest_max).contains(count)).ok_or_else(
                            || {
                                Problem::bad_query(format!(
                                    "`last` is a number of events, 1 to {newest_max} (replay.newest_max)"
                                ))
                            },
                        )?;
                    parsed.begin(Start::Newest { count })?;
                }
                StreamParameter::Errors => {
                    parsed.errors_by_status = match &*value {
                        "http" => true,
                        "stream" => false,
                        _ => return Err(Problem::bad_query("`errors` is http or stream")),
                    };
                }
                StreamParameter::Ticket => parsed.ticket = Some(value.into_owned()),
            }
        }
        // A library that reconnects keeps the page's `since` or `last` and adds its position to
        // them.
        if let Some(resume) = ids.resume() {
            parsed.start = Some(Start::After(resume));
        }
        Ok(parsed)
    }

    fn begin(&mut self, start: Start) -> Result<(), Problem> {
        match self.start.replace(start) {
            None => Ok(()),
            Some(_) => {
                Err(Problem::bad_query("a stream begins at one place: give one of `since`, `last`, once"))
            }
        }
    }
}

/// A time as milliseconds since the Unix epoch: given so, or as RFC 3339. Logs have no events from
/// before 1970, so an earlier time is the epoch.
fn milliseconds(text: &str) -> Option<u64> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    // A `+` of a time zone that was not escaped has become a space.
    let text = text.replace(' ', "+");
    let pieces = Pieces::parse(&text).ok()?;
    let (time, offset) = (pieces.date().to_datetime(pieces.time()?), pieces.to_numeric_offset()?);
    // The year 9999 ends a few hours after the last timestamp.
    let time = offset.to_timestamp(time).unwrap_or(Timestamp::MAX);
    Some(u64::try_from(time.as_millisecond()).unwrap_or(0))
}

#[cfg(test)]
mod tests;
