//! `[auth.forward]`: asking the app who may come in.

use std::fmt;

use http::{HeaderName, Uri};
use serde::Deserialize;

use super::validate::Checks;
use super::{AuthMethod, AuthMode, Config, Seconds};
use crate::workspace::WorkspaceId;

/// What stands for the workspace's id in the URL.
const PLACE: &str = "{workspace}";

/// `[auth.forward]`: asking the app who may come in.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct ForwardConfig {
    pub url: ForwardUrl,
    pub timeout_seconds: Seconds,
    pub concurrent: usize,
    pub queue: usize,
    pub cache_entries: usize,
    pub cache_max_seconds: Seconds,
    pub headers: Vec<String>,
}

/// The URL at which the app is asked, with `{workspace}` where the workspace's id goes. `Debug` and `Display` leave out
/// what may be secret: the query, and everything of what is no such URL.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct ForwardUrl(String);

impl ForwardUrl {
    /// Takes a text as it stands.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// Whether none is configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the app is asked over TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// The URL for a workspace. Its id consists of unreserved characters (RFC 3986 section 2.3), so nothing of it is to
    /// be escaped and it cannot leave its place, with one exception: the ids `.` and `..` may stand for a part of a path
    /// that servers resolve away (section 5.2.4), so that another page would answer. For these there is `None`, as there
    /// is where the text is no URL at all.
    #[must_use]
    pub fn of(&self, workspace: &WorkspaceId) -> Option<Uri> {
        let uri: Uri = self.0.replace(PLACE, workspace.as_str()).parse().ok()?;
        let is_plain = uri.path().split('/').all(|segment| !matches!(segment, "." | ".."));
        is_plain.then_some(uri)
    }

    /// Whether it is a URL that can be asked: absolute, http or https, without user, password and fragment, and with
    /// the workspace nowhere but in path and query. A client chooses the workspace, and must not choose the host.
    fn is_valid(&self) -> bool {
        let Some((scheme, rest)) = self.0.split_once("://") else { return false };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let filled = self.0.replace(PLACE, "w");
        matches!(scheme, "http" | "https")
            && !authority.contains(['@', '{'])
            && !filled.contains(['{', '}', '#'])
            && filled.parse::<Uri>().is_ok_and(|uri| uri.host().is_some_and(|host| !host.is_empty()))
            && filled.split(['?', '/']).all(|segment| !matches!(segment, "." | ".."))
    }
}

impl fmt::Display for ForwardUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return Ok(());
        }
        if !self.is_valid() {
            return f.write_str("***");
        }
        match self.0.split_once('?') {
            Some((before, _)) => write!(f, "{before}?***"),
            None => f.write_str(&self.0),
        }
    }
}

impl fmt::Debug for ForwardUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// Whether the name of a request header may be listed in `auth.forward.headers`. Those that concern one connection
/// (RFC 9110 section 7.6.1) or the message itself are not the client's to give, and those that the broker sets must not
/// come from a client.
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
    // A mode that is written out decides; one that was forgotten would let everybody in.
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
    checks.value("auth.forward.cache_entries", forward.cache_entries <= 1_000_000, "0 to 1000000 answers");
    checks.value("auth.forward.headers", forward.headers.iter().all(|name| is_passable(name)), HEADERS);
}

const URL: &str = "an address such as http://127.0.0.1:3000/internal/tidings/{workspace}: http or https, {workspace} in path \
     or query only, no user, no fragment";
const HEADERS: &str = "names of request headers; none that belongs to a connection or that the broker sets itself, such as \
     Host, User-Agent and X-Forwarded-*";

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [&str; 6] = [
        "http://127.0.0.1:3000/internal/tidings/{workspace}",
        "https://app.example.com/may?workspace={workspace}",
        "http://app",
        "http://[::1]:3000/{workspace}/{workspace}",
        "http://app?key=s3cret",
        "http://app/x-{workspace}.json",
    ];

    #[test]
    fn only_what_can_be_asked_is_a_url() {
        for url in GOOD {
            assert!(ForwardUrl::new(url).is_valid(), "{url}");
        }
        for url in [
            "app:3000/x",
            "/internal",
            "ftp://app/x",
            "http://",
            "http:///x",
            "http://{workspace}.app/",
            "http://app:{workspace}/",
            "http://user:s3cret@app/",
            "http://app/{worksapce}",
            "http://app/#{workspace}",
            "http://app/../x",
            "http://app/a b",
        ] {
            assert!(!ForwardUrl::new(url).is_valid(), "{url}");
        }
    }

    #[test]
    fn the_workspace_stands_in_its_place_and_cannot_leave_it() {
        let of = |url: &str, id: &str| {
            ForwardUrl::new(url).of(&WorkspaceId::parse(id).unwrap()).map(|uri| uri.to_string())
        };
        assert_eq!(of(GOOD[0], "a.b~c_d-e").unwrap(), "http://127.0.0.1:3000/internal/tidings/a.b~c_d-e");
        assert_eq!(of(GOOD[1], "..").unwrap(), "https://app.example.com/may?workspace=..");
        assert_eq!(of(GOOD[5], "..").unwrap(), "http://app/x-...json");
        for dots in [".", ".."] {
            assert_eq!(of(GOOD[0], dots), None);
        }
    }

    #[test]
    fn what_may_be_secret_is_not_shown() {
        for (url, shown) in [
            (GOOD[0], GOOD[0]),
            ("http://app/{workspace}?key=s3cret", "http://app/{workspace}?***"),
            ("http://user:s3cret@app/", "***"),
            ("", ""),
        ] {
            assert_eq!(ForwardUrl::new(url).to_string(), shown);
            assert_eq!(format!("{:?}", ForwardUrl::new(url)), format!("{shown:?}"));
        }
    }

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
