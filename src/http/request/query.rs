//! The query of a stream request.

use super::last_event_id::QueryIds;
use crate::http::response::problem::Problem;
use tidings_hub::{Start, SubscriptionFilter, TypeFilter};

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
            match &*name {
                "types" => {
                    let types =
                        TypeFilter::parse(&value).map_err(|error| Problem::bad_query(error.to_string()))?;
                    if parsed.filter.types.replace(types).is_some() {
                        return Err(Problem::bad_query(
                            "`types` is given twice: list all types in one, as in types=A,B",
                        ));
                    }
                }
                "named" => {
                    parsed.filter.named = match &*value {
                        "1" | "true" => true,
                        "0" | "false" => false,
                        _ => return Err(Problem::bad_query("`named` is 1 or 0")),
                    };
                }
                "since" => {
                    let milliseconds = milliseconds(&value).ok_or_else(|| {
                        Problem::bad_query(
                            "`since` is a time: milliseconds since 1970, or RFC 3339 such as 2026-11-22T10:00:00Z",
                        )
                    })?;
                    parsed.begin(Start::Since { milliseconds })?;
                }
                "last" => {
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
                "errors" => {
                    parsed.errors_by_status = match &*value {
                        "http" => true,
                        "stream" => false,
                        _ => return Err(Problem::bad_query("`errors` is http or stream")),
                    };
                }
                "ticket" => parsed.ticket = Some(value.into_owned()),
                _ => {}
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

/// A time as milliseconds since the Unix epoch: given so, or as RFC 3339.
fn milliseconds(text: &str) -> Option<u64> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    // A `+` of a time zone that was not escaped has become a space.
    let time: jiff::Timestamp = text.replace(' ', "+").parse().ok()?;
    u64::try_from(time.as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tidings_hub::Resume;

    fn parse(query: &str) -> Result<StreamQuery, Problem> {
        StreamQuery::parse(query, false, 100)
    }

    #[test]
    fn known_parameters_are_read_and_others_ignored() {
        let parsed = parse("_=1&types=A%2CB&named=1&last_event_id=5-1&errors=http&x").unwrap();
        assert_eq!(
            parsed.filter,
            SubscriptionFilter { types: Some(TypeFilter::parse("A,B").unwrap()), named: true, user: None }
        );
        assert_eq!(parsed.start, Some(Start::After(Resume::new("5-1"))));
        assert!(parsed.errors_by_status);
        assert_eq!(parse("").unwrap(), StreamQuery::default());
        assert!(StreamQuery::parse("", true, 100).unwrap().filter.named);
        assert!(!StreamQuery::parse("named=0", true, 100).unwrap().filter.named);
        assert_eq!(parse("last_event_id=").unwrap().start, None);
    }

    #[test]
    fn a_time_is_read_in_both_forms() {
        for query in [
            "since=1795341600000",
            "since=2026-11-22T10:00:00Z",
            "since=2026-11-22T12:00:00%2B02:00",
            "since=2026-11-22T12:00:00+02:00",
        ] {
            assert_eq!(
                parse(query).unwrap().start,
                Some(Start::Since { milliseconds: 1_795_341_600_000 }),
                "{query}"
            );
        }
        assert_eq!(parse("last=100").unwrap().start, Some(Start::Newest { count: 100 }));
    }

    #[test]
    fn a_position_wins_over_since_and_last() {
        for query in [
            "since=5&last_event_id=7-0",
            "lastEventId=7-0&last=5",
            "last_event_id=5-0&since=5&Last%2DEvent-ID=7%2d0",
        ] {
            assert_eq!(parse(query).unwrap().start, Some(Start::After(Resume::new("7-0"))), "{query}");
        }
        assert_eq!(parse("lastEventId=&last=5").unwrap().start, Some(Start::Newest { count: 5 }));
    }

    #[test]
    fn wrong_parameter_is_rejected() {
        for query in [
            "types=",
            "types=A&types=B",
            "named=yes",
            "errors=1",
            "since=",
            "since=yesterday",
            "since=-5",
            "since=99999999999999999999",
            "since=1960-01-01T00:00:00Z",
            "last=0",
            "last=101",
            "last=x",
            "last=1&since=5",
            "last=1&last=1",
            "last=1&since=5&lastEventId=7-0",
        ] {
            assert!(parse(query).is_err(), "{query}");
        }
    }

    proptest! {
        #[test]
        fn any_query_is_accepted_or_rejected(query in any::<String>()) {
            let _ = parse(&query);
        }
    }
}
