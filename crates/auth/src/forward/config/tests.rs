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
fn only_absolute_http_urls_are_valid() {
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
fn workspace_cannot_leave_its_segment() {
    let of = |url: &str, id: &str| {
        ForwardUrl::new(url).for_workspace(&WorkspaceId::parse(id).unwrap()).map(|uri| uri.to_string())
    };
    assert_eq!(of(GOOD[0], "a.b~c_d-e").unwrap(), "http://127.0.0.1:3000/internal/tidings/a.b~c_d-e");
    assert_eq!(of(GOOD[1], "..").unwrap(), "https://app.example.com/may?workspace=..");
    assert_eq!(of(GOOD[5], "..").unwrap(), "http://app/x-...json");
    for dots in [".", ".."] {
        assert_eq!(of(GOOD[0], dots), None);
    }
}

#[test]
fn secrets_in_the_url_are_masked() {
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

#[test]
fn cookies_leave_this_machine_over_https_alone() {
    for (url, is_clear) in [
        ("https://app.example/{workspace}", false),
        ("http://127.0.0.1:3000/{workspace}", false),
        ("http://[::1]:3000/api?w={workspace}", false),
        ("http://localhost:3000/", false),
        ("http://app.internal:3000/{workspace}", true),
        ("http://10.0.0.7/{workspace}", true),
    ] {
        assert_eq!(ForwardUrl::new(url).is_clear_to_others(), is_clear, "{url}");
    }
}
