//! Where streams are and where events go to: addresses, and templates of them with a place for the
//! workspace.

use http::Uri;

use super::CommandFailure;
use tidings_event::workspace::WorkspaceId;

/// The text in a template for the name of a workspace.
const PLACE: &str = "{workspace}";

/// A text that comes to another one for each workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(String);

/// The server of a URL.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BenchTarget {
    /// Host and port, to be looked up.
    pub(super) host: (String, u16),
    /// Host and port, as in requests.
    pub(super) authority: String,
    /// The prefix of all paths.
    pub(super) base_path: String,
}

impl Template {
    /// A path, such as `/sub/{workspace}`; with a query if need be.
    pub(super) fn path(text: &str) -> Result<Self, String> {
        let template = Self(text.to_owned());
        let is_path = |filled: String| filled.starts_with('/') && filled.parse::<Uri>().is_ok();
        if is_path(template.with("x")) {
            Ok(template)
        } else {
            Err("expected a path such as /sub/{workspace}".to_owned())
        }
    }

    /// A whole URL, such as `http://127.0.0.1:8080/pub/{workspace}`.
    pub(super) fn url(text: &str) -> Result<Self, String> {
        let template = Self(text.to_owned());
        let uri = template.with("x").parse::<Uri>();
        let is_url = uri.is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
        });
        if is_url {
            Ok(template)
        } else {
            Err("expected a URL such as http://127.0.0.1:8080/pub/{workspace}".to_owned())
        }
    }

    /// The same with a text before it.
    pub(super) fn below(&self, base: &str) -> Self {
        Self(format!("{base}{}", self.0))
    }

    /// The text for a workspace.
    pub(super) fn of(&self, workspace: &WorkspaceId) -> String {
        self.with(workspace.as_str())
    }

    /// Whether it is the same text for every workspace.
    pub(super) fn is_fixed(&self) -> bool {
        !self.0.contains(PLACE)
    }

    fn with(&self, workspace: &str) -> String {
        self.0.replace(PLACE, workspace)
    }
}

impl BenchTarget {
    /// Takes a URL apart.
    pub(super) fn of(url: &str) -> Result<Self, CommandFailure> {
        let wrong =
            || CommandFailure::Usage(format!("`{url}` is not a URL such as http://127.0.0.1:8080/api"));
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        if uri.scheme_str() == Some("https") {
            return Err(CommandFailure::Usage(
                "the generator speaks plain HTTP/1.1: name the broker itself, or a listener without TLS in front of it"
                    .to_owned(),
            ));
        }
        let (Some("http"), Some(authority), Some(host)) = (uri.scheme_str(), uri.authority(), uri.host())
        else {
            return Err(wrong());
        };
        let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self {
            host: (name, uri.port_u16().unwrap_or(80)),
            authority: authority.to_string(),
            base_path: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let found = BenchTarget::of("http://[::1]:81/a/b/").map_err(|_| ()).unwrap();
        assert_eq!((found.host, found.authority.as_str()), (("::1".to_owned(), 81), "[::1]:81"));
        assert_eq!(found.base_path, "/a/b");
        assert_eq!(BenchTarget::of("http://host").map_err(|_| ()).unwrap().host.1, 80);
        for (url, words) in
            [("https://host/api", "plain HTTP/1.1"), ("nonsense", "not a URL"), ("ftp://host", "not a URL")]
        {
            let Err(CommandFailure::Usage(said)) = BenchTarget::of(url) else { panic!("{url}") };
            assert!(said.contains(words), "{url}: {said}");
        }
    }

    #[test]
    fn a_template_has_a_place_for_the_workspace() {
        let acme = WorkspaceId::parse("acme").unwrap();
        let path = Template::path("/sub/{workspace}?of={workspace}").unwrap();
        assert_eq!(path.below("/api").of(&acme), "/api/sub/acme?of=acme");
        assert!(!path.is_fixed() && Template::path("/events").unwrap().is_fixed());
        for wrong in ["", "sub/{workspace}", "/a b", "/a\r\nX: y"] {
            assert!(Template::path(wrong).is_err(), "{wrong}");
        }
        let url = Template::url("http://host:1/pub/{workspace}").unwrap();
        assert_eq!(url.of(&acme), "http://host:1/pub/acme");
        for wrong in ["/pub/{workspace}", "ftp://host/{workspace}", "http://", "host"] {
            assert!(Template::url(wrong).is_err(), "{wrong}");
        }
    }
}
