use proptest::prelude::*;

use super::*;

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

fn hop(address: Option<&str>, scheme: Option<Scheme>, host: Option<&str>) -> Hop {
    let address = address.map(|address| address.parse().unwrap());
    Hop { address, scheme, host: host.map(str::to_owned) }
}

fn addresses(lines: &[&str]) -> Vec<Option<String>> {
    let lines: Vec<_> = lines.iter().map(|&line| ("forwarded", line)).collect();
    let hops = hops(&headers(&lines), ProxyHeader::Forwarded);
    hops.into_iter().map(|hop| hop.address.map(|address| address.to_string())).collect()
}

#[test]
fn the_examples_of_rfc_7239() {
    assert_eq!(addresses([r#"for="_gazonk""#].as_slice()), [None]);
    assert_eq!(addresses(&[r#"For="[2001:db8:cafe::17]:4711""#]), [Some("2001:db8:cafe::17".to_owned())]);
    let one = headers(&[("forwarded", "for=192.0.2.60;proto=http;by=203.0.113.43")]);
    let expected = [hop(Some("192.0.2.60"), Some(Scheme::Http), None)];
    assert_eq!(hops(&one, ProxyHeader::Forwarded), expected);
    let several = ["for=192.0.2.43, for=198.51.100.17", "for=unknown"];
    let expected = [None, Some("198.51.100.17".to_owned()), Some("192.0.2.43".to_owned())];
    assert_eq!(addresses(&several), expected);
}

#[test]
fn address_may_have_port_quotes_and_brackets() {
    for (element, expected) in [
        (r#"for="192.0.2.43:47011""#, Some("192.0.2.43")),
        (r#"for="192.0.2.43:_port""#, Some("192.0.2.43")),
        (r#"for="[::ffff:192.0.2.43]""#, Some("192.0.2.43")),
        (r#"for="\1\9\2.0.2.43""#, Some("192.0.2.43")),
        ("FOR=192.0.2.43 ; proto=https", Some("192.0.2.43")),
        (";;for=192.0.2.43;", Some("192.0.2.43")),
        (r#"x="a,b;c\"";for=192.0.2.43"#, Some("192.0.2.43")),
        (r#"for="2001:db8::1""#, None),
        ("for=[2001:db8::1]", None),
        (r#"for="192.0.2.43:""#, None),
        (r#"for="192.0.2.43:123456""#, None),
        ("for=192.0.2.43;for=192.0.2.44", None),
        ("for=192.0.2.43;x", None),
        ("for = 192.0.2.43", None),
        (r#"for="192.0.2.43"#, None),
        (r#"for="192.0.2.43"x"#, None),
        ("for=", None),
        ("secret", None),
    ] {
        assert_eq!(addresses(&[element]), [expected.map(str::to_owned)], "{element}");
    }
    assert_eq!(addresses(&[" , ,", ""]), Vec::<Option<String>>::new());
}

#[test]
fn x_forwarded_headers_are_appended_to_or_replaced() {
    let appended = headers(&[
        ("x-forwarded-for", "203.0.113.7, 2001:db8::1"),
        ("x-forwarded-for", "10.0.0.2:1234"),
        ("x-forwarded-proto", "https, http, http"),
        ("x-forwarded-host", "live.example"),
    ]);
    let expected = [
        hop(Some("10.0.0.2"), Some(Scheme::Http), Some("live.example")),
        hop(Some("2001:db8::1"), Some(Scheme::Http), Some("live.example")),
        hop(Some("203.0.113.7"), Some(Scheme::Https), Some("live.example")),
    ];
    assert_eq!(hops(&appended, ProxyHeader::XForwardedFor), expected);
    let alone = headers(&[("x-forwarded-proto", "https")]);
    assert_eq!(hops(&alone, ProxyHeader::XForwardedFor), [hop(None, Some(Scheme::Https), None)]);
    let alone = headers(&[("x-forwarded-host", "a.example, b.example")]);
    assert_eq!(hops(&alone, ProxyHeader::XForwardedFor), [hop(None, None, Some("b.example"))]);
    let odd = headers(&[("x-forwarded-for", "me"), ("x-forwarded-host", "a b")]);
    assert_eq!(hops(&odd, ProxyHeader::XForwardedFor), [Hop::default()]);
}

#[test]
fn no_more_hops_than_the_bound_and_those_the_nearest() {
    let many: Vec<String> = (0..200).map(|number| format!("192.0.2.{number}")).collect();
    let found = hops(&headers(&[("x-forwarded-for", &many.join(","))]), ProxyHeader::XForwardedFor);
    assert_eq!(found.len(), HOPS_MAX);
    assert_eq!(found[0], hop(Some("192.0.2.199"), None, None));
}

proptest! {
    #[test]
    fn any_header_is_parsed(lines in proptest::collection::vec("[ -~]{0,80}", 0..4)) {
        for (header, name) in
            [(ProxyHeader::Forwarded, "forwarded"), (ProxyHeader::XForwardedFor, "x-forwarded-for")]
        {
            let lines: Vec<_> = lines.iter().map(|line| (name, line.as_str())).collect();
            let found = hops(&headers(&lines), header);
            prop_assert!(found.len() <= HOPS_MAX);
            prop_assert!(found.iter().flat_map(|hop| &hop.host).all(|host| is_host(host)));
        }
    }

    #[test]
    fn quoted_string_is_its_content(content in "[ -~]{0,40}") {
        let quoted = format!("\"{}\"", content.replace('\\', "\\\\").replace('"', "\\\""));
        prop_assert_eq!(value(quoted.as_bytes()), Some(content));
    }
}
