//! Patterns as `PSUBSCRIBE` takes them.

use crate::protocol::reply::Reply;

/// Whether a pattern matches a whole name: `*` is any bytes, every other byte itself.
///
/// The parts between the stars are looked for from the left, each once. So the time is at most the
/// product of both lengths.
pub(crate) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let mut parts = pattern.split(|&byte| byte == b'*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts.filter(|part| !part.is_empty()) {
        let Some(at) = rest.windows(part.len()).position(|window| window == part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Rejects the other special characters of Redis.
pub(crate) fn check(pattern: &[u8]) -> Result<(), Reply> {
    if pattern.iter().any(|byte| matches!(byte, b'?' | b'[' | b'\\')) {
        return Err(Reply::error("ERR a pattern of the embedded bus has no special characters but *"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn star_matches_any_bytes() {
        for (pattern, name, expected) in [
            ("workspace:*", "workspace:acme", true),
            ("workspace:*", "workspace:", true),
            ("workspace:*", "workspac", false),
            ("workspace:acme", "workspace:acme", true),
            ("workspace:acme", "workspace:acme2", false),
            ("*a*b", "xaybzb", true),
            ("a*a", "a", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern:?} {name:?}");
        }
        assert!(check(b"a*^-]").is_ok());
        assert!([&b"a?"[..], b"[ab]", b"\\*"].into_iter().all(|pattern| check(pattern).is_err()));
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = b"*a".repeat(500);
        let name = b"a".repeat(499);
        assert!(!matches(&pattern, &name));
    }

    /// The definition, written down without any thought of time.
    fn reference(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => (0..=name.len()).any(|skipped| reference(rest, &name[skipped..])),
            ([literal, rest @ ..], [byte, name @ ..]) => literal == byte && reference(rest, name),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*]{0,8}", name in "[ab]{0,8}") {
            prop_assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), reference(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
