//! The last event id of a request: in its header, and in the query by the names that client
//! libraries use.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::HeaderName;

use tidings_hub::Resume;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The query parameters that hold an id, by priority in order of declaration.
///
/// The page's own; then event-source-polyfill and reconnecting-eventsource; clients of Mercure; and
/// the header's name, whose case means nothing.
pub const ID_PARAMETERS: [&str; 4] = ["last_event_id", "lastEventId", "lastEventID", "Last-Event-ID"];

/// The id in the header. An empty value counts as none.
pub(crate) fn of_header(headers: &HeaderMap) -> Option<Resume> {
    let values = headers.get_all(LAST_EVENT_ID).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    agreed(values.collect())
}

/// The ids in a query. The last one of each name counts: some libraries append theirs behind the
/// page's parameters, which may hold an older one.
#[derive(Debug, Default)]
pub(super) struct QueryIds {
    /// Those of [`ID_PARAMETERS`], in the same order.
    ids: [String; ID_PARAMETERS.len()],
}

impl QueryIds {
    /// Takes a parameter if it is one of those that hold an id, and returns whether it is. An empty
    /// value counts as none.
    pub(crate) fn take(&mut self, name: &str, value: &str) -> bool {
        let is_header = |known: &str| known == "Last-Event-ID" && known.eq_ignore_ascii_case(name);
        let place = ID_PARAMETERS.iter().position(|&known| known == name || is_header(known));
        let Some(id) = place.and_then(|place| self.ids.get_mut(place)) else { return false };
        if !value.is_empty() {
            value.clone_into(id);
        }
        true
    }

    /// The id that counts. A library's is newer than the page's, which stays in the address.
    pub(super) fn resume(&self) -> Option<Resume> {
        let [page, libraries @ ..] = &self.ids;
        let libraries = libraries.iter().map(|id| id.as_str().into()).collect();
        agreed(libraries).or_else(|| agreed(vec![page.as_str().into()]))
    }
}

/// The id that all values name. Where they differ, it is all of them, combined as the lines of a
/// header are (RFC 9110 section 5.3). No position has a comma, so the hub finds it unknown and
/// resets the client.
fn agreed(mut values: Vec<Cow<'_, str>>) -> Option<Resume> {
    values.retain(|value| !value.is_empty());
    values.dedup();
    (!values.is_empty()).then(|| Resume::new(&values.join(", ")))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of_query(parameters: &[(&str, &str)]) -> Option<Resume> {
        let mut ids = QueryIds::default();
        assert!(parameters.iter().all(|(name, value)| ids.take(name, value)));
        ids.resume()
    }

    fn of_headers(values: &[&'static str]) -> Option<Resume> {
        let lines = values.iter().map(|value| (LAST_EVENT_ID, HeaderValue::from_static(value)));
        of_header(&lines.collect())
    }

    #[test]
    fn an_id_of_a_library_wins_over_that_of_the_page() {
        let newer = Some(Resume::new("7-0"));
        for name in ["lastEventId", "lastEventID", "Last-Event-ID", "last-event-id"] {
            assert_eq!(of_query(&[(name, "7-0")]), newer);
            assert_eq!(of_query(&[(name, "7-0"), ("last_event_id", "5-0")]), newer);
            assert_eq!(of_query(&[("last_event_id", "5-0"), (name, "7-0")]), newer);
            assert_eq!(of_query(&[(name, ""), ("last_event_id", "7-0")]), newer);
        }
        assert_eq!(of_query(&[("last_event_id", "")]), None);
        for other in ["lasteventid", "LastEventId", "Last_Event_Id", "last-event-ids", ""] {
            assert!(!QueryIds::default().take(other, "7-0"), "{other}");
        }
    }

    #[test]
    fn the_last_id_of_one_name_counts() {
        for name in ["last_event_id", "lastEventId", "lastEventID"] {
            assert_eq!(of_query(&[(name, "5-0"), (name, "7-0"), (name, "")]), Some(Resume::new("7-0")));
        }
        assert_eq!(of_query(&[("Last-Event-ID", "5-0"), ("last-event-id", "7-0")]), Some(Resume::new("7-0")));
    }

    #[test]
    fn ids_that_differ_are_no_position() {
        let ids = of_query(&[("lastEventID", "7-0"), ("last_event_id", "7-0"), ("lastEventId", "5-0")]);
        assert_eq!(ids, Some(Resume::new("5-0, 7-0")));
        assert!("5-0, 7-0".parse::<tidings_event::Position>().is_err());
        assert_eq!(of_query(&[("lastEventID", "7-0"), ("lastEventId", "7-0")]), Some(Resume::new("7-0")));
        assert_eq!(of_headers(&["7-0", "", "5-0"]), Some(Resume::new("7-0, 5-0")));
        assert_eq!(of_headers(&["", "7-0", "7-0"]), Some(Resume::new("7-0")));
        assert_eq!(of_headers(&[""]), None);
    }
}
