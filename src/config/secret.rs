//! Values that must not be shown.

use serde_json::Value;
use tidings_settings::{MASK, RedisUrl};

/// Shows a secret with everything masked that must not be seen.
type Show = fn(&str) -> String;

/// Every key whose value is secret, with the way to show it. A key that is added here is masked in
/// errors, in `tidings config` and in every other place that shows values by key.
const SECRETS: &[(&str, Show)] = &[
    ("admin.token", show_nothing),
    ("redis.url", show_url),
    ("redis.sentinel.nodes", show_url),
    ("redis.cluster.nodes", show_url),
    ("embedded.password", show_nothing),
    ("tracing.otlp.endpoint", show_address),
    ("tracing.otlp.headers", show_nothing),
    ("auth.forward.url", |url| tidings_auth::ForwardUrl::new(url).to_string()),
    ("auth.jwt.secret", show_nothing),
    ("auth.jwt.secret_previous", show_nothing),
    ("auth.jwt.public_key", show_public_key),
    ("auth.jwt.jwks_url", show_address),
];

fn show_nothing(secret: &str) -> String {
    if secret.is_empty() { String::new() } else { MASK.to_owned() }
}

/// A public key may be seen; what else was put in its place may not.
fn show_public_key(pem: &str) -> String {
    let public = pem.contains("-----BEGIN ") && !pem.contains("PRIVATE");
    if public { pem.to_owned() } else { show_nothing(pem) }
}

/// An address without its query, which may hold a key, and without its name and password. A rule
/// refuses an address with these later; no message may show them before. A text without a scheme
/// can be the rest of a query that had a comma.
fn show_address(url: &str) -> String {
    match url.split_once('?') {
        _ if url.contains('@') || !url.is_empty() && !url.contains("://") => MASK.to_owned(),
        Some((before, _)) => format!("{before}?{MASK}"),
        None => url.to_owned(),
    }
}

fn show_url(url: &str) -> String {
    RedisUrl::new(url).to_string()
}

/// Whether a secret, or one of a list, is what [`masked`] makes of one: it was copied from where a
/// configuration is shown.
pub(super) fn is_mask(key: &str, value: &Value) -> bool {
    let Some((_, show)) = SECRETS.iter().find(|(secret, _)| *secret == key) else { return false };
    let copied = |text: &str| text.contains(MASK) && show(text) == text;
    match value {
        Value::String(text) => copied(text),
        Value::Array(list) => list.iter().filter_map(Value::as_str).any(copied),
        _ => false,
    }
}

/// The value of a key as it may be shown.
pub(super) fn masked(key: &str, value: &Value) -> Value {
    match (SECRETS.iter().find(|(secret, _)| *secret == key), value) {
        (None, _) => value.clone(),
        (Some((_, show)), Value::String(text)) => show(text).into(),
        (Some((_, show)), Value::Array(list)) => {
            list.iter().map(|item| item.as_str().map_or_else(|| MASK.to_owned(), show)).collect()
        }
        // Of the wrong type, and perhaps a secret nevertheless.
        (Some(_), _) => MASK.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn masks_by_key() {
        assert_eq!(masked("redis.url", &json!("redis://:s3cret@host")), json!("redis://:***@host"));
        assert_eq!(masked("redis.url", &json!(1234)), json!("***"));
        assert_eq!(masked("redis.url", &json!(["s3cret", 7])), json!(["***", "***"]));
        assert_eq!(
            masked("redis.sentinel.nodes", &json!(["redis://:s3cret@a:26379", "redis://b"])),
            json!(["redis://:***@a:26379", "redis://b"])
        );
        assert_eq!(
            masked("auth.jwt.jwks_url", &json!(["https://host/keys?sig=a", "s3cret"])),
            json!(["https://host/keys?***", "***"])
        );
        assert_eq!(masked("embedded.password", &json!("s3cret")), json!("***"));
        assert_eq!(masked("embedded.password", &json!("")), json!(""));
        assert_eq!(
            masked(
                "auth.jwt.jwks_url",
                &json!(["https://id.example/keys?key=s3cret", "https://id.example/keys"])
            ),
            json!(["https://id.example/keys?***", "https://id.example/keys"])
        );
        assert_eq!(masked("redis.channel_prefix", &json!("shown")), json!("shown"));
    }

    #[test]
    fn value_that_was_masked_is_recognized() {
        for (key, secret) in [
            ("redis.url", json!("redis://user:s3cret@host:6379/0")),
            ("redis.url", json!("rediss://s3cret@host")),
            ("redis.url", json!("redis://user:pa/s3c@host")),
            ("redis.sentinel.nodes", json!(["redis://a:1", "redis://:s3cret@b:2"])),
            ("embedded.password", json!("s3cret")),
            ("admin.token", json!("s3cret")),
            ("auth.forward.url", json!("http://app/{workspace}?key=s3cret")),
            ("auth.jwt.secret", json!("s3cret")),
            ("auth.jwt.secret_previous", json!("s3cret")),
            ("auth.jwt.public_key", json!("s3cret")),
            ("auth.jwt.jwks_url", json!(["https://id.example/keys?key=s3cret"])),
        ] {
            assert!(!is_mask(key, &secret), "{key} {secret}");
            assert!(is_mask(key, &masked(key, &secret)), "{key} {secret}");
        }
        assert!(!is_mask("embedded.password", &json!("a***b")));
        assert!(!is_mask("redis.channel_prefix", &json!("***")));
    }

    #[test]
    fn every_secret_is_the_name_of_a_key() {
        for (key, _) in SECRETS {
            assert!(super::super::reference::REFERENCE.get(key).is_some(), "{key}");
        }
    }
}
