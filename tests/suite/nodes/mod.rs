//! Nodes that know of each other: the list, the trace of an event, the explanation of a client.

mod explaining;
mod hostile;
mod listing;
mod replies;
mod sentinels;
mod tracing;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::commands::{Finished, run_tidings};
use crate::support::http::{self, Response};
use crate::support::{Broker, BrokerOptions, DEADLINE, RedisServer, eventually};

/// The admin token of the brokers of these tests.
const TOKEN: &str = "a token for the tests of the console";

/// A broker on a Redis, with an admin token.
fn options(server: &RedisServer) -> BrokerOptions {
    BrokerOptions::redis(server).set("admin.token", TOKEN)
}

/// Brokers on one Redis that are ready and listed.
async fn fleet<const N: usize>(server: &RedisServer, settings: &[(&str, &str)]) -> [Broker; N] {
    let mut brokers = Vec::new();
    for _ in 0..N {
        let options = settings.iter().fold(options(server), |options, (key, value)| options.set(key, value));
        brokers.push(Broker::start_ready(options).await);
    }
    eventually("all nodes are listed", DEADLINE, async || {
        run(server, &["nodes", "--json"]).await.stdout.matches("startedMs").count() == N
    })
    .await;
    brokers.try_into().unwrap()
}

/// Runs a command that asks the nodes of a Redis.
async fn run(server: &RedisServer, arguments: &[&str]) -> Finished {
    run_tidings(arguments, &[("redis.url", &server.url())]).await
}

/// The document that a command prints.
async fn document(server: &RedisServer, arguments: &[&str]) -> Value {
    let finished = run(server, &[arguments, &["--json"]].concat()).await;
    serde_json::from_str(&finished.stdout).unwrap_or_else(|_| panic!("{finished:?}"))
}

/// A request to the console of a broker.
async fn ask(broker: &Broker, method: &str, path: &str, body: &str) -> Response {
    let authorization = format!("Bearer {TOKEN}");
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    http::request(broker.admin(), method, path, &headers, body.to_owned()).await
}

/// Stops a node, and waits until all of its threads have stopped.
async fn freeze(broker: &Broker) {
    broker.signal(Signal::SIGSTOP);
    eventually("all threads have stopped", DEADLINE, async || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", broker.pid())).unwrap();
        tasks.flatten().all(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|state| state.starts_with('T'))
        })
    })
    .await;
}

/// The id of a node.
async fn id(broker: &Broker) -> String {
    broker.status().await["node"].as_str().unwrap().to_owned()
}

/// The part of a document about one node.
fn of_node<'a>(document: &'a Value, id: &str) -> &'a Value {
    let nodes = document["nodes"].as_array().unwrap();
    nodes.iter().find(|node| node["node"] == id).unwrap_or_else(|| panic!("{id} in {document}"))
}
