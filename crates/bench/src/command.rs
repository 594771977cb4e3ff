//! The command line of a run, fit to be shown.

use std::ffi::OsString;

/// The replacement of a secret.
const MASK: &str = "***";

/// The arguments of a process as a shell takes them. User, password and query of addresses and
/// paths are masked, because they may hold tokens and passwords.
#[must_use]
pub fn shown(arguments: impl IntoIterator<Item = OsString>) -> String {
    let mut arguments = arguments.into_iter().map(|argument| argument.to_string_lossy().into_owned());
    // The path of the program says nothing.
    let program = arguments.next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default().to_owned();
    let words: Vec<_> =
        std::iter::once(name).chain(arguments.map(|argument| masked(&argument))).map(quoted).collect();
    words.join(" ")
}

/// An argument without secrets: `value` or `--flag=value`.
fn masked(argument: &str) -> String {
    match argument.split_once('=') {
        Some((flag, value)) if flag.starts_with("--") => format!("{flag}={}", without_secrets(value)),
        _ => without_secrets(argument),
    }
}

/// An address or a path without user, password, query and fragment. Other text stays.
#[must_use]
pub fn without_secrets(text: &str) -> String {
    let (start, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None if text.starts_with('/') => (String::new(), text),
        None => return text.to_owned(),
    };
    // A password may hold any character, also one that normally ends it. So the text before the
    // last @ may be a part of it.
    let (user, rest) = match rest.rsplit_once('@') {
        Some((_, rest)) => (format!("{MASK}@"), rest),
        None => (String::new(), rest),
    };
    let shown = match rest.find(['?', '#']) {
        Some(at) => format!("{}{MASK}", &rest[..=at]),
        None => rest.to_owned(),
    };
    format!("{start}{user}{shown}")
}

/// A word as a shell takes it.
fn quoted(word: String) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@+%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> String {
        shown(words.iter().map(OsString::from))
    }

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        for (argument, expected) in [
            ("redis://:s3cret@host:6379", "'redis://***@host:6379'"),
            ("--redis=rediss://user:s3/cr?et@pw@host", "'--redis=rediss://***@host'"),
            ("redis+unix:///run/redis.sock?pass=s3cret", "'redis+unix:///run/redis.sock?***'"),
            ("--url=http://s3cret@host/api", "'--url=http://***@host/api'"),
            ("http://host/pub/{workspace}?token=s3cret", "'http://host/pub/{workspace}?***'"),
            ("/events/{workspace}?key=s3cret", "'/events/{workspace}?***'"),
            ("--path=/events#s3cret", "'--path=/events#***'"),
        ] {
            let shown = of(&["/usr/bin/tidings", "bench", argument]);
            assert_eq!(shown, format!("tidings bench {expected}"));
            assert!(!shown.contains("s3"), "{shown}");
        }
    }

    #[test]
    fn command_can_be_given_to_a_shell_again() {
        assert_eq!(
            of(&["tidings", "bench", "--url", "http://127.0.0.1:8080/api", "--rate=10", "", "it's"]),
            "tidings bench --url http://127.0.0.1:8080/api --rate=10 '' 'it'\\''s'"
        );
    }
}
