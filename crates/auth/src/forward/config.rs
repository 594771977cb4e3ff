//! `[auth.forward]`: asking the app who may come in.

use std::fmt;

use http::Uri;
use serde::Deserialize;
use tidings_event::workspace::WorkspaceId;
use tidings_settings::{MASK, Seconds};

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
    #[must_use]
    pub fn is_valid(&self) -> bool {
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
            return f.write_str(MASK);
        }
        match self.0.split_once('?') {
            Some((before, _)) => write!(f, "{before}?{MASK}"),
            None => f.write_str(&self.0),
        }
    }
}

impl fmt::Debug for ForwardUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

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
}
