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
fn only_listed_headers_and_those_of_the_node_are_sent() {
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
fn header_for_the_next_hop_is_not_sent() {
    let given =
        auth_request(&[("connection", "close, X-Api-Key"), ("connection", "keep-alive"), ("x-api-key", "k")]);
    assert_eq!(sent(&given), FORWARDED);
}

#[test]
fn token_in_the_query_is_not_sent() {
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
fn debug_shows_no_secret() {
    let given = auth_request(&[("cookie", "s3cret"), ("authorization", "s3cret"), ("x-api-key", "s3cret")]);
    let shown = format!("{given:?} {:?}", given.headers().collect::<Vec<_>>());
    assert!(shown.contains("cookie") && !shown.contains("s3cret"), "{shown}");
}

/// Two requests to the app are the same only if all their content is.
#[test]
fn key_covers_all_data_for_the_app() {
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
