//! The section `[auth.forward]`: authentication by the app.

use std::fmt;

use http::Uri;
use serde::Deserialize;

use crate::jwt::config::is_loopback;
use tidings_event::workspace::WorkspaceId;
use tidings_settings::{MASK, Seconds};

/// The placeholder for the workspace's id in the URL.
const PLACEHOLDER: &str = "{workspace}";

/// `[auth.forward]`: authentication by the app.
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

/// Holds the URL of the app, with `{workspace}` for the workspace's id.
///
/// `Debug` and `Display` mask the query, which may be secret, and the whole text if it is not a
/// valid URL.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct ForwardUrl(String);

impl ForwardUrl {
    /// Creates a URL without validating it.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// Returns whether no URL is configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether the URL uses TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// Returns whether requests leave this machine without TLS, with the cookies of users.
    #[must_use]
    pub fn is_clear_to_others(&self) -> bool {
        let url = self.0.replace(PLACEHOLDER, "w").parse::<Uri>();
        let is_local = url.is_ok_and(|url| url.host().is_some_and(is_loopback));
        !self.is_https() && !is_local
    }

    /// Returns the URL for a workspace.
    ///
    /// An id has unreserved characters only (RFC 3986 section 2.3), so it needs no escaping and
    /// cannot leave its segment. The ids `.` and `..` are an exception: servers remove such
    /// segments (section 5.2.4), so another page would respond. Returns `None` for them, and for a
    /// text that is not a URL.
    #[must_use]
    pub fn for_workspace(&self, workspace: &WorkspaceId) -> Option<Uri> {
        let uri: Uri = self.0.replace(PLACEHOLDER, workspace.as_str()).parse().ok()?;
        let is_plain = uri.path().split('/').all(|segment| !matches!(segment, "." | ".."));
        is_plain.then_some(uri)
    }

    /// Returns whether the URL is valid: absolute, http or https, without user, password and
    /// fragment. The placeholder may be in path and query only, because a client chooses the
    /// workspace and must not choose the host.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let Some((scheme, rest)) = self.0.split_once("://") else { return false };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let filled = self.0.replace(PLACEHOLDER, "w");
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
mod tests;
