//! The data that the app receives, and the meaning of its responses.

use super::*;
use crate::{DenialKind, DenialReason};

#[tokio::test]
async fn app_receives_the_client_and_its_action() {
    let app = TestApp::responding(200, &[("x-tidings-user", "u1")]).await;
    let auth = app.auth_with(|config| config.headers = vec!["X-Api-Key".to_owned()]);
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("cookie", "session=1"),
        ("authorization", "Bearer t"),
        ("user-agent", "Test/1"),
        ("x-api-key", "k"),
        ("x-other", "o"),
        ("x-forwarded-for", "10.0.0.1"),
        ("accept", "text/event-stream"),
        ("connection", "keep-alive, x-hop"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let client = "2001:db8::7".parse().unwrap();
    let auth_request =
        auth.auth_request(&headers, client, "https", Some("app.example"), "/e?named=1&token=s3cret");
    let decision = auth.ask(&acme(), Action::Subscribe, &auth_request).await.unwrap();
    assert_eq!(decision.identity.user.unwrap().as_str(), "u1");
    assert_eq!((decision.identity.token, decision.identity.expires, decision.until), (None, None, None));
    auth.ask(&acme(), Action::Publish, &auth_request).await.unwrap_err();

    let seen = app.seen.lock().clone();
    assert_eq!((seen[0].method.as_str(), seen[0].target.as_str()), ("GET", "/may/acme?key=k"));
    let host = app.address.to_string();
    let expected = [
        ("accept", "application/json"),
        ("authorization", "Bearer t"),
        ("cookie", "session=1"),
        ("host", &host),
        ("user-agent", "Test/1"),
        ("x-api-key", "k"),
        ("x-forwarded-for", "2001:db8::7"),
        ("x-forwarded-host", "app.example"),
        ("x-forwarded-method", "GET"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-uri", "/e?named=1&token=***"),
        ("x-tidings-action", "subscribe"),
        ("x-tidings-workspace", "acme"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(seen[0].headers, HashMap::from(expected));
    assert_eq!((seen[1].method.as_str(), seen[1].header("x-forwarded-method")), ("GET", "POST"));
    assert_eq!(seen[1].header("x-tidings-action"), "publish");
}

/// A denial of the app is final only if the app says so.
#[tokio::test]
async fn denial_is_final_only_for_401_and_403() {
    for (status, kind, reason) in [
        (401, DenialKind::Unauthenticated, DenialReason::App),
        (403, DenialKind::Forbidden, DenialReason::App),
        (404, DenialKind::Passing, DenialReason::AppUnavailable),
        (429, DenialKind::Passing, DenialReason::AppUnavailable),
        (500, DenialKind::Passing, DenialReason::AppUnavailable),
        (503, DenialKind::Passing, DenialReason::AppUnavailable),
    ] {
        let app = TestApp::responding(status, &[("x-tidings-user", "u1")]).await;
        let auth = app.auth();
        let denial = read(&auth, &of_user(&auth, "u1")).await.unwrap_err();
        assert_eq!((denial.kind, denial.reason), (kind, reason), "{status}");
    }
}

#[tokio::test]
async fn redirect_is_not_followed() {
    let app = TestApp::start(|seen| async move {
        match seen.target.as_str() {
            "/login" => response(200, &[]),
            _ => response(302, &[("location", "/login")]),
        }
    })
    .await;
    let auth = app.auth();
    let denial = read(&auth, &of_user(&auth, "u1")).await.unwrap_err();
    assert_eq!(denial.reason, DenialReason::AppUnavailable);
    assert_eq!(app.asked(), 1);
}

#[tokio::test]
async fn publishing_needs_the_header_of_the_app() {
    for (headers, allowed) in [(&[][..], false), (&[("x-tidings-publish", "true")], true)] {
        let app = TestApp::responding(204, headers).await;
        let auth = app.auth();
        let auth_request = of_user(&auth, "u1");
        read(&auth, &auth_request).await.unwrap();
        let published = auth.ask(&acme(), Action::Publish, &auth_request).await;
        let denied = published.err().map(|denial| (denial.kind, denial.reason));
        assert_eq!(denied, (!allowed).then_some((DenialKind::Forbidden, DenialReason::Publish)));
    }
}

#[tokio::test]
async fn invalid_user_is_not_accepted() {
    let app = TestApp::responding(200, &[("x-tidings-user", "")]).await;
    let auth = app.auth();
    let denial = read(&auth, &of_user(&auth, "u1")).await.unwrap_err();
    assert_eq!((denial.kind, denial.reason), (DenialKind::Passing, DenialReason::AppUnavailable));
}

#[tokio::test]
async fn workspace_of_dots_sends_no_request() {
    let app = TestApp::responding(200, &[]).await;
    let auth = app.auth();
    let dots = WorkspaceId::parse("..").unwrap();
    let denial = auth.ask(&dots, Action::Subscribe, &of_user(&auth, "u1")).await.unwrap_err();
    assert_eq!((denial.kind, denial.reason), (DenialKind::Forbidden, DenialReason::App));
    assert_eq!(app.asked(), 0);
}

#[tokio::test]
async fn outcomes_are_counted() {
    let app = TestApp::start(|seen| async move {
        match seen.header("cookie") {
            "session=in" => response(200, &[("cache-control", "max-age=60")]),
            "session=out" => response(403, &[]),
            _ => response(500, &[]),
        }
    })
    .await;
    let auth = app.auth();
    for user in ["in", "in", "in", "out", "other", "other"] {
        let _ = read(&auth, &of_user(&auth, user)).await;
    }
    use ForwardOutcome::{Allowed, Cached, Denied, Failed};
    let metrics = &auth.0.metrics;
    assert_eq!([Allowed, Denied, Failed, Cached].map(|outcome| metrics.counted(outcome)), [1, 1, 2, 2]);
    assert_eq!(metrics.in_flight.get(), 0);
}

#[tokio::test]
async fn debug_shows_no_secret() {
    let app = TestApp::responding(200, &[]).await;
    let auth = app.auth_with(|config| {
        config.url = ForwardUrl::new(format!("http://{}/?key=s3cret", app.address));
    });
    let shown = format!("{auth:?} {:?}", of_user(&auth, "s3cret"));
    assert!(shown.contains("cookie") && !shown.contains("s3cret"), "{shown}");
}

/// Stores log lines for a test.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn failure_is_logged_once_a_second_without_secrets() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .with_max_level(tracing::Level::TRACE);
    let _subscribed = tracing::subscriber::set_default(subscriber.finish());
    let app = TestApp::responding(500, &[("x-tidings-user", "u1")]).await;
    let auth = app.auth_with(|config| {
        config.url = ForwardUrl::new(format!("http://{}/may/{{workspace}}?key=s3cret", app.address));
    });
    // On the first call of any test, tracing may not know yet that this test subscribes.
    read(&app.auth(), &of_user(&auth, "u1")).await.unwrap_err();
    tracing::callsite::rebuild_interest_cache();
    lines.0.lock().clear();
    for user in ["s3cret1", "s3cret2"] {
        read(&auth, &of_user(&auth, user)).await.unwrap_err();
    }
    let text = String::from_utf8(lines.0.lock().clone()).unwrap();
    let ours: Vec<&str> = text.lines().filter(|line| line.contains("tidings_auth::")).collect();
    let expected = format!(
        "the app gave no valid response: it accepts no new client url=http://{}/may/{{workspace}}?*** \
         error=status 500, which is none of 2xx, 401 and 403 silenced=0",
        app.address
    );
    assert!(ours.len() == 1 && ours[0].ends_with(&expected), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
}
