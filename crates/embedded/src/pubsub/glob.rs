//! Patterns as `PSUBSCRIBE` takes them.

/// Whether a pattern matches a whole name, as in Redis 7.0. `?` is one byte, `*` any bytes,
/// `[a-z]` and `[^a-z]` a byte inside or outside of a set. `\` removes the special meaning of the
/// byte behind it.
///
/// A set without an end ends with the pattern. Only the last `*` is tried again, so the time is at
/// most the product of both lengths. The recursion of Redis can take exponential time.
pub(crate) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    // The place to go on if the bytes behind the last `*` do not fit: the pattern behind it, and
    // one byte more for it.
    let mut retry = None;
    while read < name.len() {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            retry = Some((at, read + 1));
            continue;
        }
        if let Some(next) = step(&pattern[at..], name[read]) {
            at += next;
            read += 1;
            continue;
        }
        let Some((behind_star, resume)) = retry else { return false };
        (at, read) = (behind_star, resume);
        retry = Some((behind_star, resume + 1));
    }
    // Redis never looks at the pattern when there is no name: there `*` does not match nothing.
    let rest = &pattern[at..];
    rest.is_empty() || (!name.is_empty() && rest.iter().all(|&byte| byte == b'*'))
}

/// The number of bytes of the pattern that match this one byte, if they do.
fn step(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', ref set @ ..] => {
            let (hit, bytes) = in_set(set, byte);
            hit.then_some(1 + bytes)
        }
        [b'\\', escaped, ..] => (escaped == byte).then_some(2),
        [literal, ..] => (literal == byte).then_some(1),
    }
}

/// Whether the set, which begins behind its `[`, takes a byte, and how long it is with its `]`.
fn in_set(set: &[u8], byte: u8) -> (bool, usize) {
    let negated = set.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut hit = false;
    loop {
        match set[at..] {
            [] => return (hit != negated, at),
            [b'\\', escaped, ..] => {
                hit |= escaped == byte;
                at += 2;
            }
            [b']', ..] => return (hit != negated, at + 1),
            [first, b'-', last, ..] => {
                hit |= (first.min(last)..=first.max(last)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                hit |= literal == byte;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn takes_the_forms_of_redis() {
        for (pattern, name, expected) in [
            ("workspace:*", "workspace:acme", true),
            ("workspace:*", "workspace:", true),
            ("workspace:*", "workspac", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("h[a-b]llo", "hcllo", false),
            ("h\\*llo", "h*llo", true),
            ("h\\*llo", "hello", false),
            ("[\\]]", "]", true),
            ("[a", "a", true),
            ("[", "a", false),
            ("[^", "a", true),
            ("a\\", "a\\", true),
            ("*a*b", "xaybzb", true),
            ("**", "x", true),
            ("", "", true),
            ("*", "", false),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern:?} {name:?}");
        }
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
            ([b'?', rest @ ..], [_, name @ ..]) => reference(rest, name),
            ([b'\\', escaped, rest @ ..], [byte, name @ ..]) => escaped == byte && reference(rest, name),
            ([literal, rest @ ..], [byte, name @ ..]) => literal == byte && reference(rest, name),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*?]{0,8}(\\\\[ab*?\\\\])?[ab*?]{0,3}", name in "[ab*?]{1,8}") {
            prop_assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), reference(pattern.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn any_pattern_is_decided(pattern: Vec<u8>, name: Vec<u8>) {
            let _ = matches(&pattern, &name);
        }
    }
}
