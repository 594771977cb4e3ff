use proptest::prelude::*;

use super::*;

fn proxies(header: ProxyHeader) -> TrustedProxies {
    TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()], header)
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(HOST, "broker.internal:8080".parse().unwrap());
    for (name, value) in lines {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

fn client(peer: &str, lines: &[(&'static str, &str)]) -> ClientAddress {
    let peer = peer.parse().unwrap();
    proxies(ProxyHeader::XForwardedFor).client(peer, false, &Uri::from_static("/"), &headers(lines))
}

fn address(peer: &str, chain: &str) -> String {
    client(peer, &[("x-forwarded-for", chain)]).address.to_string()
}

#[test]
fn the_nearest_address_that_is_no_trusted_proxy() {
    assert_eq!(address("203.0.113.9", "198.51.100.1"), "203.0.113.9", "not told by a proxy of ours");
    assert_eq!(address("10.0.0.1", "6.6.6.6, 198.51.100.1"), "198.51.100.1");
    assert_eq!(address("10.0.0.1", "6.6.6.6, 198.51.100.1, 10.0.0.2"), "198.51.100.1");
    assert_eq!(address("::ffff:10.0.0.1", "198.51.100.1, fd00::2"), "198.51.100.1");
    assert_eq!(address("10.0.0.1", "10.0.0.3, 10.0.0.2"), "10.0.0.3", "all are trusted");
    assert_eq!(address("10.0.0.1", "6.6.6.6, unknown, 10.0.0.2"), "10.0.0.2", "the last that is known");
    assert_eq!(address("10.0.0.1", ""), "10.0.0.1");
}

#[test]
fn other_header_is_not_trusted() {
    let forged = [("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "198.51.100.1")];
    assert_eq!(client("10.0.0.1", &forged).address.to_string(), "198.51.100.1");
    let rules = proxies(ProxyHeader::Forwarded);
    let seen = rules.client(
        "10.0.0.1".parse().unwrap(),
        false,
        &Uri::from_static("/"),
        &headers(&[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-proto", "https")]),
    );
    assert_eq!((seen.address.to_string().as_str(), seen.scheme), ("10.0.0.1", None));
}

#[test]
fn scheme_and_host_are_those_of_the_outermost_trusted_proxy() {
    let lines = [
        ("x-forwarded-for", "6.6.6.6, 198.51.100.1, 10.0.0.2"),
        ("x-forwarded-proto", "http, https, http"),
        ("x-forwarded-host", "forged.example, live.example, inner.example"),
    ];
    let seen = client("10.0.0.1", &lines);
    assert_eq!((seen.scheme, seen.host.as_deref()), (Some(Scheme::Https), Some("live.example")));
    let seen = client("203.0.113.9", &lines);
    assert_eq!((seen.scheme, seen.host.as_deref()), (None, Some("broker.internal:8080")));
}

#[test]
fn scheme_and_host_count_each_by_itself() {
    let (proto, host) = (("x-forwarded-proto", "https"), ("x-forwarded-host", "live.example"));
    let found = |lines: &[(&'static str, &str)]| {
        let seen = client("10.0.0.1", lines);
        assert_eq!(seen.address.to_string(), "10.0.0.1");
        (seen.scheme, seen.host.unwrap_or_default())
    };
    let own = "broker.internal:8080".to_owned();
    assert_eq!(found(&[proto]), (Some(Scheme::Https), own.clone()));
    assert_eq!(found(&[host]), (None, "live.example".to_owned()));
    assert_eq!(found(&[proto, host]), (Some(Scheme::Https), "live.example".to_owned()));
    assert_eq!(found(&[("x-forwarded-for", "unknown"), proto]), (Some(Scheme::Https), own.clone()));
    // Appended to a client's own entry, the nearest one is the proxy's.
    assert_eq!(found(&[("x-forwarded-proto", "https, http")]), (Some(Scheme::Http), own.clone()));
    let stranger = client("203.0.113.9", &[proto, host]);
    assert_eq!((stranger.scheme, stranger.host), (None, Some(own)));
}

#[test]
fn http_2_names_its_host_in_the_target() {
    let uri = Uri::from_static("https://live.example/api");
    let seen = TrustedProxies::none().client("::1".parse().unwrap(), true, &uri, &HeaderMap::new());
    assert_eq!((seen.scheme, seen.host.as_deref()), (Some(Scheme::Https), Some("live.example")));
}

proptest! {
    /// A client cannot choose the address that a node counts for it.
    #[test]
    fn a_client_cannot_choose_its_address(forged in "[ -~]{0,80}") {
        let appended = format!("{forged}, 198.51.100.1");
        prop_assert_eq!(address("10.0.0.1", &appended), "198.51.100.1");
    }

    /// A client cannot choose its address by `Forwarded` either.
    #[test]
    fn a_client_cannot_choose_its_address_by_forwarded(forged in "[ -~]{0,80}|[for=\",;\\\\1. ]{0,40}") {
        let rules = proxies(ProxyHeader::Forwarded);
        let found = r#"for="[2001:db8::7]:443";proto=https;by="_edge""#;
        let seen = |lines: &[(&'static str, &str)]| {
            let peer = "10.0.0.1".parse().unwrap();
            rules.client(peer, false, &Uri::from_static("/"), &headers(lines)).address.to_string()
        };
        // In a line of its own the proxy's entry is separate.
        prop_assert_eq!(seen(&[("forwarded", &forged), ("forwarded", found)]), "2001:db8::7");
        // Appended to a line with an open quote, it may become unreadable; no other entry
        // takes its place.
        let joined = seen(&[("forwarded", &format!("{forged}, {found}"))]);
        prop_assert!(joined == "2001:db8::7" || joined == "10.0.0.1", "{}", joined);
    }
}
