//! The URL of a Redis server.

use std::fmt;

use serde::Deserialize;

use super::MASK;

/// Holds the URL of a Redis server, which may contain a password. `Debug` and `Display` mask the
/// password.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct RedisUrl(String);

impl RedisUrl {
    /// Creates a URL without validating it.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// Returns the URL with its password. Only the Redis client may use it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns whether no Redis is configured.
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
            // Without a scheme the text may be a misplaced password.
            return f.write_str(MASK);
        };
        match shown(scheme, rest) {
            Some(shown) => write!(f, "{scheme}://{shown}"),
            None => write!(f, "{scheme}://{MASK}"),
        }
    }
}

/// Masks the password in the part of a URL after its scheme; returns `None` if it is not certain
/// which part is the password.
fn shown(scheme: &str, rest: &str) -> Option<String> {
    let before_query = rest.split_once('?').map_or(rest, |(before, _)| before);
    if scheme == "unix" || scheme.ends_with("+unix") {
        // A socket's path, with the password in the query.
        return (!before_query.contains('@')).then(|| before_query.to_owned());
    }
    // The last `@` ends the credentials, because a password may contain an `@` that is not escaped.
    let Some((credentials, _)) = rest.rsplit_once('@') else {
        return is_host(before_query).then(|| before_query.to_owned());
    };
    if credentials.contains(['/', '?', '#']) {
        // The password contains such a character unescaped, or there is an `@` after the host.
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

/// Returns whether the text is `host[:port][/database][#insecure]`. Any other text may be a
/// password, or the end of one, without its `@host`.
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
    use super::*;

    /// No form of a Redis address shows its password.
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
}
