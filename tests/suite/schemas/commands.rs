//! `tidings publish`, `tidings check`, `tidings schema check` and the start, with schemas.

use super::{GOOD, RENAMED, UNKNOWN, events, settings, vectors};
use crate::support::Bus;
use crate::support::commands::run_tidings;
use crate::support::directory::Directory;
use crate::support::test_cluster::on_both_buses;
use crate::support::{Broker, BrokerOptions, RedisServer, TestCluster};

on_both_buses!(publish_refuses_by_a_flag_and_by_the_broker);

async fn publish_refuses_by_a_flag_and_by_the_broker(bus: Bus) {
    let directory = events();
    let path = directory.path().to_str().unwrap();
    let (plain, enforcing) =
        (TestCluster::start(bus).await, TestCluster::start_with(bus, &settings(path, "enforce")).await);
    let url = |cluster: &TestCluster| format!("http://{}/api", cluster.broker.address());
    let (plain, enforcing) = (url(&plain), url(&enforcing));
    let with_flag = ["publish", "acme", "--url", &plain, "--schemas", path];
    let by_broker = ["publish", "acme", "--url", &enforcing];
    for arguments in [&with_flag[..], &by_broker] {
        run_tidings(&[arguments, &[GOOD]].concat(), &[]).await.success();
        let stderr = run_tidings(&[arguments, &[RENAMED]].concat(), &[]).await.failure(1);
        assert!(stderr.contains("at the root, `required` has \"name\", which is missing"), "{stderr}");
        assert!(!stderr.contains("s3cr3t"), "{stderr}");
        let stderr = run_tidings(&[arguments, &[UNKNOWN]].concat(), &[]).await.failure(1);
        assert!(stderr.contains("did you mean \"CHANNEL_UPDATED\"?"), "{stderr}");
    }
}

#[tokio::test]
async fn publish_to_redis_uses_the_configured_schemas() {
    let (server, directory) = (RedisServer::start().await, events());
    let (url, path) = (server.url(), directory.path().to_str().unwrap());
    let publish = async |mode: &str, payload: &str| {
        let settings = [("redis.url", &*url), ("schemas.path", path), ("schemas.mode", mode)];
        run_tidings(&["publish", "acme", payload], &settings).await
    };
    let published = async || server.command::<u64>(&["XLEN", "workspace:acme"]).await;
    publish("enforce", GOOD).await.success();
    let stderr = publish("enforce", RENAMED).await.failure(1);
    assert!(stderr.starts_with("tidings: nothing was published"), "{stderr}");
    assert_eq!(published().await, 1);
    let reported = publish("report", RENAMED).await;
    assert!(reported.stderr.contains("which is missing"), "{reported:?}");
    reported.success();
    assert_eq!(publish("off", RENAMED).await.stderr, "");
    assert_eq!(published().await, 3);
    directory.write("B.json", "{}");
    let stderr = publish("enforce", GOOD).await.failure(2);
    assert!(stderr.contains("B.json at /properties/type/const"), "{stderr}");
}

#[tokio::test]
async fn faulty_file_is_reported_by_check_and_stops_the_start() {
    let directory = events();
    let path = directory.path().to_str().unwrap();
    let stdout = run_tidings(&["check"], &settings(path, "enforce")).await.success();
    assert!(stdout.contains("ok    schemas: 1 event types, version "), "{stdout}");

    directory.write(
        "B.json",
        r#"{"properties":{"type":{"const":"B"},"c":{"$ref":"https://example.com/c.json"}}}"#,
    );
    directory.write("C.json", "{\n");
    let place = format!(
        "{path}/B.json at /properties/c/$ref: \"https://example.com/c.json\" is outside of this file"
    );
    let syntax = format!("{path}/C.json:2:0: not JSON");
    let check = run_tidings(&["check"], &settings(path, "report")).await;
    assert_eq!(check.code, Some(1), "{check:?}");
    assert!(check.stdout.contains(&format!("FAIL  schemas: {syntax}")), "{check:?}");
    directory.write("C.json", r#"{"properties":{"type":{"const":"C"}}}"#);
    let check = run_tidings(&["check"], &settings(path, "report")).await;
    assert!(check.stdout.contains(&format!("FAIL  schemas: {place}")), "{check:?}");
    assert!(check.stdout.contains("to fix it: "), "{check:?}");
    for mode in ["report", "enforce", "off"] {
        let stderr = run_tidings(&["serve"], &settings(path, mode)).await.failure(1);
        assert!(stderr.contains(&place) && stderr.contains("(schemas.path)"), "{stderr}");
    }
    let stderr = run_tidings(&["serve"], &settings("/nowhere/events", "report")).await.failure(1);
    assert!(stderr.contains("/nowhere/events: cannot be read"), "{stderr}");
    let stderr = run_tidings(&["serve"], &[("schemas.mode", "enforce")]).await.failure(2);
    assert!(stderr.contains("schemas.path") && stderr.contains("every event would be refused"), "{stderr}");
    let stderr = run_tidings(&["schema", "check", path], &[]).await.failure(1);
    assert!(stderr.contains(&place), "{stderr}");
}

#[tokio::test]
async fn schema_check_prints_the_version_and_the_types() {
    let (directory, version) = vectors();
    let stdout = run_tidings(&["schema", "check", &directory], &[]).await.success();
    assert_eq!(stdout, format!("version {version}\nchannel\nchannel-deleted\nchannel@2\n"));
    let empty = Directory::new();
    let stderr = run_tidings(&["schema", "check", empty.path().to_str().unwrap()], &[]).await.failure(1);
    assert!(stderr.contains("no file ends in .json"), "{stderr}");
    let broker = Broker::start_ready(BrokerOptions::embedded().set("schemas.path", &directory)).await;
    broker.logged(&version).await;
}
