//! Responses that are used again, and those that are not.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::DenialKind;

/// An app that names the user of the cookie, with a lifetime.
async fn naming_app(cache_control: &'static str) -> TestApp {
    TestApp::start(move |seen| async move {
        let user = seen.header("cookie").trim_start_matches("session=").to_owned();
        let mut response = response(200, &[("cache-control", cache_control)]);
        response.headers_mut().insert("x-tidings-user", HeaderValue::from_str(&user).unwrap());
        response
    })
    .await
}

/// A cached decision of the app serves the same request alone.
#[tokio::test]
async fn response_is_used_again_for_equal_requests_only() {
    let app = naming_app("private, max-age=60").await;
    let auth = app.auth();
    for name in ["u1", "u2", "u1", "u2"] {
        assert_eq!(user(&auth, name).await, name);
    }
    assert_eq!(app.asked(), 2);
    let until = read(&auth, &of_user(&auth, "u1")).await.unwrap().until.unwrap();
    assert!(until > Instant::now() + Duration::from_secs(40), "{until:?}");

    // Another workspace, action or address makes another request.
    let other = WorkspaceId::parse("other").unwrap();
    auth.ask(&other, Action::Subscribe, &of_user(&auth, "u1")).await.unwrap();
    auth.ask(&acme(), Action::Publish, &of_user(&auth, "u1")).await.unwrap_err();
    read(&auth, &from(&auth, "u1", "192.0.2.8")).await.unwrap();
    assert_eq!(app.asked(), 5);
}

#[tokio::test]
async fn app_decides_each_time_without_permission_to_cache() {
    for cache_control in ["no-store", "max-age=60, no-cache", "max-age=0", "s-maxage=60"] {
        let app = naming_app(cache_control).await;
        let auth = app.auth();
        user(&auth, "u1").await;
        user(&auth, "u1").await;
        assert_eq!(app.asked(), 2, "{cache_control}");
    }
}

#[tokio::test]
async fn response_is_stored_no_longer_than_configured() {
    let app = naming_app("max-age=3600").await;
    let auth = app.auth_with(|config| config.cache_max_seconds = seconds(0.3));
    let first = read(&auth, &of_user(&auth, "u1")).await.unwrap().until.unwrap();
    assert!(first <= Instant::now() + Duration::from_millis(300));
    tokio::time::sleep_until(first).await;
    user(&auth, "u1").await;
    assert_eq!(app.asked(), 2);
}

#[tokio::test]
async fn number_of_stored_responses_is_bounded() {
    let app = naming_app("max-age=60").await;
    let auth = app.auth_with(|config| config.cache_entries = 1);
    for name in ["u1", "u2", "u2", "u1"] {
        assert_eq!(user(&auth, name).await, name);
    }
    assert_eq!(app.asked(), 3);
}

#[tokio::test]
async fn rejection_is_used_again_only_as_the_app_allows() {
    for (status, headers, asked) in [
        (401, &[][..], 2),
        (403, &[], 2),
        (401, &[("cache-control", "max-age=60")], 1),
        (403, &[("cache-control", "max-age=60")], 1),
        (404, &[("cache-control", "max-age=60")], 2),
        (500, &[("cache-control", "max-age=60")], 2),
    ] {
        let app = TestApp::responding(status, headers).await;
        let auth = app.auth();
        for _ in 0..2 {
            read(&auth, &of_user(&auth, "u1")).await.unwrap_err();
        }
        assert_eq!(app.asked(), asked, "{status} {headers:?}");
    }
}

#[tokio::test]
async fn repeated_check_replaces_a_stored_response() {
    let member = Arc::new(AtomicBool::new(true));
    let is_member = Arc::clone(&member);
    let app = TestApp::start(move |_| {
        let is_member = is_member.load(Ordering::SeqCst);
        async move {
            if is_member { response(200, &[("cache-control", "max-age=60")]) } else { response(403, &[]) }
        }
    })
    .await;
    let auth = app.auth();
    let auth_request = of_user(&auth, "u1");
    read(&auth, &auth_request).await.unwrap();
    member.store(false, Ordering::SeqCst);
    read(&auth, &auth_request).await.unwrap();
    assert_eq!(app.asked(), 1);
    let denial = auth.ask_again(&acme(), Action::Subscribe, &auth_request).await.unwrap_err();
    assert_eq!(denial.kind, DenialKind::Forbidden);
    // The earlier response is no longer stored.
    read(&auth, &auth_request).await.unwrap_err();
    assert_eq!(app.asked(), 3);
}
