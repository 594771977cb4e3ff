//! Keys by name: the environment variable of each, and the nearest to a misspelt one.

use super::reference::REFERENCE;

/// What the name of each of our environment variables begins with.
const PREFIX: &str = "TIDINGS__";

/// How alike a name must be to be suggested, from 0 (nothing in common) to 1 (the same).
const LIKENESS_MIN: f64 = 0.6;

/// What a match of the last segments alone counts for: less than the same match of whole keys.
const LAST_SEGMENT_WEIGHT: f64 = 0.95;

/// Whether a variable claims to set a key, known or not.
pub(super) fn is_variable(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// The environment variable that sets a key: `server.listen` is `TIDINGS__SERVER__LISTEN`.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
}

/// The key that a variable names, known or not.
pub(super) fn of_variable(name: &str) -> String {
    name.strip_prefix(PREFIX).unwrap_or(name).to_ascii_lowercase().replace("__", ".")
}

/// The variable that was meant by one with single underscores, such as `TIDINGS_SERVER_LISTEN`, if
/// it is like one of ours.
pub(super) fn meant(name: &str) -> Option<String> {
    let single = |name: &str| name.replace("__", "_");
    let name = (!is_variable(name)).then(|| single(name))?;
    REFERENCE.keys().map(variable).find(|variable| single(variable) == name)
}

/// The known key that is most like an unknown one, if any is like it at all.
pub(super) fn nearest(unknown: &str) -> Option<&'static str> {
    let mut nearest = None;
    let mut likeness_max = (LIKENESS_MIN, 1.0);
    for key in REFERENCE.keys() {
        let likeness = likeness(unknown, key);
        // Not `>=`: of equals the first in the file is taken.
        if likeness > likeness_max {
            (nearest, likeness_max) = (Some(key), likeness);
        }
    }
    nearest
}

/// Compares whole keys, and also last segments, because a forgotten or wrong section is a common
/// slip. Of keys with one last segment, the section decides, if there is one.
fn likeness(unknown: &str, key: &str) -> (f64, f64) {
    let whole = strsim::normalized_damerau_levenshtein(unknown, key);
    let last = strsim::normalized_damerau_levenshtein(last_segment(unknown), last_segment(key));
    let section = if unknown.contains('.') { whole } else { 0.0 };
    (whole.max(last * LAST_SEGMENT_WEIGHT), section)
}

fn last_segment(key: &str) -> &str {
    key.rsplit_once('.').map_or(key, |(_, last)| last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_key_that_was_meant() {
        for (unknown, meant) in [
            ("server.lisen", Some("server.listen")),
            ("server_listen", Some("server.listen")),
            ("listen", Some("server.listen")),
            ("redis.channelprefix", Some("redis.channel_prefix")),
            ("reds.url", Some("redis.url")),
            ("limits.max_connections", Some("limits.connections")),
            ("heartbeat_seconds", Some("sse.heartbeat_seconds")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(unknown), meant, "{unknown}");
        }
    }

    #[test]
    fn a_key_and_its_variable_name_each_other() {
        for key in REFERENCE.keys() {
            assert_eq!(of_variable(&variable(key)), key);
        }
        assert_eq!(variable("server.base_path"), "TIDINGS__SERVER__BASE_PATH");
    }
}
