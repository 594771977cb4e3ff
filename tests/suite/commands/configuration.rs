//! `tidings config`, and configurations that are refused.

use serde_json::Value;

use crate::support::DEADLINE;
use crate::support::broker::tidings;
use crate::support::commands::{Finished, run_tidings};
use crate::support::directory::Directory;

/// Runs `tidings config` with a file of this text.
async fn with_file(text: &str, arguments: &[&str]) -> (Finished, String) {
    let directory = Directory::new();
    let path = directory.write("tidings.toml", text).display().to_string();
    let finished = run_tidings(&[&["config", "--config", &path], arguments].concat(), &[]).await;
    (finished, path)
}

#[tokio::test]
async fn every_value_is_shown_with_its_source() {
    let directory = Directory::new();
    let path =
        directory.write("tidings.toml", "[ring]\nevents = 7\nbytes = 2000000\n[sse]\nretry_ms = 3000\n");
    let path = path.display().to_string();
    let arguments = ["config", "--config", &path, "--listen", "127.0.0.1:9999"];
    let settings = [("ring.events", "8"), ("server.listen", "127.0.0.1:1")];
    let table = run_tidings(&arguments, &settings).await.success();
    let line = |key: &str| {
        let line = table.lines().find(|line| line.split(" = ").next() == Some(key)).unwrap();
        let (value, source) = line.split_once('#').unwrap();
        (value.trim().to_owned(), source.trim().to_owned())
    };
    assert_eq!(line("events"), ("events = 8".to_owned(), "TIDINGS__RING__EVENTS".to_owned()));
    assert_eq!(line("retry_ms"), ("retry_ms = 3000".to_owned(), path.clone()));
    assert_eq!(line("heartbeat_seconds"), ("heartbeat_seconds = 15".to_owned(), "default".to_owned()));
    assert!(table.contains("listen = \"127.0.0.1:9999\"") && table.contains("# --listen"), "{table}");

    let json = run_tidings(&[&arguments[..], &["--json"]].concat(), &settings).await.success();
    let json: Value = serde_json::from_str(&json).unwrap();
    let shown = |section: &str, key: &str| {
        let shown = &json[section][key];
        (shown["value"].clone(), shown["source"].as_str().unwrap().to_owned())
    };
    assert_eq!(shown("ring", "events"), (8.into(), "TIDINGS__RING__EVENTS".to_owned()));
    assert_eq!(shown("ring", "bytes"), (2_000_000.into(), path));
    assert_eq!(shown("server", "listen"), ("127.0.0.1:9999".into(), "--listen".to_owned()));
    assert_eq!(shown("redis", "url"), ("".into(), "default".to_owned()));
}

#[tokio::test]
async fn init_writes_a_file_with_the_defaults() {
    let directory = Directory::new();
    let path = directory.path().join("new.toml");
    let path = path.display().to_string();
    run_tidings(&["config", "init", &path], &[]).await.success();
    let with_file = run_tidings(&["config", "--config", &path], &[]).await.success();
    assert_eq!(with_file, run_tidings(&["config"], &[]).await.success(), "no key is set");

    // One key, with the # in front of it removed.
    let text = std::fs::read_to_string(&path).unwrap();
    let edited = text.replace("#retry_ms = 2000", "retry_ms = 2000");
    assert_ne!(edited, text);
    std::fs::write(&path, &edited).unwrap();
    let shown = run_tidings(&["config", "--config", &path], &[]).await.success();
    assert!(shown.lines().any(|line| line.starts_with("retry_ms = 2000 ") && line.ends_with(&path)));

    let stderr = run_tidings(&["config", "init", &path], &[]).await.failure(1);
    assert!(stderr.contains(&format!("{path} exists, and is unchanged")), "{stderr}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), edited);
    assert_eq!(run_tidings(&["config", "init", "-"], &[]).await.success(), text);
    let stderr = run_tidings(&["config", "init", "/nowhere/new.toml"], &[]).await.failure(1);
    assert!(stderr.contains("cannot write /nowhere/new.toml"), "{stderr}");
}

#[tokio::test]
async fn passwords_are_masked() {
    let url = "redis://someone:hidden@127.0.0.1:6379";
    for arguments in [&["config"][..], &["config", "--json"]] {
        let shown = run_tidings(arguments, &[("redis.url", url)]).await.success();
        assert!(shown.contains("redis://someone:***@127.0.0.1:6379"), "{shown}");
        let by_flag = run_tidings(&[arguments, &["--redis", url]].concat(), &[]).await.success();
        assert!(by_flag.contains("--redis"), "{by_flag}");
        assert!(!shown.contains("hidden") && !by_flag.contains("hidden"));
    }
    // Also where the address is wrong, and where it is in the way of reading it.
    for wrong in ["redis://:hidden@", "rediss//:hidden@host", "hidden", "redis://:hid/hidden@127.0.0.1:1"] {
        let finished = run_tidings(&["config"], &[("redis.url", wrong)]).await;
        assert!(!format!("{finished:?}").contains("hidden"), "{finished:?}");
    }
    let (finished, _) = with_file("[redis]\nurl = [\"redis://:hidden@h\"]\n", &[]).await;
    assert!(!finished.failure(2).contains("hidden"));
}

#[tokio::test]
async fn unknown_key_is_named_with_place_and_nearest_key() {
    let (finished, path) = with_file("[server]\nlisen = \"127.0.0.1:1\"\n", &[]).await;
    let stderr = finished.failure(2);
    for word in [&*path, "`server.lisen`", "did you mean `server.listen`?"] {
        assert!(stderr.contains(word), "{word} in {stderr}");
    }
    let stderr = run_tidings(&["serve"], &[("server.listn", "x")]).await.failure(2);
    assert!(stderr.contains("TIDINGS__SERVER__LISTN"), "{stderr}");
    assert!(stderr.contains("TIDINGS__SERVER__LISTEN"), "{stderr}");
    let (finished, _) = with_file("[sever]\nlisten = \"127.0.0.1:1\"\n", &[]).await;
    assert!(finished.failure(2).contains("`sever"));
}

#[tokio::test]
async fn bad_value_is_named_with_the_expected_one() {
    let (finished, path) = with_file("[ring]\nevents = \"many\"\n[sse]\nheartbeat_seconds = 0\n", &[]).await;
    let stderr = finished.failure(2);
    assert!(
        stderr.contains(&format!("{path}: ring.events is \"many\": expected a whole number")),
        "{stderr}"
    );
    for (key, value, word) in [
        ("server.listen", "here", "server.listen is \"here\""),
        ("server.base_path", "api", "begin with a slash"),
        ("sse.heartbeat_seconds", "0", "more than 0 seconds"),
        ("cors.origins", "https://app.example/", "no slash at the end"),
        ("log.level", "loud", "error, warn, info"),
        ("log.format", "xml", "log.format is \"xml\""),
        ("redis.url", "http://127.0.0.1", "redis.url is"),
        ("embedded.listen", "0.0.0.0:6380", "set embedded.password"),
        ("ring.bytes", "1000", "limits.event_bytes + 1024"),
    ] {
        for command in ["serve", "config", "check"] {
            let stderr = run_tidings(&[command], &[(key, value)]).await.failure(2);
            let variable = crate::support::broker::variable(key);
            assert!(stderr.contains(word) && stderr.contains(&variable), "{command} {key}: {stderr}");
        }
    }
    for command in ["serve", "config", "check"] {
        let settings = [("server.listen", "127.0.0.1:8080"), ("admin.listen", "127.0.0.1:8080")];
        let stderr = run_tidings(&[command], &settings).await.failure(2);
        assert!(stderr.contains("cannot share an address"), "{command}: {stderr}");
    }
}

#[tokio::test]
async fn a_file_that_is_none_is_named() {
    let missing = run_tidings(&["serve", "--config", "/nowhere/tidings.toml"], &[]).await.failure(2);
    assert!(missing.contains("/nowhere/tidings.toml"), "{missing}");
    let (finished, path) = with_file("[server\nlisten = 1", &[]).await;
    let stderr = finished.failure(2);
    assert!(stderr.contains(&format!("{path}:1")), "{stderr}");
}

#[tokio::test]
async fn remote_client_needs_an_explicit_auth_mode() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8080"] {
        for arguments in [&["serve", "--listen", address][..], &["--listen", address]] {
            let stderr = run_tidings(arguments, &[]).await.failure(2);
            assert!(
                stderr.contains("auth.mode") && stderr.contains("which other machines can reach"),
                "{stderr}"
            );
        }
    }
    run_tidings(&["config", "--listen", "0.0.0.0:8080"], &[("auth.mode", "none")]).await.success();
}

#[tokio::test]
async fn a_variable_with_single_underscores_is_warned_of() {
    let mut command = tidings();
    command.arg("config").env("TIDINGS_SERVER_LISTEN", "127.0.0.1:1").env("TIDINGS_LIMITS__CONNECTIONS", "1");
    // Kubernetes sets such as this for a service called tidings.
    command.env("TIDINGS_SERVICE_HOST", "10.0.0.1");
    let output = tokio::process::Command::from(command).kill_on_drop(true).output();
    let output = tokio::time::timeout(DEADLINE, output).await.unwrap().unwrap();
    let mut told: Vec<_> = std::str::from_utf8(&output.stderr).unwrap().lines().collect();
    told.sort_unstable();
    let warning = |name: &str, meant: &str| {
        format!("tidings: {name} is not read: did you mean {meant}, with two underscores?")
    };
    let expected = [
        warning("TIDINGS_LIMITS__CONNECTIONS", "TIDINGS__LIMITS__CONNECTIONS"),
        warning("TIDINGS_SERVER_LISTEN", "TIDINGS__SERVER__LISTEN"),
    ];
    assert_eq!(told, expected);
}
