use super::*;

/// The status that a listener on loopback returns, or 200.
fn status(version: Version, target: &str, hosts: &[&str]) -> u16 {
    let mut request = Request::builder().version(version).uri(target);
    for host in hosts {
        request = request.header(HOST, *host);
    }
    let problem = Hosts::Local.check(&request.body(()).unwrap()).err();
    problem.map_or(200, |problem| problem.into_response().status().as_u16())
}

#[test]
fn local_names_belong_to_this_machine_alone() {
    for host in [
        "127.0.0.1",
        "127.0.0.1:8080",
        "127.9.9.9:1",
        "[::1]:8080",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
        "localhost.:80",
        "localhost:",
        "LOCALHOST:80",
        "app.localhost:3000",
    ] {
        assert_eq!(status(Version::HTTP_11, "/", &[host]), 200, "{host}");
        let target = format!("http://{host}/");
        assert_eq!(status(Version::HTTP_2, &target, &[]), 200, "{host}");
    }
    for host in [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "10.0.0.1:8080",
        "127.0.0.1.evil.example",
        "[::2]:1",
        "notlocalhost",
    ] {
        assert_eq!(status(Version::HTTP_11, "/", &[host]), 421, "{host}");
        let target = format!("http://{host}/");
        assert_eq!(status(Version::HTTP_2, &target, &[]), 421, "{host}");
    }
}

#[test]
fn malformed_host_is_always_rejected() {
    for host in [
        "",
        ":8080",
        "[::1].evil.example",
        "[::1]evil.example:80",
        "[::1",
        "[localhost]",
        "[::1%25lo]",
        "evil.example@localhost",
        "localhost@evil.example",
        "localhost:80@evil.example",
        "localhost:80:80",
        "localhost:x",
        "localhost:+80",
        "localhost:65536",
        "localhost, evil.example",
        "local host",
        "localhost/",
        "localhost?",
        "http://localhost",
    ] {
        let request = Request::builder().header(HOST, host).body(()).unwrap();
        assert!(Hosts::Any.check(&request).is_err(), "{host}");
        assert_eq!(status(Version::HTTP_11, "/", &[host]), 400, "{host}");
        assert_eq!(status(Version::HTTP_10, "/", &[host]), 400, "{host}");
        assert_eq!(status(Version::HTTP_2, "http://localhost/", &[host]), 400, "{host}");
    }
    let request = Request::builder().header(HOST, &b"local\xffhost"[..]).body(()).unwrap();
    assert!(Hosts::Any.check(&request).is_err());
}

#[test]
fn exactly_one_host_over_http_1_1() {
    assert_eq!(status(Version::HTTP_11, "/", &[]), 400);
    assert_eq!(status(Version::HTTP_11, "/", &["localhost", "localhost"]), 400);
    assert_eq!(status(Version::HTTP_11, "/", &["localhost", "evil.example"]), 400);
    assert_eq!(status(Version::HTTP_11, "http://localhost/", &[]), 400);
    assert_eq!(status(Version::HTTP_11, "http://localhost/", &["evil.example"]), 200, "the target counts");
    assert_eq!(status(Version::HTTP_11, "http://evil.example/", &["localhost"]), 421);
    assert_eq!(status(Version::HTTP_11, "http://evil.example@localhost/", &["localhost"]), 400);
    assert_eq!(status(Version::HTTP_10, "/", &[]), 200);
    assert_eq!(status(Version::HTTP_10, "/", &["localhost", "localhost"]), 400);
}

#[test]
fn authority_and_host_agree_over_http_2() {
    assert_eq!(status(Version::HTTP_2, "/", &[]), 400);
    assert_eq!(status(Version::HTTP_2, "/", &["localhost"]), 200);
    assert_eq!(status(Version::HTTP_2, "http://localhost:80/", &["localhost:80"]), 200);
    assert_eq!(status(Version::HTTP_2, "http://localhost/", &["evil.example"]), 400);
    assert_eq!(status(Version::HTTP_2, "http://localhost/", &["localhost", "localhost"]), 400);
    assert_eq!(status(Version::HTTP_2, "http://evil.example@localhost/", &[]), 400);
    assert_eq!(status(Version::HTTP_2, "http://localhost@evil.example/", &[]), 400);
}

#[test]
fn any_host_where_the_configuration_decided() {
    let request = Request::builder().header(HOST, "evil.example").body(()).unwrap();
    assert!(Hosts::Any.check(&request).is_ok());
    assert!(Hosts::Local.check(&request).is_err());
}

/// nginx names the node as the host unless its configuration says otherwise. Other proxies say for
/// which client and host they ask.
#[test]
fn request_that_is_forwarded_for_another_machine_is_no_local_one() {
    for (name, value, is_local) in [
        ("x-forwarded-for", "127.0.0.1", true),
        ("x-forwarded-for", "::1, 127.0.0.1", true),
        ("x-forwarded-host", "localhost:3000", true),
        ("forwarded", "for=127.0.0.1;host=localhost", true),
        ("x-forwarded-proto", "http", true),
        ("x-forwarded-for", "203.0.113.7", false),
        ("x-forwarded-for", "203.0.113.7, 127.0.0.1", false),
        ("x-forwarded-host", "app.example.com", false),
        ("forwarded", "for=203.0.113.7", false),
        ("forwarded", "for=unknown;host=app.example.com", false),
    ] {
        let request = Request::builder().header(HOST, "127.0.0.1:8080").header(name, value).body(()).unwrap();
        assert_eq!(Hosts::Local.check(&request).is_ok(), is_local, "{name}: {value}");
        assert!(Hosts::Any.check(&request).is_ok());
    }
}
