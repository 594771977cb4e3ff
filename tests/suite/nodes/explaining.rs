//! The explanation of a client.

use serde_json::{Value, json};

use super::{ask, document, fleet, id, of_node, run};
use crate::support::app::App;
use crate::support::commands::{run_tidings, run_tidings_with_input};
use crate::support::http;
use crate::support::token::{JWT, bearer, token};
use crate::support::{Broker, BrokerOptions, Connect, DEADLINE, RedisServer, eventually};

async fn explain(broker: &Broker, request: &Value) -> Value {
    let response = ask(broker, "POST", "/api/console/explain", &request.to_string()).await;
    assert_eq!(response.status, 200, "{:?}", response.body);
    response.json()
}

fn verdict(explained: &Value) -> &str {
    explained["verdict"].as_str().unwrap()
}

#[tokio::test]
async fn served_client_is_found_on_any_node() {
    let server = RedisServer::start().await;
    let [one, other] = fleet(&server, &JWT).await;
    let token = token("ann", &["acme"], 60, &json!({}));
    let options = Connect::default().header("authorization", &bearer(&token));
    let mut client = other.connect_with("acme", options).await;
    client.connected().await;
    let explained = explain(&one, &json!({ "workspace": "acme", "user": "ann" })).await;
    let node = of_node(&explained, &id(&other).await);
    assert_eq!(
        (node["streams"].as_array().unwrap().len(), node["open"]["user"].as_u64()),
        (1, Some(1)),
        "{node}"
    );
    assert!(verdict(&explained).contains("is served by 1 open stream"), "{explained}");
    let nobody = explain(&one, &json!({ "workspace": "acme", "user": "ben" })).await;
    assert!(verdict(&nobody).contains("nothing here rejects one"), "{nobody}");
}

/// The token is checked on the asking side alone, and is in no log line, reply or question.
#[tokio::test]
async fn expired_token_is_explained_and_stays_secret() {
    let server = RedisServer::start().await;
    let [one, other] = fleet(&server, &[&JWT[..], &[("log.level", "trace")]].concat()).await;
    let mut control = server.connection().await.unwrap();
    let expired = token("ann", &["acme"], -60, &json!({}));
    let explained = explain(&one, &json!({ "workspace": "acme", "token": expired })).await;
    assert_eq!(explained["token"]["permitted"], false, "{explained}");
    assert!(
        verdict(&explained).starts_with("The client gets nothing, because the check `exp"),
        "{explained}"
    );
    let url = server.url();
    let settings = [&JWT[..], &[("redis.url", url.as_str())]].concat();
    let arguments = ["explain", "acme", "--token-file", "-"];
    let text = run_tidings_with_input(&arguments, &settings, &expired).await.success();
    assert!(text.contains("FAIL") && text.contains("refuses its token"), "{text}");
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut control).await.unwrap();
    let mut stored = String::new();
    for key in keys.iter().filter(|key| key.contains("replies")) {
        let members: Vec<String> =
            redis::cmd("ZRANGE").arg(key).arg(0).arg(-1).query_async(&mut control).await.unwrap();
        stored.push_str(&members.concat());
    }
    assert!(stored.contains("explain"), "{stored}");
    for text in [&one.log(), &other.log(), &stored, &text, &explained.to_string()] {
        assert!(!text.contains(&expired) && !text.contains(expired.split('.').nth(2).unwrap()), "{text}");
    }

    let elsewhere = token("ann", &["other"], 60, &json!({}));
    let explained = explain(&one, &json!({ "workspace": "acme", "token": elsewhere })).await;
    assert!(verdict(&explained).contains("does not permit reading acme"), "{explained}");
}

/// A ticket for a workspace, by a token.
async fn ticket(broker: &Broker, token: &str, workspace: &str) -> String {
    let authorization = bearer(token);
    let body = json!({ "workspace": workspace }).to_string();
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let issued = http::request(broker.address(), "POST", "/api/tickets", &headers, body).await;
    assert_eq!(issued.status, 201, "{:?}", issued.body);
    issued.json()["ticket"].as_str().unwrap().to_owned()
}

/// A ticket is good once, and its explanation is not that time.
#[tokio::test]
async fn ticket_is_explained_and_stays_valid() {
    let server = RedisServer::start().await;
    let [one, other] = fleet(&server, &[&JWT[..], &[("log.level", "trace")]].concat()).await;
    let token = token("ann", &["*"], 60, &json!({ "jti": "t7" }));
    let ticket = ticket(&one, &token, "acme").await;
    // The workspace is that of the ticket.
    let explained = explain(&other, &json!({ "workspace": "", "ticket": ticket })).await;
    let found = &explained["ticket"];
    assert_eq!((&explained["workspace"], &explained["user"]), (&json!("acme"), &json!("ann")));
    assert_eq!((&found["permitted"], &found["user"]), (&json!(true), &json!("ann")), "{found}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let left = |name: &str| i128::from(found[name].as_u64().unwrap()) - i128::try_from(now).unwrap();
    assert!((20_000..=30_000).contains(&left("untilMs")), "{found}");
    assert!((45_000..=61_000).contains(&left("streamUntilMs")), "the token ends it: {found}");
    let said = verdict(&explained);
    assert!(said.starts_with("The ticket opens one stream until 20"), "{said}");
    assert!(said.contains("nothing here rejects one: its requests do not reach a node"), "{said}");

    let elsewhere = explain(&one, &json!({ "workspace": "other", "ticket": ticket })).await;
    assert_eq!(verdict(&elsewhere), "The ticket opens no stream: the ticket is for workspace acme.");
    let url = server.url();
    let settings = [&JWT[..], &[("redis.url", url.as_str())]].concat();
    let arguments = ["explain", "acme", "--ticket-file", "-"];
    let text = run_tidings_with_input(&arguments, &settings, &ticket).await.success();
    assert!(text.contains("ticket     ok    user ann of acme, until 20"), "{text}");
    for log in [&one.log(), &other.log(), &text, &explained.to_string()] {
        assert!(!log.contains(&ticket), "{log}");
    }

    let mut client = other.connect_with("acme", Connect::query(&format!("ticket={ticket}"))).await;
    client.connected().await;
    let used = explain(&one, &json!({ "workspace": "acme", "ticket": ticket })).await;
    assert_eq!(verdict(&used), "The ticket opens no stream: the ticket is unknown, used or expired.");
    let of_user = explain(&one, &json!({ "workspace": "acme", "ticket": ticket, "user": "ann" })).await;
    assert!(verdict(&of_user).contains("is served by 1 open stream"), "{of_user}");
    let unnamed = json!({ "ticket": ticket }).to_string();
    let response = ask(&one, "POST", "/api/console/explain", &unnamed).await;
    assert_eq!(response.status, 400);
    assert!(response.text().contains("name the workspace") && !response.text().contains(&ticket));
    let no_ticket = explain(&one, &json!({ "workspace": "acme", "ticket": "x" })).await;
    assert!(verdict(&no_ticket).contains("the text is no ticket"), "{no_ticket}");
}

#[tokio::test]
async fn ban_of_the_user_of_a_ticket_is_explained() {
    let server = RedisServer::start().await;
    let [one] = fleet(&server, &JWT).await;
    let ticket = ticket(&one, &token("ann", &["acme"], 60, &json!({})), "acme").await;
    server.publish("tidings:control", r#"{"disconnect":{"user":"ann","for":600}}"#).await;
    eventually("the ban is explained", DEADLINE, async || {
        let explained = explain(&one, &json!({ "workspace": "acme", "ticket": ticket })).await;
        verdict(&explained).contains("because a ban rejects it")
    })
    .await;
    let client = one.connect_with("acme", Connect::query(&format!("ticket={ticket}"))).await;
    assert_eq!(client.status(), 204, "as explained");
}

/// A ticket of the embedded bus is in its node, where the command cannot read it.
#[tokio::test]
async fn ticket_of_the_embedded_bus_is_explained_by_its_node() {
    let options = JWT.iter().fold(BrokerOptions::embedded(), |options, (key, value)| options.set(key, value));
    let broker = Broker::start_ready(options.set("admin.token", super::TOKEN)).await;
    let ticket = ticket(&broker, &token("ann", &["acme"], 60, &json!({})), "acme").await;
    let explained = explain(&broker, &json!({ "ticket": ticket })).await;
    assert!(verdict(&explained).starts_with("The ticket opens one stream until 20"), "{explained}");
    let address = broker.embedded().to_string();
    let settings = [&JWT[..], &[("embedded.listen", address.as_str())]].concat();
    let arguments = ["explain", "acme", "--ticket-file", "-"];
    let text = run_tidings_with_input(&arguments, &settings, &ticket).await.success();
    assert!(text.lines().last().unwrap().starts_with("The ticket was not checked: "), "{text}");
}

/// The app decides by headers that are not known here.
#[tokio::test]
async fn decision_of_the_app_is_named_as_unknown() {
    let server = RedisServer::start().await;
    let app = App::start().await;
    let url = app.url();
    let settings = [("auth.mode", "forward"), ("auth.forward.url", url.as_str())];
    let [one] = fleet(&server, &settings).await;
    let request = json!({ "workspace": "acme", "user": "ann" });
    let explained = explain(&one, &request).await;
    let unknown = "The app may reject it: it decides by the headers of a request";
    assert!(verdict(&explained).contains(unknown), "{explained}");
    assert!(!verdict(&explained).contains("nothing here rejects one:"), "{explained}");
    assert!(explained["note"].as_str().unwrap().contains("auth.mode forward"), "{explained}");
    let token = token("ann", &["acme"], -60, &json!({}));
    let explained = explain(&one, &json!({ "workspace": "acme", "token": token })).await;
    assert!(explained["token"].is_null() && verdict(&explained).contains(unknown), "{explained}");
    let redis = server.url();
    let both = [&settings[..], &[("redis.url", redis.as_str())]].concat();
    let text = run_tidings(&["explain", "acme", "--user", "ann"], &both).await.success();
    assert!(text.contains(unknown) && text.contains("note       The app decides"), "{text}");
}

#[tokio::test]
async fn ban_is_explained_with_its_end() {
    let server = RedisServer::start().await;
    let [one, other] = fleet(&server, &JWT).await;
    server.publish("tidings:control", r#"{"disconnect":{"user":"ann","for":600}}"#).await;
    let request = json!({ "workspace": "acme", "user": "ann" });
    eventually("both nodes have the ban", DEADLINE, async || {
        let explained = explain(&one, &request).await;
        let nodes = explained["nodes"].as_array().unwrap().clone();
        nodes.len() == 2 && nodes.iter().all(|node| node["bannedUntilMs"].as_u64().is_some())
    })
    .await;
    let explained = explain(&other, &request).await;
    assert!(verdict(&explained).contains("because a ban rejects it until 20"), "{explained}");
    let by_token = token("cat", &["acme"], 60, &json!({ "jti": "t7" }));
    server.publish("tidings:control", r#"{"disconnect":{"jti":"t7","for":600}}"#).await;
    let request = json!({ "workspace": "acme", "token": by_token });
    eventually("the ban of the token is explained", DEADLINE, async || {
        verdict(&explain(&one, &request).await).contains("because a ban rejects it")
    })
    .await;
}

/// The same decision as that of a stream, without a stream.
#[tokio::test]
async fn position_is_explained_as_a_stream_decides() {
    let server = RedisServer::start().await;
    let [one, other] = fleet(&server, &[]).await;
    let mut client = one.connect("acme").await;
    let connected = client.connected().await;
    let first = one.publish("acme", "1").await;
    let last = one.publish("acme", "2").await;
    client.wait_for(DEADLINE, |event| event.data == "2").await;
    let at = async |id: &str| {
        let explained = explain(&one, &json!({ "workspace": "acme", "lastEventId": id })).await;
        let mut found = Vec::new();
        for broker in [&one, &other] {
            let resumption = &of_node(&explained, &self::id(broker).await)["resumption"];
            found.push((
                resumption["from"].as_str().unwrap().to_owned(),
                resumption["reason"].as_str().map(str::to_owned),
            ));
        }
        (found, explained)
    };
    let reset = |reason: &str| ("reset".to_owned(), Some(reason.to_owned()));
    let (found, _) = at(&first).await;
    assert_eq!(found, [("ring".to_owned(), None), ("log".to_owned(), None)], "the other node holds no ring");
    assert_eq!(at("5-0").await.0, [reset("trimmed"), reset("trimmed")]);
    assert_eq!(at("9999999999999-0").await.0, [reset("rolled-back"), reset("rolled-back")]);
    let (found, explained) = at("a position of another broker").await;
    assert_eq!(found, [reset("unknown-position"), reset("unknown-position")]);
    assert!(verdict(&explained).contains("`tidings.reset` (unknown-position)"), "{explained}");
    assert_eq!(at(&connected.id).await.0[1].0, "log", "the place before the first event");

    // What streams really get.
    for (broker, id, resumed) in [(&other, &first[..], true), (&other, "5-0", false), (&one, &last, true)] {
        let mut client = broker.connect_with("acme", Connect::after(id)).await;
        assert_eq!(client.connected().await.json()["resumed"], resumed, "{id}");
    }
    // The log is another one now.
    server.command::<redis::Value>(&["DEL", "workspace:acme"]).await;
    other.publish("acme", "3").await;
    let (found, _) = at("0-0.abcdefghijkl").await;
    assert_eq!(found[1].0, "reset");
}

#[tokio::test]
async fn limit_and_rejected_request_are_explained() {
    let server = RedisServer::start().await;
    let [one] = fleet(&server, &[&JWT[..], &[("limits.connections_per_user", "1")]].concat()).await;
    let expired = token("ann", &["acme"], -60, &json!({}));
    let options = Connect::default().header("authorization", &bearer(&expired));
    let refused = one.connect_with("acme", options).await;
    assert_eq!(refused.status(), 401);
    let text = run(&server, &["explain", "acme", "--user", "ann"]).await.success();
    assert!(text.contains("rejected") && text.lines().last().unwrap().contains("with 401"), "{text}");

    let token = token("ann", &["acme"], 60, &json!({}));
    let options = Connect::default().header("authorization", &bearer(&token));
    let mut client = one.connect_with("other", options.clone()).await;
    assert_eq!(client.status(), 403);
    let refusals = async |workspace: &str, user: &str| {
        let explained = document(&server, &["explain", workspace, "--user", user]).await;
        let rows = explained["nodes"][0]["refusals"].as_array().unwrap().clone();
        rows.iter().filter(|row| row["status"] == 403).count()
    };
    assert_eq!(refusals("other", "ann").await, 1);
    assert_eq!(refusals("other", "ben").await, 0, "it is of another user");
    assert_eq!(refusals("acme", "ann").await, 0, "it is of another workspace");
    client = one.connect_with("acme", options).await;
    client.connected().await;
    let explained = document(&server, &["explain", "acme", "--user", "ann"]).await;
    assert_eq!(explained["nodes"][0]["limits"]["user"], 1, "{explained}");
    let explained = document(&server, &["explain", "third", "--user", "ann"]).await;
    assert!(verdict(&explained).contains("limits.connections_per_user"), "{explained}");
}

#[tokio::test]
async fn client_of_the_embedded_bus_is_explained() {
    let broker = Broker::start_ready(BrokerOptions::embedded()).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    let address = broker.embedded().to_string();
    let settings = [("embedded.listen", address.as_str())];
    let text = run_tidings(&["explain", "acme", "--last-event-id", "x"], &settings).await.success();
    assert!(text.contains("1 open stream") && text.contains("unknown-position"), "{text}");
}

#[tokio::test]
async fn malformed_request_is_rejected_without_an_echo() {
    let broker = Broker::start(BrokerOptions::embedded().set("admin.token", super::TOKEN)).await;
    for body in [
        "",
        "[]",
        r#"{"workspace":1}"#,
        r#"{"token":"eyJ-secret"}"#,
        r#"{"workspace":"a","more":"eyJ-secret"}"#,
    ] {
        let response = ask(&broker, "POST", "/api/console/explain", body).await;
        assert_eq!(response.status, 400, "{body}");
        assert!(!response.text().contains("eyJ-secret"), "{:?}", response.body);
    }
    for request in [json!({ "workspace": "a b" }), json!({ "workspace": "a", "user": "u".repeat(300) })] {
        let response = ask(&broker, "POST", "/api/console/explain", &request.to_string()).await;
        assert_eq!(response.status, 400, "{request}");
    }
}
