//! Each key has one class, and the class is what happens.

use super::super::reference::REFERENCE;
use super::super::source::Sources;
use super::*;

fn load(settings: &[(&str, &str)]) -> Loaded {
    let variable = |(key, value): &(&str, &str)| (super::super::key::variable(key), (*value).to_owned());
    let sources = Sources { environment: settings.iter().map(variable).collect(), ..Sources::default() };
    sources.load().unwrap_or_else(|error| panic!("{settings:?}: {error}"))
}

#[test]
fn each_key_has_exactly_one_class() {
    for key in REFERENCE.keys() {
        let is_of = |entry: &str| entry == key || entry.ends_with('.') && key.starts_with(entry);
        let entries = CLASSES.iter().filter(|(entry, _)| is_of(entry)).count();
        assert_eq!(entries, 1, "{key}: give it a class in src/config/reload.rs");
    }
    for (entry, _) in CLASSES {
        let is_used = REFERENCE.keys().any(|key| key == *entry || key.starts_with(entry));
        assert!(is_used, "{entry} is the class of no key");
    }
}

/// A value for each key that differs from its default and is valid by itself.
const SAMPLES: &[(&str, &str)] = &[
    ("limits.connections_per_address", "7"),
    ("limits.connects_per_second", "7"),
    ("limits.connections_per_workspace", "7"),
    ("limits.connections_per_user", "7"),
    ("limits.events_per_second", "7"),
    ("limits.event_bytes_per_second", "7000000"),
    ("admin.token", "a token of sixteen characters"),
    ("admin.token_file", "/a/file"),
    ("auth.jwt.key_reload_seconds", "7"),
    ("auth.jwt.audience", "other"),
    ("cors.origins", "https://app.example"),
    ("cors.headers", "X-Other"),
    ("log.level", "debug"),
    ("log.lines_per_second", "7"),
    ("log.format", "json"),
    ("limits.connections", "7"),
    ("limits.workspaces", "7"),
    ("limits.connection_age_seconds", "7"),
    ("tracing.in_streams", "true"),
    ("tracing.otlp.endpoint", "http://127.0.0.1:7"),
    ("tracing.otlp.headers", "authorization=secret"),
    ("auth.mode", "none"),
    ("auth.recheck_seconds", "7"),
    ("server.listen", "127.0.0.1:7"),
    ("sse.retry_ms", "700"),
    ("redis.url", "redis://:secret@host"),
    ("embedded.password", "secret"),
];

#[test]
fn class_of_a_key_decides_about_its_change() {
    let started = load(&[]);
    let text = |config: &Config| format!("{config:?}");
    for sample in SAMPLES {
        let new = load(&[*sample]);
        let changes = ConfigChanges::new(&started, &started, &new);
        let (applied, restart) = match class(sample.0).unwrap() {
            OnReload => (vec![sample.0], vec![]),
            // The samples are other addresses.
            PasswordOnReload | OnRestart => (vec![], vec![sample.0]),
        };
        assert_eq!((&changes.applied, &changes.restart), (&applied, &restart));
        assert_eq!(changes.applies(sample.0), !applied.is_empty());
        let expected = if applied.is_empty() { &started.config } else { &new.config };
        assert_eq!(text(&changes.config), text(expected), "{}", sample.0);
    }
    let sampled = |entry: &str| SAMPLES.iter().any(|(key, _)| *key == entry || key.starts_with(entry));
    for (entry, _) in CLASSES.iter().filter(|(_, class)| *class == OnReload) {
        assert!(sampled(entry), "{entry} has no sample");
    }
}

#[test]
fn changes_count_from_the_start_or_from_the_last_reload() {
    let started = load(&[]);
    let first = load(&[("log.level", "debug"), ("sse.retry_ms", "700")]);
    let changes = ConfigChanges::new(&started, &first, &first);
    assert_eq!((changes.applied, changes.restart), (vec![], vec!["sse.retry_ms"]));
    let changes = ConfigChanges::new(&started, &first, &started);
    assert_eq!((changes.applied, changes.restart), (vec!["log.level"], vec![]));
    assert_eq!(changes.config.log.level, "info");
}

#[test]
fn only_the_password_of_an_address_is_replaced() {
    let url = |url| load(&[("redis.url", url)]);
    let started = url("redis://node:first@host:6379");
    let new = url("redis://node:second@host:6379");
    let changes = ConfigChanges::new(&started, &started, &new);
    assert_eq!((&*changes.applied, &*changes.restart), (&["redis.url"][..], &[][..]));
    assert!(changes.config.redis.url.reveal().contains("second"));
    for other in ["redis://node:second@other:6379", "redis://other:second@host:6379", "redis://host:6379"] {
        let changes = ConfigChanges::new(&started, &started, &url(other));
        assert_eq!((&*changes.applied, &*changes.restart), (&[][..], &["redis.url"][..]), "{other}");
        assert_eq!(changes.config.redis.url, started.config.redis.url);
    }
}

#[test]
fn password_is_that_of_the_address_in_use() {
    let url = |url| load(&[("redis.url", url)]);
    let [started, elsewhere] = [url("redis://:first@host"), url("redis://:second@other")];
    let corrected = url("redis://:second@host");
    let changes = ConfigChanges::new(&started, &elsewhere, &corrected);
    assert_eq!((&*changes.applied, &*changes.restart), (&["redis.url"][..], &[][..]));
    assert!(changes.config.redis.url.reveal().contains("second"));
    let changes = ConfigChanges::new(&started, &elsewhere, &url("redis://:third@other"));
    assert_eq!((&*changes.applied, &*changes.restart), (&[][..], &["redis.url"][..]));
    assert_eq!(changes.config.redis.url, started.config.redis.url);
}

#[test]
fn secrets_are_compared_and_never_shown() {
    let [one, other] = ["first-secret", "other-secret"].map(|secret| load(&[("embedded.password", secret)]));
    let changes = ConfigChanges::new(&one, &one, &other);
    assert_eq!(changes.restart, ["embedded.password"]);
    assert!(!format!("{one:?}").contains("first-secret"));
}
