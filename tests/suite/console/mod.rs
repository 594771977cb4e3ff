//! The console of the admin listener: its API with plain requests, its page in a browser.

mod access;
mod bans;
mod figures;
mod first_run;
mod nodes;
mod page;
mod trial;
mod workspaces;

use serde_json::Value;

use crate::support::http::{self, Response};
use crate::support::{Broker, BrokerOptions};

/// The admin token of the brokers of these tests.
const TOKEN: &str = "a token for the tests of the console";

/// All paths of the API, each with a method that it takes.
const API: [(&str, &str); 11] = [
    ("GET", "/api/console/node"),
    ("GET", "/api/console/stream"),
    ("GET", "/api/console/workspaces"),
    ("GET", "/api/console/workspaces/demo"),
    ("GET", "/api/console/workspaces/demo/events"),
    ("GET", "/api/console/bans"),
    ("GET", "/api/console/nodes"),
    ("GET", "/api/console/trace"),
    ("POST", "/api/console/explain"),
    ("POST", "/api/console/publish"),
    ("POST", "/api/console/disconnect"),
];

const JSON: (&str, &str) = ("content-type", "application/json");

/// A broker on the embedded bus with an admin token.
fn options() -> BrokerOptions {
    BrokerOptions::embedded().set("admin.token", TOKEN)
}

/// A request to the admin listener with the admin token.
async fn ask(broker: &Broker, method: &str, path: &str, body: &str) -> Response {
    let authorization = format!("Bearer {TOKEN}");
    let headers = [("authorization", authorization.as_str()), JSON];
    http::request(broker.admin(), method, path, &headers, body.to_owned()).await
}

/// The document at a path of the API.
async fn read(broker: &Broker, path: &str) -> Value {
    let response = ask(broker, "GET", path, "").await;
    assert_eq!(response.status, 200, "{path}: {:?}", response.body);
    response.json()
}

/// Begins a session with the admin token; returns its cookie.
async fn sign_in(broker: &Broker) -> String {
    let body = serde_json::json!({ "token": TOKEN }).to_string();
    let response = http::request(broker.admin(), "POST", "/session", &[JSON], body).await;
    assert_eq!(response.status, 204, "{:?}", response.body);
    cookie(&response)
}

/// The cookie that a response sets, as a browser sends it back.
fn cookie(response: &Response) -> String {
    response.header("set-cookie").split(';').next().unwrap().to_owned()
}
