use proptest::prelude::*;

use super::*;

fn decorated(list: &[&str], origin: Option<&'static str>) -> HeaderMap {
    let list: Vec<String> = list.iter().map(|&origin| origin.to_owned()).collect();
    let mut headers = HeaderMap::new();
    Origins::new(&list).decorate(origin.map(HeaderValue::from_static).as_ref(), &mut headers);
    headers
}

/// Pages of other hosts get no CORS header unless their origin is listed.
#[test]
fn no_configured_origin_means_no_cors_header() {
    assert!(decorated(&[], Some("https://a.example")).is_empty());
}

#[test]
fn a_listed_origin_is_named_and_may_send_cookies() {
    let headers = decorated(&["https://a.example", "https://b.example"], Some("https://b.example"));
    assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "https://b.example");
    assert_eq!(headers[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
    assert_eq!(headers[VARY], "Origin");
}

#[test]
fn others_get_nothing_but_vary() {
    for origin in [None, Some("https://c.example"), Some("https://a.example.evil"), Some("null")] {
        let headers = decorated(&["https://a.example"], origin);
        assert_eq!(headers.len(), 1, "{origin:?}");
        assert_eq!(headers[VARY], "Origin");
    }
}

#[test]
fn every_origin_never_comes_with_credentials() {
    let headers = decorated(&["*"], Some("https://c.example"));
    assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS));
}

#[test]
fn subdomains_are_whole_labels_at_one_scheme_and_port() {
    let list = ["https://*.example.com", "http://*.localhost:3000"];
    for (origin, listed) in [
        ("https://a.example.com", true),
        ("https://a.b-c.example.com", true),
        ("http://app.localhost:3000", true),
        ("https://example.com", false),
        ("https://.example.com", false),
        ("https://a..example.com", false),
        ("https://evilexample.com", false),
        ("https://a.example.com.evil", false),
        ("https://evil/.example.com", false),
        ("https://evil:1.example.com", false),
        ("https://u@.example.com", false),
        ("http://a.example.com", false),
        ("https://a.example.com:8443", false),
        ("http://app.localhost", false),
        ("https://*.example.com", false),
    ] {
        let headers = decorated(&list, Some(origin));
        assert_eq!(headers[VARY], "Origin");
        let named = headers.get(ACCESS_CONTROL_ALLOW_ORIGIN).is_some_and(|named| named == origin);
        assert_eq!(named, listed, "{origin}");
        assert_eq!(headers.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS), listed, "{origin}");
    }
}

/// Only pages of listed origins may publish.
#[test]
fn only_pages_of_listed_origins_publish() {
    let check = |list: &[&str], origin: Option<&'static str>, scheme: Option<&str>| {
        let list: Vec<String> = list.iter().map(|&origin| origin.to_owned()).collect();
        let mut headers = HeaderMap::new();
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
        }
        Origins::new(&list).check_sender(&headers, scheme, Some("live.example:443")).is_ok()
    };
    let (plain, tls) = (Some("http"), Some("https"));
    assert!(check(&[], None, plain), "a backend sends no Origin");
    assert!(check(&[], Some("https://live.example"), tls), "the broker's own origin");
    assert!(check(&[], Some("https://live.example"), None), "the same behind a proxy that is not known");
    assert!(check(&[], Some("http://live.example:443"), None));
    assert!(!check(&[], Some("http://live.example:443"), tls), "a page that came in the clear is another's");
    assert!(!check(&[], Some("https://evil.example"), tls));
    assert!(!check(&[], Some("null"), tls));
    assert!(!check(&[], Some("ftp://live.example:443"), None));
    assert!(check(&["https://a.example"], Some("https://a.example"), plain));
    assert!(!check(&["https://a.example"], Some("https://evil.example"), plain));
    assert!(check(&["https://*.a.example"], Some("https://b.a.example"), plain));
}

#[test]
fn every_origin_publishes_by_its_own_credentials_alone() {
    let check = |origin: &'static str, more: Option<(http::HeaderName, &'static str)>| {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, HeaderValue::from_static(origin));
        if let Some((name, value)) = more {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let list = ["*", "https://a.example"].map(str::to_owned);
        Origins::new(&list).check_sender(&headers, None, Some("live.example")).is_ok()
    };
    assert!(check("https://c.example", None));
    assert!(check("https://c.example", Some((AUTHORIZATION, "bearer abc"))));
    for more in [(COOKIE, "session=1"), (AUTHORIZATION, "Basic dTpw"), (AUTHORIZATION, "Negotiate YII")] {
        for evil in ["https://evil.example", "null"] {
            assert!(!check(evil, Some(more.clone())), "{evil} {more:?}");
        }
        assert!(check("https://a.example", Some(more.clone())), "listed by name");
        assert!(check("https://live.example", Some(more)), "the broker's own");
    }
}

proptest! {
    #[test]
    fn a_pattern_covers_nothing_that_a_browser_sends_from_elsewhere(host in "[a-z0-9.-]{1,30}") {
        let origins = Origins::new(&["https://*.example.com".to_owned()]);
        let origin = HeaderValue::from_str(&format!("https://{host}")).unwrap();
        prop_assert!(!origins.lists(&origin) || host.ends_with(".example.com"));
    }
}
