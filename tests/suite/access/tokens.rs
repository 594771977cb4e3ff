//! `auth.mode = "jwt"`, from outside.

use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header};
use nix::sys::signal::Signal;
use serde_json::json;

use super::control::order;
use crate::support::broker::tidings;
use crate::support::commands::run_tidings;
use crate::support::directory::Directory;
use crate::support::http::{self, Response};
use crate::support::sse::{Connect, EventSource};
use crate::support::test_cluster::on_both_buses;
use crate::support::token::{JWT, SECRET, bearer, token};
use crate::support::wait::eventually;
use crate::support::{Bus, DEADLINE, TestCluster};

on_both_buses!(
    a_token_opens_the_workspaces_that_it_names,
    a_stream_ends_a_moment_before_its_token_does,
    a_user_is_disconnected_and_stays_out,
    a_revoked_token_is_worth_nothing_from_now_on,
    private_event_reaches_only_its_users,
);

const EVENTS: &str = "/api/workspaces/acme/events";

async fn get(cluster: &TestCluster, target: &str, headers: &[(&str, &str)]) -> Response {
    http::request(cluster.broker.address(), "GET", target, headers, "").await
}

fn with(token: &str) -> Connect {
    Connect::default().header("Authorization", &bearer(token))
}

async fn a_token_opens_the_workspaces_that_it_names(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &JWT).await;
    let good = token("ann", &["acme", "team-*"], 60, &json!({}));
    for workspace in ["acme", "team-a"] {
        let mut client = cluster.broker.connect_with(workspace, with(&good)).await;
        client.connected().await;
    }
    let authorization = bearer(&good);
    let posted = http::request(
        cluster.broker.address(),
        "POST",
        EVENTS,
        &[("Authorization", authorization.as_str())],
        "x",
    )
    .await;
    assert_eq!(posted.status, 200);

    let other = token("ann", &["other"], 60, &json!({}));
    let expired = token("ann", &["acme"], -120, &json!({}));
    // What one token says under the signature of another.
    let (said, _) = other.rsplit_once('.').unwrap();
    let (_, signature) = good.rsplit_once('.').unwrap();
    let forged = format!("{said}.{signature}");
    for (given, status, check) in [
        (String::new(), 401, "credentials"),
        (bearer(&other), 403, "subscribe"),
        (bearer(&expired), 401, "expiry"),
        (bearer(&forged), 401, "signature"),
        ("Bearer nonsense".to_owned(), 401, "form"),
    ] {
        let headers = [("Authorization", given.as_str()), ("Accept", "text/event-stream")];
        let headers = if given.is_empty() { &headers[1..] } else { &headers[..] };
        let refused = get(&cluster, EVENTS, headers).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["check"]), (status, &json!(check)), "{given}");
        assert_eq!(refused.header("www-authenticate").starts_with("Bearer"), status == 401, "{given}");
        let posted = http::request(cluster.broker.address(), "POST", EVENTS, headers, "x").await;
        let check = if check == "subscribe" { "publish" } else { check };
        assert_eq!((posted.status.as_u16(), &posted.json()["check"]), (status, &json!(check)), "{given}");
    }
    // An address is no place for a token, unless the configuration says so.
    assert_eq!(get(&cluster, &format!("{EVENTS}?token={good}"), &[]).await.status, 401);
    for secret in [&good[..], SECRET] {
        assert!(!cluster.broker.log().contains(secret), "{}", cluster.broker.log());
    }
}

/// No client reads after its right to read has ended: a stream ends before its token does.
async fn a_stream_ends_a_moment_before_its_token_does(bus: Bus) {
    let settings = [&JWT[..], &[("sse.retry_ms", "100")]].concat();
    let cluster = TestCluster::start_with(bus, &settings).await;
    let began = std::time::Instant::now();
    let mut client = cluster.broker.connect_with("acme", with(&token("ann", &["acme"], 4, &json!({})))).await;
    client.connected().await;
    let last = client.event_named("tidings.reconnect").await;
    assert_eq!(last.json()["reason"], "expired");
    let after = began.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(4)).contains(&after), "{after:?}");
}

async fn a_user_is_disconnected_and_stays_out(bus: Bus) {
    let settings = [&JWT[..], &[("sse.retry_ms", "100")]].concat();
    let cluster = TestCluster::start_with(bus, &settings).await;
    cluster.broker.ready().await;
    let open = |user| {
        EventSource::open(cluster.broker.address(), "acme", with(&token(user, &["acme"], 60, &json!({}))))
    };
    let (mut ann, mut ben) = (open("ann"), open("ben"));
    ann.connected().await;
    ben.connected().await;
    assert_eq!(order(&cluster, json!({ "disconnect": { "user": "ann", "for": 60 } })).await, 1);
    let last = ann.wait_for(Duration::from_secs(1), |event| event.kind == "tidings.reconnect").await;
    assert_eq!(last.json()["reason"], "disconnected");
    eventually("she stays away for good", DEADLINE, async || ann.closed().is_some()).await;
    assert!(ben.closed().is_none());
    assert_eq!(ben.opened(), 1, "he was not disturbed");
}

async fn a_revoked_token_is_worth_nothing_from_now_on(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &JWT).await;
    cluster.broker.ready().await;
    let stolen = token("ann", &["acme"], 60, &json!({ "jti": "t1" }));
    let own = token("ann", &["acme"], 60, &json!({ "jti": "t2" }));
    let mut thief = cluster.broker.connect_with("acme", with(&stolen)).await;
    let mut ann = cluster.broker.connect_with("acme", with(&own)).await;
    thief.connected().await;
    ann.connected().await;
    assert_eq!(order(&cluster, json!({ "disconnect": { "jti": "t1" } })).await, 1);
    thief.event_named("tidings.reconnect").await;
    assert_eq!(cluster.broker.connect_with("acme", with(&stolen)).await.status(), 204);
    assert_eq!(cluster.broker.connect_with("acme", with(&own)).await.status(), 200);
    assert!(ann.end().is_none());
}

#[tokio::test]
async fn cookie_or_allowed_query_carries_the_token() {
    let settings = [&JWT[..], &[("auth.jwt.cookie", "live"), ("auth.jwt.query", "true")]].concat();
    let cluster = TestCluster::start_with(Bus::Embedded, &settings).await;
    let good = token("ann", &["acme"], 60, &json!({}));
    let cookie = Connect::default().header("Cookie", &format!("a=b; live={good}"));
    assert_eq!(cluster.broker.connect_with("acme", cookie).await.status(), 200);
    let query = Connect::query(&format!("token={good}"));
    assert_eq!(cluster.broker.connect_with("acme", query).await.status(), 200);
    assert!(!cluster.broker.log().contains(&good), "{}", cluster.broker.log());
}

#[tokio::test]
async fn commands_bring_the_token_of_their_environment() {
    let cluster = TestCluster::start_with(Bus::Embedded, &JWT).await;
    let url = format!("http://{}/api", cluster.broker.address());
    let run = async |arguments: &[&str], token: &str| {
        let mut command = tokio::process::Command::from(tidings());
        command.args(arguments).args(["--url", &url]).env("TIDINGS_TOKEN", token).kill_on_drop(true);
        tokio::time::timeout(DEADLINE, command.output()).await.unwrap().unwrap()
    };
    let good = token("ann", &["acme"], 60, &json!({}));
    let published = run(&["publish", "acme", "hello"], &good).await;
    assert!(published.status.success(), "{published:?}");
    let seen = run(&["tail", "acme", "--last", "1", "--count", "1"], &good).await;
    assert_eq!(String::from_utf8_lossy(&seen.stdout), "hello\n", "{seen:?}");
    let expired = token("ann", &["acme"], -120, &json!({}));
    for arguments in [&["publish", "acme", "x"][..], &["tail", "acme"]] {
        let refused = run(arguments, &expired).await;
        let told = String::from_utf8_lossy(&refused.stderr);
        assert!(refused.status.code() == Some(1) && told.contains("401"), "{told}");
        assert!(!told.contains(&expired), "{told}");
    }
}

#[tokio::test]
async fn a_user_has_so_many_streams_and_no_more() {
    let settings = [&JWT[..], &[("limits.connections_per_user", "1")]].concat();
    let cluster = TestCluster::start_with(Bus::Embedded, &settings).await;
    let (ann, ben) = (token("ann", &["acme"], 60, &json!({})), token("ben", &["acme"], 60, &json!({})));
    let mut first = cluster.broker.connect_with("acme", with(&ann)).await;
    first.connected().await;
    let mut second = cluster.broker.connect_with("acme", with(&ann)).await;
    assert_eq!(second.event_named("tidings.reconnect").await.json()["reason"], "overloaded");
    let mut other = cluster.broker.connect_with("acme", with(&ben)).await;
    other.connected().await;
    assert!(first.end().is_none());
}

async fn private_event_reaches_only_its_users(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &JWT).await;
    let of = |user: &str| with(&token(user, &["acme"], 60, &json!({})));
    let (mut ann, mut ben) = (
        cluster.broker.connect_with("acme", of("ann")).await,
        cluster.broker.connect_with("acme", of("ben")).await,
    );
    ann.connected().await;
    let start = ben.connected().await.id;
    let authorization = bearer(&token("backend", &["acme"], 60, &json!({})));
    let headers = [("Authorization", authorization.as_str())];
    for event in [json!({ "data": "for ann", "to": ["ann", "eve"] }), json!({ "data": "for all" })] {
        let target = format!("{EVENTS}?envelope=1");
        let posted =
            http::request(cluster.broker.address(), "POST", &target, &headers, event.to_string()).await;
        assert_eq!(posted.status, 200, "{}", posted.text());
    }
    assert_eq!(ann.application_event().await.data, "for ann");
    assert_eq!(ann.application_event().await.data, "for all");
    assert_eq!(ben.application_event().await.data, "for all");

    // The same holds for clients that resume, from any position.
    for from in [start, ann.events()[1].id.clone()] {
        let again = Connect { last_event_id: Some(from), ..of("ben") };
        let mut again = cluster.broker.connect_with("acme", again).await;
        assert_eq!(again.connected().await.json()["resumed"], true);
        assert_eq!(again.application_event().await.data, "for all");
    }
}

#[tokio::test]
async fn a_short_secret_does_on_this_machine_alone() {
    let directory = Directory::new();
    let file = directory.write("secret", "short\n").display().to_string();
    let settings = [("auth.mode", "jwt"), ("auth.jwt.algorithm", "HS256"), ("auth.jwt.secret_file", &file)];
    let cluster = TestCluster::start_with(Bus::Embedded, &settings).await;
    cluster.broker.logged("5 bytes and needs at least 32").await;

    let open = [
        &settings[..],
        &[("server.listen", "0.0.0.0:0"), ("admin.listen", "127.0.0.1:0"), ("embedded.listen", "")],
    ];
    let told = run_tidings(&["serve"], &open.concat()).await.failure(1);
    assert!(
        told.contains("5 bytes and needs at least 32") && told.contains("auth.jwt.secret_file"),
        "{told}"
    );
}

#[tokio::test]
async fn rotated_secret_throws_no_client_out() {
    let directory = Directory::new();
    let file = |name: &str, text: &str| directory.write(name, text).display().to_string();
    let (new, old) = (file("new", "\n"), file("old", SECRET));
    let files = format!("{new},{old}");
    let settings = [
        ("auth.mode", "jwt"),
        ("auth.jwt.algorithm", "HS256"),
        ("auth.jwt.secret_file", &*files),
        ("auth.jwt.key_reload_seconds", "86400"),
    ];
    let cluster = TestCluster::start_with(Bus::Embedded, &settings).await;
    let ann = with(&token("ann", &["acme"], 60, &json!({})));
    let mut stream = cluster.broker.connect_with("acme", ann.clone()).await;
    stream.connected().await;

    let rotated = "another secret of thirty-two bytes, at least that long";
    let claims = json!({ "workspaces": ["acme"], "exp": 4_102_444_800_u64 });
    let key = EncodingKey::from_secret(rotated.as_bytes());
    let ben = with(&jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap());
    assert_eq!(cluster.broker.connect_with("acme", ben.clone()).await.status(), 401);
    file("new", rotated);
    cluster.broker.signal(Signal::SIGHUP);
    eventually("tokens of the new secret count", DEADLINE, async || {
        cluster.broker.connect_with("acme", ben.clone()).await.status() == 200
    })
    .await;
    assert_eq!(cluster.broker.connect_with("acme", ann.clone()).await.status(), 200);

    // Retired, the old one counts no more; the stream stays.
    file("old", "");
    cluster.broker.signal(Signal::SIGHUP);
    eventually("tokens of the old secret count no more", DEADLINE, async || {
        cluster.broker.connect_with("acme", ann.clone()).await.status() == 401
    })
    .await;
    assert!(stream.end().is_none());
    assert!(!cluster.broker.log().contains(rotated), "{}", cluster.broker.log());
}

#[tokio::test]
async fn mask_of_a_shown_configuration_is_no_secret() {
    for (key, value, more) in [
        ("auth.jwt.secret", "***", &[("auth.mode", "jwt"), ("auth.jwt.algorithm", "HS256")][..]),
        ("embedded.password", "***", &[]),
        ("redis.url", "redis://user:***@127.0.0.1:6379", &[]),
        ("redis.sentinel.nodes", "redis://***@127.0.0.1:26379", &[]),
        ("auth.forward.url", "http://127.0.0.1:1/{workspace}?***", &[("auth.mode", "forward")]),
        ("auth.jwt.jwks_url", "https://id.example.com/keys?***", &[]),
    ] {
        let settings = [more, &[(key, value)]].concat();
        for command in ["serve", "config", "check"] {
            let told = run_tidings(&[command], &settings).await.failure(2);
            assert!(told.contains(key) && told.contains("the secret itself"), "{command}: {told}");
        }
    }
}
