//! What the app is told of a client's request.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};

use crate::Action;
use tidings_event::workspace::WorkspaceId;
use tidings_limits::AddressKey;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// Parameters of the query that let somebody in by themselves, and are nothing that the app needs.
const SECRET_PARAMETERS: [&str; 2] = ["token", "ticket"];

/// What is taken from a client's request to ask the app with: Cookie, Authorization, User-Agent, the configured further
/// headers, and where the request came from. A clone shares it, so a stream can keep it to ask again. `Debug` shows the
/// names of headers alone.
#[derive(Clone)]
pub struct AuthRequest(Arc<[(HeaderName, HeaderValue)]>, AddressKey);

/// A question to the app as a whole, by its digest: everything that the app is told stands in it, so two clients share
/// an answer only where the app could not tell them apart. Nobody can look for two questions with one digest (SHA-256),
/// and no cookie can be read out of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct AuthRequestKey([u8; 32]);

impl AuthRequest {
    /// Takes what is needed from a request. `extra` are the further headers to pass on; `client` is the address of the
    /// client, that of a trusted proxy resolved; `proto` is `http` or `https`, `host` the host that the client asked, and
    /// `uri` its path and query.
    pub(super) fn new(
        extra: &[HeaderName],
        headers: &HeaderMap,
        client: IpAddr,
        proto: &str,
        host: Option<&str>,
        uri: &str,
    ) -> Self {
        let mut taken = Vec::new();
        let single_hop = single_hop(headers);
        for name in [header::COOKIE, header::AUTHORIZATION, header::USER_AGENT].iter().chain(extra) {
            if single_hop.contains(name) || taken.iter().any(|(other, _)| other == name) {
                continue;
            }
            if *name == header::COOKIE {
                taken.extend(cookies(headers).map(|value| (name.clone(), value)));
                continue;
            }
            for value in headers.get_all(name) {
                // A copy: the value is a part of the buffer that holds the whole head, and would keep it.
                taken.extend(sensitive(value.as_bytes()).map(|value| (name.clone(), value)));
            }
        }
        for (name, value) in [
            (X_FORWARDED_FOR, Some(client.to_canonical().to_string())),
            (X_FORWARDED_PROTO, Some(proto.to_owned())),
            (X_FORWARDED_HOST, host.map(str::to_owned)),
            (X_FORWARDED_URI, Some(redacted(uri))),
        ] {
            taken.extend(value.and_then(|value| sensitive(value.as_bytes())).map(|value| (name, value)));
        }
        Self(taken.into(), AddressKey::of(client))
    }

    /// What the client's requests take turns by.
    pub(super) fn address(&self) -> AddressKey {
        self.1
    }

    /// The headers to ask with.
    pub(super) fn headers(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.0.iter()
    }

    /// The name of the question whether this client may do that.
    pub(super) fn key(&self, workspace: &WorkspaceId, action: Action) -> AuthRequestKey {
        let mut hash = Sha256::new();
        // Each part is preceded by its length, so that no two lists of parts are the same bytes.
        let mut put = |part: &[u8]| {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        };
        put(workspace.as_str().as_bytes());
        put(action.as_str().as_bytes());
        for (name, value) in self.headers() {
            put(name.as_str().as_bytes());
            put(value.as_bytes());
        }
        AuthRequestKey(hash.finalize().into())
    }
}

impl fmt::Debug for AuthRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.headers().map(|(name, _)| name.as_str())).finish()
    }
}

fn sensitive(bytes: &[u8]) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(bytes).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The headers that a client declares to be for the next hop only (RFC 9110 section 7.6.1).
fn single_hop(headers: &HeaderMap) -> Vec<HeaderName> {
    let listed =
        headers.get_all(header::CONNECTION).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    listed.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect()
}

/// All cookies in one value: over HTTP/2 they may come in several (RFC 9113 section 8.2.3), of which many servers of
/// HTTP/1.1 read the first alone.
fn cookies(headers: &HeaderMap) -> Option<HeaderValue> {
    let values: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if values.is_empty() { None } else { sensitive(&values.join(&b"; "[..])) }
}

/// A path and query without what lets somebody in.
fn redacted(uri: &str) -> String {
    let Some((path, query)) = uri.split_once('?') else { return uri.to_owned() };
    let pairs = query.split('&').map(|pair| {
        let is_secret = form_urlencoded::parse(pair.as_bytes())
            .next()
            .is_some_and(|(name, _)| SECRET_PARAMETERS.contains(&&*name));
        match pair.split_once('=') {
            Some((name, _)) if is_secret => format!("{name}=***"),
            _ => pair.to_owned(),
        }
    });
    format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth_request(headers: &[(&'static str, &str)]) -> AuthRequest {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let extra = [HeaderName::from_static("x-api-key")];
        AuthRequest::new(
            &extra,
            &map,
            "::ffff:192.0.2.7".parse().unwrap(),
            "https",
            Some("app.example"),
            "/e?a=1",
        )
    }

    fn sent(auth_request: &AuthRequest) -> Vec<String> {
        auth_request.headers().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    const FORWARDED: [&str; 4] = [
        "x-forwarded-for: 192.0.2.7",
        "x-forwarded-proto: https",
        "x-forwarded-host: app.example",
        "x-forwarded-uri: /e?a=1",
    ];

    #[test]
    fn only_what_is_listed_goes_on_and_what_the_broker_says_is_not_the_clients() {
        let given = auth_request(&[
            ("cookie", "a=1"),
            ("cookie", "b=2"),
            ("authorization", "Bearer t"),
            ("user-agent", "test"),
            ("x-api-key", "k"),
            ("x-other", "o"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-uri", "/admin"),
            ("x-tidings-user", "root"),
            ("host", "evil.example"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
        ]);
        let mut expected =
            vec!["cookie: a=1; b=2", "authorization: Bearer t", "user-agent: test", "x-api-key: k"];
        expected.extend(FORWARDED);
        assert_eq!(sent(&given), expected);
    }

    #[test]
    fn what_is_for_the_next_hop_only_stays_here() {
        let given = auth_request(&[
            ("connection", "close, X-Api-Key"),
            ("connection", "keep-alive"),
            ("x-api-key", "k"),
        ]);
        assert_eq!(sent(&given), FORWARDED);
    }

    #[test]
    fn a_token_in_the_query_does_not_go_on() {
        for (uri, shown) in [
            ("/e", "/e"),
            ("/e?", "/e?"),
            ("/e?a=1&token=s3cret&b", "/e?a=1&token=***&b"),
            ("/e?ticket=s3cret", "/e?ticket=***"),
            ("/e?%74oken=s3cret&token=s3=cret", "/e?%74oken=***&token=***"),
            ("/e?tokens=1&mytoken=2&Token=3", "/e?tokens=1&mytoken=2&Token=3"),
        ] {
            assert_eq!(redacted(uri), shown);
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let given =
            auth_request(&[("cookie", "s3cret"), ("authorization", "s3cret"), ("x-api-key", "s3cret")]);
        let shown = format!("{given:?} {:?}", given.headers().collect::<Vec<_>>());
        assert!(shown.contains("cookie") && !shown.contains("s3cret"), "{shown}");
    }

    /// Two requests to the app are the same only if all their content is.
    #[test]
    fn questions_differ_in_all_that_the_app_is_told() {
        let (acme, other) = (WorkspaceId::parse("acme").unwrap(), WorkspaceId::parse("other").unwrap());
        let base = [("cookie", "a=1"), ("x-api-key", "k")];
        let key = auth_request(&base).key(&acme, Action::Subscribe);
        assert!(key == auth_request(&base).key(&acme, Action::Subscribe));
        let others = [
            auth_request(&base).key(&other, Action::Subscribe),
            auth_request(&base).key(&acme, Action::Publish),
            auth_request(&[("cookie", "a=2"), ("x-api-key", "k")]).key(&acme, Action::Subscribe),
            auth_request(&[("cookie", "a=1"), ("x-api-key", "l")]).key(&acme, Action::Subscribe),
            auth_request(&[("authorization", "a=1"), ("x-api-key", "k")]).key(&acme, Action::Subscribe),
            auth_request(&[("cookie", "a=1k"), ("x-api-key", "")]).key(&acme, Action::Subscribe),
        ];
        assert!(others.iter().all(|other| *other != key));
    }
}
