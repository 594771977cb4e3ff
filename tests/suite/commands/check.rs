//! `tidings check`.

use std::path::Path;

use super::settings_of;
use crate::support::app::App;
use crate::support::broker::tidings;
use crate::support::commands::{Finished, RunningCommand, run_tidings};
use crate::support::directory::{Directory, repository_file};
use crate::support::ports::Port;
use crate::support::test_cluster::on_both_buses;
use crate::support::{Bus, DEADLINE, RedisOptions, RedisServer, TestCluster, eventually, eventually_some};

on_both_buses!(health_asks_the_running_broker);

async fn check(redis: &str) -> Finished {
    run_tidings(&["check"], &[("redis.url", redis)]).await
}

/// The lines of problems, each with the line of its fix.
fn wrong(finished: &Finished) -> Vec<(String, String)> {
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let lines: Vec<_> = finished.stdout.lines().collect();
    let wrong = lines.windows(2).filter_map(|pair| {
        let found = pair[0].strip_prefix("FAIL  ")?;
        let fix = pair[1].trim_start().strip_prefix("to fix it: ").unwrap_or_else(|| panic!("{pair:?}"));
        Some((found.to_owned(), fix.to_owned()))
    });
    wrong.collect()
}

#[tokio::test]
async fn all_is_well() {
    let server = RedisServer::start_with(RedisOptions {
        password: Some("secret".to_owned()),
        ..RedisOptions::default()
    })
    .await;
    let stdout = check(&server.url()).await.success();
    assert!(stdout.lines().all(|line| line.starts_with("ok    ")), "{stdout}");
    let tried = |text: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("ok    ")?.split_once(": "));
        lines.map(|(tried, _)| tried.to_owned()).collect()
    };
    assert!(tried(&stdout).iter().any(|tried| tried == "reading the log"), "{stdout}");
    assert_eq!(tried(&repository_file("docs/cli.md")), tried(&stdout), "the sample in docs/cli.md");
    assert!(!stdout.contains("secret"), "{stdout}");

    let stdout = run_tidings(&["check"], &[]).await.success();
    assert!(stdout.contains("embedded"), "{stdout}");
}

#[tokio::test]
async fn too_little_memory_is_reported_by_check_and_start() {
    let more_than_any = ("limits.ring_bytes", "1000000000000000");
    let wrong = wrong(&run_tidings(&["check"], &[more_than_any]).await);
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    let (found, fix) = &wrong[0];
    assert!(found.starts_with("memory: ") && found.contains("together are 95367"), "{found}");
    assert!(fix.contains("limits.ring_bytes"), "{fix}");

    let cluster = TestCluster::start_with(Bus::Embedded, &[more_than_any]).await;
    let log = cluster.broker.logged("bounds on memory").await;
    assert!(log.contains("configured_mib=95367") && log.contains("WARN"), "{log}");
}

#[tokio::test]
async fn trial_leaves_no_key_behind() {
    let server = RedisServer::start().await;
    check(&server.url()).await.success();
    crate::support::eventually("nothing is left", crate::support::DEADLINE, async || {
        server.command::<u64>(&["DBSIZE"]).await == 0
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let server = RedisServer::prepare(RedisOptions::default());
    let finished = check(&server.url()).await;
    let [(found, fix)] = &wrong(&finished)[..] else { panic!("{finished:?}") };
    assert!(found.contains(&server.url()) && found.contains("Connection refused"), "{found}");
    assert!(fix.contains("start the server"), "{fix}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_waited_for() {
    let server = RedisServer::start().await;
    server.freeze();
    let settings = [("redis.url", &*server.url()), ("redis.connect_timeout_seconds", "0.3")];
    let finished = run_tidings(&["check"], &settings).await;
    assert_eq!(wrong(&finished).len(), 1, "{finished:?}");
    server.thaw();
}

#[tokio::test]
async fn a_wrong_password_is_named_and_not_shown() {
    let options = RedisOptions { password: Some("right".to_owned()), ..RedisOptions::default() };
    let server = RedisServer::start_with(options).await;
    let port = server.port();
    for (url, code, advice) in [
        (format!("redis://:hidden@127.0.0.1:{port}"), "WRONGPASS", "the user or the password is wrong"),
        (format!("redis://127.0.0.1:{port}"), "NOAUTH", "the server requires a password"),
    ] {
        let finished = check(&url).await;
        let [(found, fix)] = &wrong(&finished)[..] else { panic!("{finished:?}") };
        assert!(found.contains(code), "{found}");
        assert!(fix.contains(advice), "{fix}");
        assert!(!format!("{finished:?}").contains("hidden"), "{finished:?}");
    }
}

#[tokio::test]
async fn each_missing_right_is_named_with_its_rule() {
    for (missing, tried) in [
        ("-subscribe", "subscribing"),
        ("-publish", "publishing"),
        ("-xadd", "publishing durably"),
        ("-expire", "publishing durably"),
        ("-xrange", "reading the log"),
        ("resetchannels", "subscribing"),
        ("resetkeys", "reading the log"),
        ("resetkeys ~workspace:*", "keeping the epochs of logs"),
        ("-time", "marking live events"),
    ] {
        let users = vec![format!("broker on >secret ~* &* +@all {missing}")];
        let server = RedisServer::start_with(RedisOptions { users, ..RedisOptions::default() }).await;
        let finished = check(&server.url_as("broker", "secret")).await;
        let wrong = wrong(&finished);
        let (found, fix) = wrong.iter().find(|(found, _)| found.starts_with(tried)).unwrap_or_else(|| {
            panic!("{missing}: {finished:?}");
        });
        assert!(found.contains("NOPERM") || found.contains("The user executing the script can't"), "{found}");
        assert!(
            fix.contains("ACL SETUSER <user> resetchannels '~workspace:*' '~{workspace:*' '~tidings/workspace:*' '&workspace:*'"),
            "{fix}"
        );
    }
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_before_anything_is_tried() {
    let stderr = run_tidings(&["check"], &[("ring.events", "0")]).await.failure(2);
    assert!(stderr.contains("TIDINGS__RING__EVENTS"), "{stderr}");
}

async fn health_asks_the_running_broker(bus: Bus) {
    let mut cluster = TestCluster::start(bus).await;
    let settings = settings_of(&cluster, None);
    let settings: Vec<_> = settings.iter().map(|(key, value)| (*key, &**value)).collect();
    let healthy = run_tidings(&["check", "--health"], &settings).await;
    assert_eq!((healthy.success().as_str(), cluster.broker.log().contains("panicked")), ("", false));
    cluster.broker.kill();
    let stderr = run_tidings(&["check", "--health"], &settings).await.failure(1);
    assert!(stderr.contains(&format!("no broker at {}", cluster.broker.admin())), "{stderr}");
}

/// As in a container, where the health check knows the variables of the broker and not its flags.
#[tokio::test]
async fn health_and_serve_read_the_file_that_one_variable_names() {
    let (directory, admin) = (Directory::new(), Port::claim());
    let file = directory.write(
        "tidings.toml",
        format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"{}\"\n[embedded]\nlisten = \"\"\n",
            admin.address()
        ),
    );
    let start = |arguments: &[&str], file: &Path| {
        let mut command = tidings();
        command.args(arguments).env("TIDINGS_CONFIG", file);
        RunningCommand::start(command)
    };
    let broker = start(&["serve"], &file);
    let health = ["check", "--health"];
    eventually("the broker is alive", DEADLINE, async || {
        start(&health, &file).finished().await.code == Some(0)
    })
    .await;
    // A flag counts more than the variable.
    let flagged =
        start(&["check", "--health", "--config", file.to_str().unwrap()], Path::new("/nowhere.toml"));
    flagged.finished().await.success();
    // An empty variable names nothing.
    let shown = start(&["config"], Path::new("")).finished().await.success();
    assert!(shown.contains("listen = \"127.0.0.1:8081\""), "{shown}");
    drop(broker);
    let gone =
        async || Some(start(&health, &file).finished().await).filter(|finished| finished.code == Some(1));
    let stderr = eventually_some("the broker is gone", DEADLINE, gone).await.failure(1);
    assert!(stderr.contains(&format!("no broker at {}", admin.address())), "{stderr}");
    assert!(stderr.contains("--config") && stderr.contains("TIDINGS_CONFIG"), "{stderr}");
}

#[tokio::test]
async fn the_app_behind_the_forward_url_is_asked() {
    let app = App::start().await;
    let url = app.url();
    let check =
        async || run_tidings(&["check"], &[("auth.mode", "forward"), ("auth.forward.url", &url)]).await;
    let stdout = check().await.success();
    assert!(stdout.contains("ok    app at auth.forward.url: it returns 401"), "{stdout}");
    app.set_broken(true);
    let [(found, fix)] = &wrong(&check().await)[..] else { panic!("one thing is wrong") };
    assert!(found.starts_with("app at auth.forward.url: no valid response"), "{found}");
    assert!(fix.contains("docs/guides/cookies-of-your-app.md"), "{fix}");
}

/// The line of a check, with its mark.
fn line_of(finished: &Finished, mark: &str, check: &str) -> String {
    let start = format!("{mark}  {check}: ");
    let found = finished.stdout.lines().find_map(|line| line.strip_prefix(&start));
    found.unwrap_or_else(|| panic!("no {start:?}: {finished:?}")).to_owned()
}

#[tokio::test]
async fn address_has_to_be_free() {
    let finished = run_tidings(&["check"], &[]).await;
    assert_eq!(line_of(&finished, "ok  ", "server.listen"), "127.0.0.1:0 is free");
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    let elsewhere = "192.0.2.1:8080";
    for (key, address, reason) in [
        ("server.listen", taken.as_str(), "in use"),
        ("admin.listen", &taken, "in use"),
        ("embedded.listen", &taken, "in use"),
        ("admin.listen", elsewhere, "assign"),
        ("server.listen", "unix:/nowhere/http.sock", "No such file"),
    ] {
        let finished = run_tidings(&["check"], &[(key, address)]).await;
        let [(found, fix)] = &wrong(&finished)[..] else { panic!("{finished:?}") };
        assert!(found.starts_with(key) && found.contains(address) && found.contains(reason), "{found}");
        assert!(!fix.is_empty());
    }
}

/// A node would not start with them, although each address is free by itself.
#[tokio::test]
async fn two_listeners_cannot_have_one_address() {
    let port = Port::claim();
    let tcp = port.address().to_string();
    let [any, name] = ["0.0.0.0", "localhost"].map(|host| format!("{host}:{}", port.number()));
    for (server, other_key, other) in [(&any, "embedded.listen", &tcp), (&name, "admin.listen", &tcp)] {
        let settings = [("server.listen", server.as_str()), (other_key, other), ("auth.mode", "none")];
        let finished = run_tidings(&["check"], &settings).await;
        let [(found, fix)] = &wrong(&finished)[..] else { panic!("{finished:?}") };
        assert_eq!(*found, format!("{other_key}: {other} is the address of server.listen too"));
        assert!(fix.contains("an address of its own"), "{fix}");
    }
}

#[tokio::test]
async fn file_of_the_admin_token_is_read() {
    let directory = Directory::new();
    let file = directory.write("token", "a token for this test\n");
    let check =
        async |file: &Path| run_tidings(&["check"], &[("admin.token_file", file.to_str().unwrap())]).await;
    assert!(line_of(&check(&file).await, "ok  ", "admin.token_file").ends_with("has a token"));
    let short = directory.write("short", "secret\n");
    for (file, reason) in [
        (&short, "at least 16 characters"),
        (&directory.file("none"), "No such file"),
        (&directory.path().to_owned(), "directory"),
    ] {
        let finished = check(file).await;
        let [(found, fix)] = &wrong(&finished)[..] else { panic!("{finished:?}") };
        assert!(found.starts_with("admin.token_file: ") && found.contains(reason), "{found}");
        assert!(fix.contains("write a token") && !format!("{finished:?}").contains("secret"), "{fix}");
    }
}

/// systemd holds the address, and passes it to the broker.
#[tokio::test]
async fn address_of_a_socket_unit_has_advice() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let [(_, fix)] = &wrong(&run_tidings(&["check"], &[("server.listen", &address)]).await)[..] else {
        panic!("one thing is wrong")
    };
    assert!(fix.contains("tidings.socket of systemd listens there, start tidings.service"), "{fix}");
}

#[tokio::test]
async fn running_broker_has_its_addresses_and_file() {
    let directory = Directory::new();
    let log = directory.file("logs").display().to_string();
    let cluster = TestCluster::start_with(Bus::Embedded, &[("embedded.path", &log)]).await;
    let settings = settings_of(&cluster, None);
    let mut settings: Vec<_> = settings.iter().map(|(key, value)| (*key, &**value)).collect();
    let embedded = cluster.broker.embedded().to_string();
    settings.extend([("embedded.path", &*log), ("embedded.listen", &embedded)]);
    let finished = run_tidings(&["check"], &settings).await;
    assert_eq!(finished.code, Some(0), "{finished:?}");
    for key in ["server.listen", "admin.listen", "embedded.listen"] {
        assert!(line_of(&finished, "warn", key).contains("a broker is live at"), "{finished:?}");
    }
    assert!(line_of(&finished, "warn", "embedded.path").contains("in use"), "{finished:?}");
}

#[tokio::test]
async fn file_of_the_embedded_bus_is_tried() {
    let directory = Directory::new();
    let check =
        async |path: &Path| run_tidings(&["check"], &[("embedded.path", path.to_str().unwrap())]).await;
    let path = directory.file("logs");
    line_of(&check(&path).await, "ok  ", "embedded.path");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left");
    let text = directory.write("text", "no log");
    for bad in [directory.file("missing/logs"), text] {
        let finished = check(&bad).await;
        let [(found, fix)] = &wrong(&finished)[..] else { panic!("{finished:?}") };
        assert!(found.starts_with("embedded.path: ") && found.contains(bad.to_str().unwrap()), "{found}");
        assert!(fix.contains("directory"), "{fix}");
    }
    // A file of a bus that has ended.
    let settings = [("embedded.path", path.to_str().unwrap())];
    let mut cluster = TestCluster::start_with(Bus::Embedded, &settings).await;
    cluster.broker.publish("acme", "1").await;
    cluster.broker.terminate(DEADLINE).await;
    line_of(&check(&path).await, "ok  ", "embedded.path");
}
