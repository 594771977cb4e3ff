//! Users of a cluster with few rights.

use redis::Value;

use super::{WORKSPACES, client, receives};
use crate::support::commands::run_tidings;
use crate::support::{Broker, BrokerOptions, RedisCluster};

/// A node with the documented rights and no others, and a backend that may not ask for `INFO`.
const USERS: [&str; 2] = [
    "node on >secret ~workspace:* ~{workspace:* ~tidings/workspace:* &workspace:* &tidings:control -@all +ssubscribe +sunsubscribe +subscribe +unsubscribe \
     +publish +spublish +eval +evalsha +xadd +xtrim +xlen +xrange +xrevrange +xinfo|stream +expire +get +set +time +del +zadd +zrevrange \
     +zrangebyscore +zremrangebyrank +zremrangebyscore +pexpireat +ping +hello +cluster|nodes",
    "backend on >secret ~workspace:* ~{workspace:* &workspace:* -@all +spublish +eval +evalsha +fcall +xadd +xtrim +xlen +xrange \
     +xrevrange +expire +get +set",
];

#[tokio::test]
async fn documented_rights_are_enough() {
    let cluster = RedisCluster::start_for(&[], &USERS).await;
    let nodes: Vec<_> = cluster.servers[..2].iter().map(|server| server.url_as("node", "secret")).collect();
    let nodes = nodes.join(",");
    let check = run_tidings(&["check"], &[("redis.cluster.nodes", &nodes)]).await;
    check.success();
    let broker = Broker::start_ready(BrokerOptions::embedded().set("redis.cluster.nodes", &nodes)).await;
    let script = include_str!("../../scripts/publish.lua");
    for (server, workspace) in cluster.servers.iter().zip(WORKSPACES) {
        let mut client = client(&broker, workspace).await;
        broker.publish(workspace, "by the node").await;
        receives(&mut client, "by the node").await;
        let url = server.url_as("backend", "secret");
        let backend = redis::Client::open(url).unwrap();
        let mut backend = crate::support::redis_server::connect(&backend).await.unwrap();
        let channel = format!("workspace:{workspace}");
        let mut publish = redis::cmd("EVAL");
        publish.arg(script).arg(1).arg(&channel).arg("by the backend");
        let _: Value = publish.query_async(&mut backend).await.unwrap();
        receives(&mut client, "by the backend").await;
    }
}

#[tokio::test]
async fn right_to_the_topology_is_named() {
    let users = [USERS[0].replace(" +cluster|nodes", "")];
    let cluster = RedisCluster::start_for(&[], &[&users[0]]).await;
    let nodes = cluster.servers[0].url_as("node", "secret");
    let check = run_tidings(&["check"], &[("redis.cluster.nodes", &nodes)]).await;
    assert_eq!(check.code, Some(1), "{}", check.stdout);
    assert!(check.stdout.contains("+cluster|nodes"), "{}", check.stdout);
}
