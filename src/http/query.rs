//! The query of a stream request.

use super::problem::Problem;
use crate::hub::{TypeFilter, View};

/// What a stream request asks for in its query. Parameters that are not ours are left alone: caches and proxies add some.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StreamQuery {
    /// `types=A,B` and `named=1`.
    pub(super) view: View,
    /// `last_event_id=…`, for clients that cannot set the header on their first request.
    pub(super) last_event_id: Option<String>,
    /// `errors=http`: temporary trouble is answered with a status, not inside the stream.
    pub(super) errors_by_status: bool,
}

impl StreamQuery {
    /// Reads a query string, percent-encoded as forms are. `named` is the configured default.
    pub(super) fn parse(query: &str, named: bool) -> Result<Self, Problem> {
        let mut parsed = Self { view: View { types: None, named }, ..Self::default() };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "types" => {
                    let types =
                        TypeFilter::parse(&value).map_err(|error| Problem::bad_query(error.to_string()))?;
                    if parsed.view.types.replace(types).is_some() {
                        return Err(Problem::bad_query(
                            "`types` stands twice: list all types in one, as in types=A,B",
                        ));
                    }
                }
                "named" => {
                    parsed.view.named = match &*value {
                        "1" | "true" => true,
                        "0" | "false" => false,
                        _ => return Err(Problem::bad_query("`named` is 1 or 0")),
                    };
                }
                "last_event_id" => parsed.last_event_id = (!value.is_empty()).then(|| value.into_owned()),
                "errors" => {
                    parsed.errors_by_status = match &*value {
                        "http" => true,
                        "stream" => false,
                        _ => return Err(Problem::bad_query("`errors` is http or stream")),
                    };
                }
                _ => {}
            }
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_is_ours_and_leaves_the_rest() {
        let parsed =
            StreamQuery::parse("_=1&types=A%2CB&named=1&last_event_id=5-1&errors=http&x", false).unwrap();
        assert_eq!(parsed.view, View { types: Some(TypeFilter::parse("A,B").unwrap()), named: true });
        assert_eq!(parsed.last_event_id.as_deref(), Some("5-1"));
        assert!(parsed.errors_by_status);
        assert_eq!(StreamQuery::parse("", false).unwrap(), StreamQuery::default());
        assert!(StreamQuery::parse("", true).unwrap().view.named);
        assert!(!StreamQuery::parse("named=0", true).unwrap().view.named);
        assert_eq!(StreamQuery::parse("last_event_id=", false).unwrap().last_event_id, None);
    }

    #[test]
    fn says_what_a_parameter_takes() {
        for query in ["types=", "types=A&types=B", "named=yes", "errors=1"] {
            assert!(StreamQuery::parse(query, false).is_err(), "{query}");
        }
    }

    proptest! {
        #[test]
        fn any_query_is_read_or_refused(query in any::<String>()) {
            let _ = StreamQuery::parse(&query, false);
        }
    }
}
