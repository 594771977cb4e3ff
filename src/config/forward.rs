//! The rules of `[auth.forward]`.

use http::HeaderName;

use super::validate::Checks;
use super::{AuthMethod, AuthMode, Config};

/// Whether `auth.forward.headers` may list the name of a request header. A client cannot give those
/// that concern one connection (RFC 9110 section 7.6.1) or the message itself. Those that the
/// broker sets must not come from a client.
fn is_passable(name: &str) -> bool {
    const OWN: [&str; 15] = [
        "accept",
        "connection",
        "content-length",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    ];
    HeaderName::from_bytes(name.as_bytes()).is_ok_and(|name| {
        let name = name.as_str();
        !OWN.contains(&name) && !name.starts_with("x-forwarded-") && !name.starts_with("x-tidings-")
    })
}

/// The rules of `[auth.forward]`, and of `auth.recheck_seconds`.
pub(super) fn check(checks: &mut Checks<'_>, config: &Config) {
    let (auth, forward) = (&config.auth, &config.auth.forward);
    let recheck = auth.recheck_seconds.duration().as_secs_f64();
    checks.value("auth.recheck_seconds", recheck == 0.0 || recheck >= 1.0, "0, or 1 to 86400 seconds");
    checks.value("auth.forward.url", forward.url.is_empty() || forward.url.is_valid(), URL);
    checks.pair(
        ["auth.mode", "auth.forward.url"],
        !auth.mode.uses(AuthMethod::Forward) || !forward.url.is_empty(),
        "to ask the app, the broker must know where: set auth.forward.url",
    );
    // An explicit mode decides; a forgotten one would accept every client.
    checks.pair(
        ["auth.forward.url", "auth.mode"],
        auth.mode != AuthMode::Unset || forward.url.is_empty(),
        "the app is asked only where auth.mode says \"forward\"",
    );
    checks.positive("auth.forward.timeout_seconds", forward.timeout_seconds);
    checks.value(
        "auth.forward.concurrent",
        (1..=10_000).contains(&forward.concurrent),
        "1 to 10000 requests",
    );
    checks.value("auth.forward.queue", forward.queue <= 1_000_000, "0 to 1000000 decisions");
    checks.value("auth.forward.cache_entries", forward.cache_entries <= 1_000_000, "0 to 1000000 responses");
    checks.value("auth.forward.headers", forward.headers.iter().all(|name| is_passable(name)), HEADERS);
}

const URL: &str = "an address such as http://127.0.0.1:3000/internal/tidings/{workspace}: http or https, {workspace} in path \
     or query only, no user, no fragment";
const HEADERS: &str = "names of request headers; none that belongs to a connection or that the broker sets itself, such as \
     Host, User-Agent and X-Forwarded-*";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_are_not_the_clients_to_give_are_refused() {
        for name in ["X-Api-Key", "Accept-Language", "CF-Access-Jwt-Assertion", "origin"] {
            assert!(is_passable(name), "{name}");
        }
        for name in ["", "a b", "Connection", "TE", "Host", "X-Forwarded-For", "x-tidings-user", "Forwarded"]
        {
            assert!(!is_passable(name), "{name}");
        }
    }

    fn problem(settings: &[(&str, &str)]) -> Option<String> {
        let variable = |(key, value): &(&str, &str)| {
            (format!("TIDINGS__AUTH__{}", key.to_ascii_uppercase().replace('.', "__")), (*value).to_owned())
        };
        let environment = settings.iter().map(variable).collect();
        let sources = super::super::Sources { environment, ..Default::default() };
        sources.load().err().map(|error| error.to_string())
    }

    #[test]
    fn mode_and_url_go_together() {
        let url = ("forward.url", "http://app/{workspace}?key=s3cret");
        for settings in [
            &[("mode", "forward"), url][..],
            &[("mode", "jwt,forward"), url],
            // For development the app may be left out by one word.
            &[("mode", "none"), url],
            &[("mode", "none")],
            &[("recheck_seconds", "0")],
            &[("recheck_seconds", "1")],
        ] {
            assert!(
                problem(settings)
                    .is_none_or(|problem| !problem.contains("FORWARD") && !problem.contains("RECHECK")),
                "{settings:?}: {:?}",
                problem(settings)
            );
        }
        for (settings, words) in [
            (&[("mode", "forward")][..], "set auth.forward.url"),
            (&[url], "the app is asked only where auth.mode says \"forward\""),
            (&[("forward.url", "app.example?s3cret")], "auth.forward.url is \"***\": expected an address"),
            (&[("forward.timeout_seconds", "0")], "more than 0 seconds"),
            (&[("forward.concurrent", "0")], "1 to 10000 requests"),
            (&[("forward.headers", "Cookie2, Host")], "names of request headers"),
            (&[("recheck_seconds", "0.5")], "0, or 1 to 86400 seconds"),
        ] {
            let problem = problem(settings).unwrap();
            assert!(problem.contains(words) && !problem.contains("s3cret"), "{problem}");
        }
    }
}
