//! The `Accept` header, as far as a stream is concerned (RFC 9110 section 12.5.1).

use http::HeaderMap;
use http::header::ACCEPT;

/// The meaning of a request's `Accept` for `text/event-stream`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventStream {
    /// By its own name: an EventSource, which any status but 200 stops for good.
    Named,
    /// By a wildcard, or by saying nothing: some other client.
    Tolerated,
    /// Not wanted.
    Excluded,
}

/// Reads all `Accept` headers of a request. The most specific range that covers
/// `text/event-stream` decides; a range of weight 0 excludes. A range that cannot be read covers
/// nothing.
pub(crate) fn event_stream(headers: &HeaderMap) -> EventStream {
    let mut ranges =
        headers.get_all(ACCEPT).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    let mut best: Option<(u8, bool)> = None;
    let mut listed = false;
    for (specificity, wanted) in ranges.by_ref().filter_map(|range| {
        let text = std::str::from_utf8(range).ok()?.trim();
        if !text.is_empty() {
            listed = true;
        }
        covers(text)
    }) {
        if best.is_none_or(|(known, _)| specificity > known) {
            best = Some((specificity, wanted));
        }
    }
    match best {
        Some((2, true)) => EventStream::Named,
        Some((_, true)) => EventStream::Tolerated,
        Some((_, false)) => EventStream::Excluded,
        None if listed => EventStream::Excluded,
        None => EventStream::Tolerated,
    }
}

/// How specifically a range covers `text/event-stream`, and whether its weight is above 0; `None`
/// if it does not.
fn covers(range: &str) -> Option<(u8, bool)> {
    let mut parts = range.split(';').map(str::trim);
    let specificity = match parts.next()? {
        name if name.eq_ignore_ascii_case("text/event-stream") => 2,
        name if name.eq_ignore_ascii_case("text/*") => 1,
        "*/*" => 0,
        _ => return None,
    };
    let weight = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse::<f32>().unwrap_or(0.0))
    });
    Some((specificity, weight.is_none_or(|weight| weight > 0.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use EventStream::{Excluded, Named, Tolerated};

    #[test]
    fn the_most_specific_range_decides() {
        for (values, expected) in [
            (&[][..], Tolerated),
            (&[""], Tolerated),
            (&["*/*"], Tolerated),
            (&["text/event-stream"], Named),
            (&["Text/Event-Stream; q=0.5"], Named),
            (&["text/html, */*;q=0.1"], Tolerated),
            (&["text/html"], Excluded),
            (&["application/json", "text/plain"], Excluded),
            (&["application/json", "text/event-stream"], Named),
            (&["text/*"], Tolerated),
            (&["text/event-stream;q=0, */*"], Excluded),
            (&["text/event-stream;q=0.000"], Excluded),
            (&["*/*;q=0"], Excluded),
            (&["text/event-stream;q=x"], Excluded),
            (&["garbage"], Excluded),
        ] {
            let headers = values.iter().map(|value| (ACCEPT, value.parse().unwrap())).collect();
            assert_eq!(event_stream(&headers), expected, "{values:?}");
        }
    }
}
