//! Values that must not be shown.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

/// What stands in the place of a secret where one is shown.
pub const MASK: &str = "***";

/// Shows a secret with everything masked that must not be seen.
type Show = fn(&str) -> String;

/// Every key whose value is secret, with the way to show it. A key that is added here is masked in errors, in
/// `tidings config` and in every other place that shows values by key.
const SECRETS: &[(&str, Show)] = &[
    ("redis.url", show_url),
    ("redis.sentinel.nodes", show_url),
    ("embedded.password", show_nothing),
    ("auth.forward.url", |url| super::ForwardUrl::new(url).to_string()),
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

/// An address without its query, which may hold a key, and without a name and password in it: one that has these is refused
/// later, and must not be shown then.
fn show_address(url: &str) -> String {
    match url.split_once('?') {
        _ if url.contains('@') => MASK.to_owned(),
        Some((before, _)) => format!("{before}?{MASK}"),
        None => url.to_owned(),
    }
}

fn show_url(url: &str) -> String {
    RedisUrl::new(url).to_string()
}

/// Whether a secret, or one of a list, is what [`masked`] makes of one: it was copied from where a configuration is shown.
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

/// The address of a Redis server, which may hold a password. `Debug` and `Display` show it with the password masked.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct RedisUrl(String);

impl RedisUrl {
    /// Takes an address as it stands.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The address with its password: for the Redis client alone.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether no Redis is configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        let Some((scheme, rest)) = self.0.split_once("://") else {
            // Not an address: it may be a password that was put in the wrong place.
            return f.write_str(MASK);
        };
        match shown(scheme, rest) {
            Some(shown) => write!(f, "{scheme}://{shown}"),
            None => write!(f, "{scheme}://{MASK}"),
        }
    }
}

/// What of an address may be seen after its scheme. `None` where it is not certain which part is the password.
fn shown(scheme: &str, rest: &str) -> Option<String> {
    let before_query = rest.split_once('?').map_or(rest, |(before, _)| before);
    if scheme == "unix" || scheme.ends_with("+unix") {
        // The path of a socket; the password is in the query.
        return (!before_query.contains('@')).then(|| before_query.to_owned());
    }
    // The last `@` ends the credentials, even when someone left an `@` in a password unescaped.
    let Some((credentials, _)) = rest.rsplit_once('@') else {
        return is_host(before_query).then(|| before_query.to_owned());
    };
    if credentials.contains(['/', '?', '#']) {
        // A password with such a character unescaped, or an `@` after the host.
        return None;
    }
    let host = before_query.rsplit_once('@').map_or("", |(_, host)| host);
    if !is_host(host) {
        return None;
    }
    match credentials.split_once(':') {
        Some((user, _)) => Some(format!("{user}:{MASK}@{host}")),
        None => Some(format!("{MASK}@{host}")),
    }
}

/// Whether this is `host[:port][/database][#insecure]`, and not a password, or the end of one, whose `@host` was
/// forgotten.
fn is_host(text: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let text = text.strip_suffix("#insecure").unwrap_or(text);
    let (authority, database) = text.split_once('/').unwrap_or((text, ""));
    match authority.rsplit_once(':') {
        Some((host, port)) => {
            !host.is_empty() && (digits(port) || authority.ends_with(']')) && digits(database)
        }
        None => digits(database),
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn masks_every_form_of_password() {
        for (url, shown) in [
            ("", ""),
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
            ("redis://:s3cret@host:6379/0", "redis://:***@host:6379/0"),
            ("rediss://user:s3cret@host", "rediss://user:***@host"),
            ("redis://user:s3c@ret@host", "redis://user:***@host"),
            ("redis://s3cret@host", "redis://***@host"),
            ("redis+unix:///run/redis.sock?pass=s3cret", "redis+unix:///run/redis.sock"),
            ("redis://user:pa?s3c@host:6379", "redis://***"),
            ("redis://user:pa/s3c@host:6379", "redis://***"),
            ("redis://user:pa#s3c@host:6379", "redis://***"),
            ("redis://:s3cret", "redis://***"),
            ("redis://host:s3cret", "redis://***"),
            ("redis://host:6379?password=s3c@ret", "redis://***"),
            ("redis+unix://s3cret@/run/redis.sock", "redis+unix://***"),
            ("redis://:p@s3c/ret", "redis://***"),
            ("redis://user:s3cret@host:6379/0?protocol=resp3", "redis://user:***@host:6379/0"),
            ("redis://[::1]:6379/1", "redis://[::1]:6379/1"),
            ("redis://[::1]", "redis://[::1]"),
            ("rediss://host/#insecure", "rediss://host/#insecure"),
            ("s3cret", "***"),
        ] {
            let url = RedisUrl::new(url);
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}").contains("s3c"));
        }
    }

    #[test]
    fn masks_by_key() {
        assert_eq!(masked("redis.url", &json!("redis://:s3cret@host")), json!("redis://:***@host"));
        assert_eq!(masked("redis.url", &json!(1234)), json!("***"));
        assert_eq!(masked("redis.url", &json!(["s3cret", 7])), json!(["***", "***"]));
        assert_eq!(
            masked("redis.sentinel.nodes", &json!(["redis://:s3cret@a:26379", "redis://b"])),
            json!(["redis://:***@a:26379", "redis://b"])
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
