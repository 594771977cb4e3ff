use super::*;

fn check(rule: fn(&str) -> bool, good: &[&str], bad: &[&str]) {
    for text in good {
        assert!(rule(text), "{text:?} is refused");
    }
    for text in bad {
        assert!(!rule(text), "{text:?} is accepted");
    }
}

#[test]
fn base_paths() {
    let bad =
        ["/", "api", "/api/", "//api", "/a//b", "/a b", "/a%20b", "/ä", "/./a", "/a/..", "/a?b", "/{x}"];
    check(is_base_path, &["", "/api", "/v1/events", "/a.b_c~d-e", "/..."], &bad);
}

#[test]
fn channel_prefixes() {
    let (longest, too_long) = ("x".repeat(128), "x".repeat(129));
    let bad = ["", "a b", "a*", "a?", "a[", "a]", r"a\", "ä:", "a\n", &too_long];
    check(is_channel_prefix, &["workspace:", "x", "{app}:", "123", &longest], &bad);
}

#[test]
fn origins() {
    let good = [
        "*",
        "https://app.example.com",
        "http://localhost:3000",
        "http://127.0.0.1:8080",
        "http://[::1]:3000",
        "https://[2001:db8::1]",
        "capacitor://localhost",
        "https://example.com:80",
        "https://*.example.com",
        "http://*.localhost:3000",
    ];
    let bad = [
        "",
        "null",
        "app.example.com",
        "https://app.example.com/",
        "https://app.example.com/path",
        "https://App.example.com",
        "HTTPS://app.example.com",
        "https://",
        "https://app.example.com:",
        "https://app.example.com:443",
        "http://app.example.com:80",
        "http://app.example.com:080",
        "http://app.example.com:0",
        "http://app.example.com:70000",
        "http://[::0001]",
        "http://[::1",
        "http://user@host",
        "https://*",
        "https://*.com",
        "https://*example.com",
        "https://a.*.example.com",
        "https://*.*.example.com",
        "https://*.[::1]",
        "*://app.example.com",
        "https://app.example.com:*",
        "https://ü.example.com",
        "https://a b",
    ];
    check(is_origin, &good, &bad);
}

#[test]
fn log_levels() {
    let good = ["info", "DEBUG", "off", "info,tidings_bus=debug", "warn,tidings[stream]=trace"];
    let bad = ["", "inof", "info,", "info, debug", "info,tidings=loud", "[", " é=info", "info,tidings_bus"];
    check(is_log_level, &good, &bad);
}
