//! Values that must not be shown.

use std::fmt;

use serde::Deserialize;

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
        let Some((scheme, rest)) = self.0.split_once("://") else {
            // Not an address: it may be a password that was put in the wrong place.
            return f.write_str(if self.0.is_empty() { "" } else { "***" });
        };
        // The last `@` ends the credentials, even when someone left an `@` in a password unescaped. Unix socket
        // addresses carry the password in the query.
        let rest = rest.split_once('?').map_or(rest, |(before, _)| before);
        match rest.rsplit_once('@') {
            None => write!(f, "{scheme}://{rest}"),
            Some((credentials, host)) => match credentials.split_once(':') {
                Some((user, _)) => write!(f, "{scheme}://{user}:***@{host}"),
                None => write!(f, "{scheme}://***@{host}"),
            },
        }
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
            ("s3cret", "***"),
        ] {
            let url = RedisUrl::new(url);
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}").contains("s3c"));
        }
    }
}
