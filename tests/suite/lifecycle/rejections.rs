//! The log lines of rejected requests, of streams that open, and of floods of lines.

use serde_json::{Value, json};

use super::logs::with_message;
use crate::support::raw::RawConnection;
use crate::support::token::{JWT, bearer, token};
use crate::support::{Broker, BrokerOptions, Connect, DEADLINE, eventually, http};

const STREAM: &str = "/api/workspaces/acme/events";

/// A user whose name would be several fields, if lines did not escape it.
const USER: &str = "u1 reason=\"none\"";

/// A broker that logs JSON and takes tokens.
async fn broker(settings: &[(&str, &str)]) -> Broker {
    let options = BrokerOptions::embedded().set("log.format", "json");
    let settings = JWT.iter().chain(settings);
    Broker::start_ready(settings.fold(options, |options, (key, value)| options.set(key, value))).await
}

/// The header of a user with the right to some workspaces.
fn authorization(user: &str, workspaces: &[&str], seconds: i64) -> String {
    bearer(&token(user, workspaces, seconds, &json!({})))
}

/// Makes a request, and returns the one line of its rejection.
async fn reject(broker: &Broker, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Value {
    let rejected = || with_message(broker, "request rejected");
    let before = rejected().len();
    http::request(broker.address(), method, target, headers, body.to_owned()).await;
    eventually("the rejection is logged", DEADLINE, async || rejected().len() > before).await;
    let lines = rejected();
    assert_eq!(lines.len(), before + 1, "{method} {target}: {lines:?}");
    lines[before].clone()
}

/// The request, the reason, the check, the status and the user of a line.
fn summary(line: &Value) -> Value {
    ["request", "reason", "check", "status", "user"].map(|field| line[field].clone()).to_vec().into()
}

#[tokio::test]
async fn rejected_request_is_a_line_with_its_reason() {
    let broker = broker(&[]).await;
    let user = &*authorization(USER, &["acme"], 600);
    let expired = &*authorization(USER, &["acme"], -600);
    let stranger = &*authorization("u2", &["other"], 600);
    let (query, envelope) = (&*format!("{STREAM}?types="), &*format!("{STREAM}?envelope=1"));
    let (access, position) = ("/api/workspaces/acme/access", "/api/workspaces/acme/position");
    let ticket = r#"{"workspace":"acme"}"#;
    for (method, target, header, body, expected) in [
        ("GET", STREAM, ("x", "y"), "", json!(["stream", "unauthenticated", "credentials", 401, null])),
        (
            "GET",
            STREAM,
            ("authorization", expired),
            "",
            json!(["stream", "unauthenticated", "expiry", 401, null]),
        ),
        (
            "HEAD",
            STREAM,
            ("authorization", stranger),
            "",
            json!(["stream", "forbidden", "subscribe", 403, "u2"]),
        ),
        (
            "GET",
            access,
            ("authorization", stranger),
            "",
            json!(["access", "forbidden", "subscribe", 403, "u2"]),
        ),
        (
            "GET",
            position,
            ("authorization", stranger),
            "",
            json!(["position", "forbidden", "subscribe", 403, "u2"]),
        ),
        ("GET", query, ("authorization", user), "", json!(["stream", "bad-query", null, 400, null])),
        ("GET", STREAM, ("accept", "text/html"), "", json!(["stream", "not-acceptable", null, 406, null])),
        (
            "POST",
            STREAM,
            ("origin", "https://evil.example"),
            "x",
            json!(["publication", "origin-not-allowed", null, 403, null]),
        ),
        (
            "POST",
            STREAM,
            ("authorization", stranger),
            "x",
            json!(["publication", "forbidden", "publish", 403, "u2"]),
        ),
        (
            "POST",
            envelope,
            ("authorization", user),
            r#"{"payload":1}"#,
            json!(["publication", "bad-envelope", null, 400, USER]),
        ),
        (
            "POST",
            "/api/tickets",
            ("authorization", stranger),
            ticket,
            json!(["ticket", "forbidden", "subscribe", 403, "u2"]),
        ),
    ] {
        let line = reject(&broker, method, target, &[header], body).await;
        assert_eq!(summary(&line), expected, "{method} {target}");
        assert_eq!((&line["workspace"], &line["level"]), (&json!("acme"), &json!("INFO")), "{line}");
        assert!(line["client.address"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
        assert_eq!(line["forwarded_for"], "127.0.0.1", "{line}");
    }
    let long = "x".repeat(20_000);
    let line = reject(&broker, "GET", STREAM, &[("cookie", &long)], "").await;
    assert_eq!(summary(&line), json!(["any", "head-too-large", null, 431, null]));
    let line = reject(&broker, "GET", "/api/workspaces/a%0Ab/events", &[], "").await;
    assert_eq!(line["workspace"], Value::Null, "an invalid id is not repeated");

    let log = broker.log();
    let secrets = [&user[7..], &expired[7..], &stranger[7..], "payload", "evil.example", "types=", "xxxx"];
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn limit_and_ban_are_lines_with_the_user() {
    let settings =
        [("limits.connections_per_user", "1"), ("auth.tickets_per_user", "1"), ("log.level", "debug")];
    let broker = broker(&settings).await;
    let user = &*authorization(USER, &["acme"], 600);
    let headers = [("authorization", user), ("accept", "text/event-stream")];
    let mut open = broker.connect_with("acme", Connect::default().header("authorization", user)).await;
    let connection = open.connected().await.json()["connectionId"].clone();
    let opened = with_message(&broker, "stream opened");
    assert_eq!(opened.len(), 1, "{opened:?}");
    assert_eq!((&opened[0]["user"], &opened[0]["connection"]), (&json!(USER), &connection), "{opened:?}");
    assert_eq!((&opened[0]["workspace"], &opened[0]["level"]), (&json!("acme"), &json!("DEBUG")));

    let line = reject(&broker, "GET", STREAM, &headers, "").await;
    assert_eq!(summary(&line), json!(["stream", "overloaded", "connections-per-user", 200, USER]));
    let by_status = format!("{STREAM}?errors=http");
    let line = reject(&broker, "GET", &by_status, &headers, "").await;
    assert_eq!(summary(&line), json!(["stream", "unavailable", "connections-per-user", 503, USER]));
    let ticket = r#"{"workspace":"acme"}"#;
    http::request(broker.address(), "POST", "/api/tickets", &headers, ticket).await;
    let line = reject(&broker, "POST", "/api/tickets", &headers, ticket).await;
    assert_eq!(summary(&line), json!(["ticket", "rate-limited", "tickets-per-user", 429, USER]));

    let mut redis = redis::Client::open(format!("redis://{}", broker.embedded()))
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    let ban = json!({ "disconnect": { "user": USER, "for": 600 } }).to_string();
    let _: i64 = redis::cmd("PUBLISH").arg("tidings:control").arg(ban).query_async(&mut redis).await.unwrap();
    eventually("the stream is ended", DEADLINE, async || with_message(&broker, "stream ended").len() == 1)
        .await;
    assert_eq!(with_message(&broker, "stream ended")[0]["user"], USER);
    let line = reject(&broker, "GET", STREAM, &headers, "").await;
    assert_eq!(summary(&line), json!(["stream", "disconnected", "disconnected", 204, USER]));
    let line = reject(&broker, "POST", STREAM, &headers[..1], "x").await;
    assert_eq!(summary(&line), json!(["publication", "disconnected", "disconnected", 403, USER]));
}

/// The lines of text format are one line each, whatever the user is called.
#[tokio::test]
async fn names_of_users_are_escaped_in_text() {
    let broker = broker(&[("log.format", "text")]).await;
    let user = &*authorization("u\u{2028}1 reason=none \"", &["other"], 600);
    http::request(broker.address(), "GET", STREAM, &[("authorization", user)], "").await;
    let log = broker.logged("request rejected").await;
    let line = log.lines().find(|line| line.contains("request rejected")).unwrap();
    assert!(line.contains(r#"reason="forbidden""#), "{line}");
    assert!(line.contains(r#"user="u\u{2028}1 reason=none \"""#), "{line}");
}

/// Many streams that end together leave a line a second, with their number and reasons.
#[tokio::test]
async fn flood_of_ends_is_counted_by_reason() {
    const STREAMS: usize = 300;
    let options = BrokerOptions::embedded().set("log.format", "json").set("log.lines_per_second", 10);
    let broker = Broker::start_ready(options).await;
    let mut open = Vec::new();
    for _ in 0..STREAMS {
        let mut client = RawConnection::open(broker.address()).await;
        client
            .send(format!("GET {STREAM} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"))
            .await;
        client.read_until("connected").await;
        open.push(client);
    }
    drop(open);
    let reports = || -> Vec<Value> {
        let lines = with_message(&broker, "lines of one kind were left out (log.lines_per_second)");
        lines.into_iter().filter(|line| line["kind"] == "stream ended").collect()
    };
    let silenced = || reports().iter().map(|line| line["silenced"].as_u64().unwrap()).sum::<u64>();
    let written = || with_message(&broker, "stream ended").len() as u64;
    eventually("every end is written or counted", DEADLINE, async || {
        written() + silenced() == STREAMS as u64
    })
    .await;
    for report in reports() {
        assert_eq!(report["reasons"], format!("client left {}", report["silenced"]), "{report}");
    }
    assert!(silenced() > 0 && written() < STREAMS as u64, "{} were written", written());
}
