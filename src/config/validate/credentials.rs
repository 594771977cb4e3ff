//! Rules for the files by which a node proves its right to connect to Redis.

use redis::IntoConnectionInfo as _;

use super::Checks;
use tidings_bus::settings::RedisConfig;
use tidings_settings::RedisUrl;

pub(super) fn problems(checks: &mut Checks<'_>, redis: &RedisConfig) {
    let has_password = |url: &RedisUrl| {
        let info = url.reveal().into_connection_info();
        info.is_ok_and(|info| info.redis_settings().password().is_some())
    };
    checks.pair(
        ["redis.password_file", "redis.url"],
        redis.password_file.is_none() || !has_password(&redis.url),
        "the password comes from one place: leave it out of redis.url, as in redis://user@host, or leave redis.password_file empty",
    );
    checks.pair(
        ["redis.password_file", "redis.cluster.nodes"],
        redis.password_file.is_none() || !redis.cluster.nodes.iter().any(has_password),
        "the password comes from one place: leave it out of redis.cluster.nodes, or leave redis.password_file empty",
    );
    checks.pair(
        ["redis.sentinel.password_file", "redis.sentinel.nodes"],
        redis.sentinel.password_file.is_none() || !redis.sentinel.nodes.iter().any(has_password),
        "the password comes from one place: leave it out of redis.sentinel.nodes, or leave redis.sentinel.password_file empty",
    );
    let tls = &redis.tls;
    checks.pair(
        ["redis.tls.cert", "redis.tls.key"],
        tls.cert.is_some() == tls.key.is_some(),
        "redis.tls.cert and redis.tls.key go together: set both, or none",
    );
    let mut urls = std::iter::once(&redis.url).chain(&redis.sentinel.nodes).chain(&redis.cluster.nodes);
    let is_tls = urls.any(|url| url.reveal().starts_with("rediss:"));
    for (key, file) in [("redis.tls.ca", &tls.ca), ("redis.tls.cert", &tls.cert)] {
        checks.pair(
            [key, "redis.url"],
            file.is_none() || is_tls,
            "these files are for TLS: write rediss:// in the address of Redis, or leave them out",
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Sources;

    fn load(settings: &[(&str, &str)]) -> Result<(), String> {
        let environment = settings
            .iter()
            .map(|(key, value)| {
                let variable = format!("TIDINGS__REDIS__{}", key.to_ascii_uppercase().replace('.', "__"));
                (variable, (*value).to_owned())
            })
            .collect();
        let loaded = Sources { environment, ..Sources::default() }.load();
        loaded.map(|_| ()).map_err(|error| error.to_string())
    }

    #[test]
    fn files_go_with_the_address() {
        for settings in [
            &[("url", "redis://user@host"), ("password_file", "/password")][..],
            &[("url", "rediss://host"), ("tls.ca", "/ca")],
            &[("url", "rediss://:s3cret@host"), ("tls.cert", "/cert"), ("tls.key", "/key")],
            &[
                ("cluster.nodes", "rediss://user@a:1,rediss://b:1"),
                ("tls.ca", "/ca"),
                ("password_file", "/p"),
            ],
            &[
                ("sentinel.nodes", "rediss://a:1,rediss://b:1"),
                ("tls.ca", "/ca"),
                ("sentinel.password_file", "/p"),
            ],
        ] {
            assert_eq!(load(settings), Ok(()), "{settings:?}");
        }
        for (settings, told) in [
            (
                &[("url", "redis://:s3cret@host"), ("password_file", "/p")][..],
                "the password comes from one place",
            ),
            (
                &[("cluster.nodes", "redis://:s3cret@a:1"), ("password_file", "/p")],
                "the password comes from one place",
            ),
            (
                &[("url", "redis+unix:///s?pass=s3cret"), ("password_file", "/p")],
                "the password comes from one place",
            ),
            (
                &[("sentinel.nodes", "redis://a:1,redis://:s3cret@b:1"), ("sentinel.password_file", "/p")],
                "leave it out of redis.sentinel.nodes",
            ),
            (&[("url", "rediss://host"), ("tls.cert", "/cert")], "set both, or none"),
            (&[("url", "rediss://host"), ("tls.key", "/key")], "set both, or none"),
            (&[("url", "redis://host"), ("tls.ca", "/ca")], "write rediss://"),
            (&[("url", "redis://host"), ("tls.cert", "/cert"), ("tls.key", "/key")], "write rediss://"),
        ] {
            let error = load(settings).unwrap_err();
            assert!(error.contains(told) && !error.contains("s3cret"), "{settings:?}: {error}");
        }
    }
}
