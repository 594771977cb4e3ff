//! Loading as a whole: layers, every class of error with its exact message, and that no secret is
//! ever shown.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;

use tempfile::NamedTempFile;

use tidings_embedded::settings::LogSync;

use super::reference::{DEFAULT_TOML, REFERENCE};
use super::*;

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn variables(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Loads a file with this text. In the result `FILE` replaces its path.
fn load_file(text: &str) -> Result<Loaded, String> {
    let file = file(text);
    let sources = Sources { file: Some(file.path().to_owned()), ..Sources::default() };
    sources.load().map_err(|error| error.to_string().replace(file.path().to_str().unwrap(), "FILE"))
}

fn load_environment(environment: &[(&str, &str)]) -> Result<Loaded, String> {
    let sources = Sources { environment: variables(environment), ..Sources::default() };
    sources.load().map_err(|error| error.to_string())
}

fn source<'a>(loaded: &'a Loaded, key: &str) -> &'a Source {
    &loaded.values().iter().find(|value| value.key == key).unwrap().source
}

#[test]
fn the_defaults_load_and_hold_to_their_own_rules() {
    let loaded = Sources::default().load().unwrap();
    assert!(loaded.values().iter().all(|value| value.source == Source::Default));
    let config = Config::defaults();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.server.base_path, "/api");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:8081");
    assert!(config.redis.url.is_empty());
    assert_eq!(config.redis.channel_prefix, "workspace:");
    assert_eq!(config.embedded.listen.unwrap().to_string(), "127.0.0.1:6380");
    assert_eq!((config.embedded.path, config.embedded.sync), (None, LogSync::Always));
    assert_eq!(config.sse.heartbeat_seconds.duration().as_secs(), 15);
    assert_eq!(config.sse.retry_ms, 2000);
    assert_eq!(config.auth.mode, AuthMode::Unset);
    assert!(config.cors.origins.is_empty());
    assert_eq!(config.log.format, LogFormat::Text);
}

/// Fields that are missing in the file fail the load of the defaults; this is the other direction.
#[test]
fn every_default_is_read_by_a_field() {
    let parsed = ::config::Config::builder()
        .add_source(::config::File::from_str(DEFAULT_TOML, ::config::FileFormat::Toml))
        .build()
        .unwrap();
    let mut ignored = Vec::new();
    let _: Config =
        serde_ignored::deserialize(parsed.clone(), |path| ignored.push(path.to_string())).unwrap();
    assert_eq!(ignored, Vec::<String>::new());

    // And the reference, which reads the file line by line, sees the keys that TOML sees.
    let mut in_toml = BTreeSet::new();
    let mut tables = vec![(String::new(), parsed.cache)];
    while let Some((prefix, table)) = tables.pop() {
        for (name, value) in table.into_table().unwrap() {
            let key = format!("{prefix}{name}");
            if value.clone().into_table().is_ok() {
                tables.push((format!("{key}."), value));
            } else {
                in_toml.insert(key);
            }
        }
    }
    assert_eq!(REFERENCE.keys().map(str::to_owned).collect::<BTreeSet<_>>(), in_toml);
}

#[test]
fn later_layers_win() {
    let file = file(
        "[server]\nlisten = \"127.0.0.1:1\"\nbase_path = \"/file\"\n[ring]\nevents = 7\n[log]\nlevel = \"warn\"",
    );
    let path = file.path().to_owned();
    let sources = Sources {
        file: Some(path.clone()),
        environment: variables(&[
            ("TIDINGS__SERVER__LISTEN", "127.0.0.1:2"),
            ("TIDINGS__SERVER__BASE_PATH", "/environment"),
            ("TIDINGS_SERVER__LISTEN", "not ours"),
            ("PATH", "/usr/bin"),
        ]),
        flags: vec![("server.listen", "127.0.0.1:3".to_owned(), "--listen")],
    };
    let loaded = sources.load().unwrap();
    assert_eq!(loaded.config.server.listen.to_string(), "127.0.0.1:3");
    assert_eq!(loaded.config.server.base_path, "/environment");
    assert_eq!(loaded.config.ring.events, 7);
    assert_eq!(loaded.config.log.level, "warn");
    assert_eq!(source(&loaded, "server.listen"), &Source::Flag("--listen"));
    assert_eq!(
        source(&loaded, "server.base_path"),
        &Source::Environment("TIDINGS__SERVER__BASE_PATH".to_owned())
    );
    assert_eq!(source(&loaded, "ring.events"), &Source::File(path));
    assert_eq!(source(&loaded, "ring.bytes"), &Source::Default);
}

#[test]
fn variables_are_read_as_the_type_of_the_default() {
    let loaded = load_environment(&[
        ("TIDINGS__REDIS__CHANNEL_PREFIX", "123"),
        ("TIDINGS__SERVER__HEADER_BYTES", "2048"),
        ("TIDINGS__SSE__HEARTBEAT_SECONDS", "0.5"),
        ("TIDINGS__SSE__NAMED", "true"),
        ("TIDINGS__CORS__ORIGINS", "https://a.example, https://b.example"),
        ("TIDINGS__EMBEDDED__LISTEN", ""),
        ("TIDINGS__AUTH__MODE", "none"),
    ])
    .unwrap();
    assert_eq!(loaded.config.redis.channel_prefix, "123");
    assert_eq!(loaded.config.server.header_bytes, 2048);
    assert_eq!(loaded.config.sse.heartbeat_seconds.duration().as_millis(), 500);
    assert!(loaded.config.sse.named);
    assert_eq!(loaded.config.cors.origins, ["https://a.example", "https://b.example"]);
    assert_eq!(loaded.config.embedded.listen, None);
    assert_eq!(loaded.config.auth.mode, AuthMode::None);
}

#[test]
fn unknown_keys_are_named_all_at_once() {
    for (text, expected) in [
        ("[server]\nlisen = 1", "FILE: unknown key `server.lisen`, did you mean `server.listen`?"),
        ("[sever]\nlisten = \"x\"", "FILE: unknown key `sever.listen`, did you mean `server.listen`?"),
        ("listen = \"x\"", "FILE: unknown key `listen`, did you mean `server.listen`?"),
        ("colour = 1", "FILE: unknown key `colour`"),
        ("[colour]", "FILE: unknown key `colour`"),
        (
            "[server.listen]\nport = 1",
            "FILE: unknown key `server.listen.port`, did you mean `server.listen`?",
        ),
        (
            "\"server.listen\" = \"127.0.0.1:1\"",
            "FILE: unknown key `\"server.listen\"`, did you mean `server.listen`?",
        ),
        ("redis = \"redis://:s3cret@h\"", "FILE: `redis` is a section: write its keys below a line [redis]"),
        (
            "[ring]\nevnts = 1\n[redis]\nulr = \"redis://:s3cret@host\"",
            "FILE: unknown key `redis.ulr`, did you mean `redis.url`?\n\
             FILE: unknown key `ring.evnts`, did you mean `ring.events`?",
        ),
    ] {
        assert_eq!(load_file(text).unwrap_err(), expected, "{text}");
    }
    for (name, expected) in [
        (
            "TIDINGS__SERVER__LISEN",
            "TIDINGS__SERVER__LISEN: unknown key `server.lisen`, did you mean `server.listen` (TIDINGS__SERVER__LISTEN)?",
        ),
        (
            "TIDINGS__SERVER_LISTEN",
            "TIDINGS__SERVER_LISTEN: unknown key `server_listen`, did you mean `server.listen` (TIDINGS__SERVER__LISTEN)?",
        ),
        (
            "TIDINGS__server__listen",
            "TIDINGS__server__listen: unknown key `server.listen`, did you mean `server.listen` (TIDINGS__SERVER__LISTEN)?",
        ),
        ("TIDINGS__SERVER", "TIDINGS__SERVER: unknown key `server`"),
        ("TIDINGS__", "TIDINGS__: unknown key ``"),
    ] {
        assert_eq!(load_environment(&[(name, "x")]).unwrap_err(), expected);
    }
}

#[test]
fn wrong_type_names_key_source_and_expected_type() {
    const ADDRESS: &str = "expected an address and a port such as 127.0.0.1:8080";
    const LISTEN: &str = "expected an address or a name and a port such as 127.0.0.1:8080 or localhost:8080, \
         or unix: and an absolute path of at most 107 bytes";
    for (text, expected) in [
        ("[server]\nlisten = \"localhost\"", format!("server.listen is \"localhost\": {LISTEN}")),
        ("[server]\nlisten = 8080", format!("server.listen is 8080: {LISTEN}")),
        ("[admin]\nlisten = \"\"", format!("admin.listen is \"\": {LISTEN}")),
        ("[embedded]\nlisten = \"6380\"", format!("embedded.listen is \"6380\": {ADDRESS}")),
        (
            "[embedded]\nsync = \"sometimes\"",
            "embedded.sync is \"sometimes\": expected one of \"always\", \"everysec\", \"no\"".to_owned(),
        ),
        ("[embedded]\npath = 7", "embedded.path is 7: expected text in quotes".to_owned()),
        (
            "[ring]\nevents = 1.5",
            "ring.events is 1.5: expected a whole number that is not negative".to_owned(),
        ),
        ("[ring]\nevents = -1", "ring.events is -1: expected a whole number that is not negative".to_owned()),
        (
            "[ring]\nevents = \"9\"",
            "ring.events is \"9\": expected a whole number that is not negative".to_owned(),
        ),
        (
            "[sse]\nheartbeat_seconds = -1",
            "sse.heartbeat_seconds is -1: expected seconds from 0 to 86400".to_owned(),
        ),
        (
            "[sse]\nheartbeat_seconds = inf",
            "sse.heartbeat_seconds is \"inf\": expected seconds from 0 to 86400".to_owned(),
        ),
        ("[sse]\nnamed = \"yes\"", "sse.named is \"yes\": expected true or false".to_owned()),
        ("[sse]\nnamed = 1", "sse.named is 1: expected true or false".to_owned()),
        ("[redis]\nchannel_prefix = 1", "redis.channel_prefix is 1: expected text in quotes".to_owned()),
        ("[redis]\nurl = 12345", "redis.url is \"***\": expected text in quotes".to_owned()),
        (
            "[auth]\nmode = \"nobody\"",
            "auth.mode is \"nobody\": expected \"none\", \"jwt\", \"forward\", or several such as \"jwt,forward\", each once"
                .to_owned(),
        ),
        ("[log]\nformat = \"xml\"", "log.format is \"xml\": expected \"text\" or \"json\"".to_owned()),
        ("[log]\nformat = 1", "log.format is 1: expected text in quotes".to_owned()),
        (
            "[cors]\norigins = \"*\"",
            "cors.origins is \"*\": expected a list such as [\"a\", \"b\"]".to_owned(),
        ),
        ("[cors]\norigins = [\"*\", 1]", "cors.origins is [\"*\",1]: expected text in quotes".to_owned()),
    ] {
        assert_eq!(load_file(text).unwrap_err(), format!("FILE: {expected}"), "{text}");
    }
    let sources = Sources {
        environment: variables(&[("TIDINGS__SSE__RETRY_MS", "soon")]),
        flags: vec![("server.listen", "here".to_owned(), "--listen")],
        ..Sources::default()
    };
    assert_eq!(
        sources.load().unwrap_err().to_string(),
        format!(
            "--listen: server.listen is \"here\": {LISTEN}\n\
             TIDINGS__SSE__RETRY_MS: sse.retry_ms is \"soon\": expected a whole number that is not negative"
        )
    );
}

#[test]
fn values_out_of_bounds_name_key_source_and_rule() {
    let event_fits =
        |key| format!("{key} must be at least limits.event_bytes + 1024, so that the largest event fits");
    const REACHABLE: &str = "others can reach this address: set embedded.password, to at least 16 characters, \
         or listen on a loopback address, such as 127.0.0.1:6380";
    for (text, expected) in [
        (
            "[server]\nheader_bytes = 1023",
            "server.header_bytes is 1023: expected 1024 to 60000 bytes".to_owned(),
        ),
        (
            "[server]\nheader_bytes = 60001",
            "server.header_bytes is 60001: expected 1024 to 60000 bytes".to_owned(),
        ),
        (
            "[server]\nkeepalive_seconds = 2.9",
            "server.keepalive_seconds is 2.9: expected seconds from 3 to 32767".to_owned(),
        ),
        (
            "[server]\nsend_buffer_bytes = 1",
            "server.send_buffer_bytes is 1: expected 1024 to 67108864 bytes".to_owned(),
        ),
        ("[sse]\nretry_ms = 99", "sse.retry_ms is 99: expected 100 to 600000 milliseconds".to_owned()),
        (
            "[sse]\nretry_ms = 600001",
            "sse.retry_ms is 600001: expected 100 to 600000 milliseconds".to_owned(),
        ),
        ("[ring]\nevents = 0", "ring.events is 0: expected 1 to 10000000 events".to_owned()),
        ("[limits]\nevent_bytes = 0", "limits.event_bytes is 0: expected 1 to 67108864 bytes".to_owned()),
        (
            "[limits]\nevent_bytes = 67108865",
            "limits.event_bytes is 67108865: expected 1 to 67108864 bytes".to_owned(),
        ),
        (
            "[redis]\nreply_bytes = 1048575",
            "redis.reply_bytes is 1048575: expected 1048576 to 1073741824 bytes".to_owned(),
        ),
        (
            "[limits]\nconnections = 0",
            "limits.connections is 0: expected 1 to 10000000 connections".to_owned(),
        ),
        ("[embedded]\nclients = 0", "embedded.clients is 0: expected 1 to 10000000 connections".to_owned()),
        (
            "[embedded]\nlisten = \"0.0.0.0:6380\"",
            format!(
                "embedded.listen is \"0.0.0.0:6380\", and embedded.password is \"\" (default): {REACHABLE}"
            ),
        ),
        (
            "[embedded]\nlisten = \"0.0.0.0:6380\"\npassword = \"fifteen letters\"",
            format!(
                "embedded.listen is \"0.0.0.0:6380\", and embedded.password is \"***\" (FILE): {REACHABLE}"
            ),
        ),
        (
            "[embedded]\nlog_bytes = 1048576",
            "embedded.log_bytes is 1048576, and retention.bytes is 16777216 (default): \
             embedded.log_bytes must not be less than retention.bytes, so that one log fits"
                .to_owned(),
        ),
        (
            "[embedded]\nclients_bytes = 16777215",
            "embedded.clients_bytes is 16777215, and embedded.output_bytes is 8388608 (default): \
             embedded.clients_bytes must be at least twice embedded.output_bytes, so that one client does not take all of it"
                .to_owned(),
        ),
        (
            "[embedded]\nidempotency_workspace_bytes = 1048575",
            "embedded.idempotency_workspace_bytes is 1048575: expected at least 1048576 bytes".to_owned(),
        ),
        (
            "[embedded]\nidempotency_bytes = 1048576",
            "embedded.idempotency_bytes is 1048576, and embedded.idempotency_workspace_bytes is 16777216 (default): \
             embedded.idempotency_bytes must not be less than embedded.idempotency_workspace_bytes"
                .to_owned(),
        ),
        (
            "[redis]\nbackoff_min_seconds = 6",
            "redis.backoff_min_seconds is 6, and redis.backoff_max_seconds is 5 (default): \
             redis.backoff_max_seconds must not be less than redis.backoff_min_seconds"
                .to_owned(),
        ),
        (
            "[ring]\nbytes = 263167",
            format!(
                "ring.bytes is 263167, and limits.event_bytes is 262144 (default): {}",
                event_fits("ring.bytes")
            ),
        ),
        (
            "[limits]\nevent_bytes = 1048576",
            format!(
                "limits.event_bytes is 1048576, and ring.bytes is 1048576 (default): {}",
                event_fits("ring.bytes")
            ),
        ),
        (
            "[limits]\nring_bytes = 1048575",
            "limits.ring_bytes is 1048575, and ring.bytes is 1048576 (default): \
             limits.ring_bytes must not be less than ring.bytes, so that one workspace's events fit"
                .to_owned(),
        ),
        (
            "[limits]\nbody_bytes = 33554431",
            "limits.body_bytes is 33554431, and limits.batch_bytes is 4194304 (default): limits.body_bytes must be at least \
             eight times limits.batch_bytes and limits.event_bytes, so that the largest body fits into one client's share"
                .to_owned(),
        ),
        (
            "[limits]\nevent_bytes_per_second = 262143",
            "limits.event_bytes_per_second is 262143, and limits.event_bytes is 262144 (default): \
             limits.event_bytes_per_second must be 0 or at least limits.event_bytes, so that the largest event fits"
                .to_owned(),
        ),
        (
            "[embedded]\noutput_bytes = 1",
            format!(
                "embedded.output_bytes is 1, and limits.event_bytes is 262144 (default): {}",
                event_fits("embedded.output_bytes")
            ),
        ),
        (
            "[server]\nlisten = \"127.0.0.1:8081\"",
            "server.listen is \"127.0.0.1:8081\", and admin.listen is \"127.0.0.1:8081\" (default): \
             two listeners cannot share an address"
                .to_owned(),
        ),
        (
            "[admin]\nlisten = \"127.0.0.1:6380\"",
            "admin.listen is \"127.0.0.1:6380\", and embedded.listen is \"127.0.0.1:6380\" (default): \
             two listeners cannot share an address"
                .to_owned(),
        ),
    ] {
        assert_eq!(load_file(text).unwrap_err(), format!("FILE: {expected}"), "{text}");
    }
    for key in [
        "server.header_timeout_seconds",
        "server.idle_timeout_seconds",
        "server.body_timeout_seconds",
        "server.write_timeout_seconds",
        "redis.connect_timeout_seconds",
        "redis.ping_seconds",
        "redis.ping_timeout_seconds",
        "redis.backoff_min_seconds",
        "redis.command_timeout_seconds",
        "redis.confirm_seconds",
        "redis.probe_seconds",
        "sse.heartbeat_seconds",
    ] {
        // The second is not zero as written, but becomes zero in nanoseconds.
        for value in ["0", "0.0000000001"] {
            let problem = load_file(&format!("{key} = {value}")).unwrap_err();
            let found: serde_json::Value = value.parse().unwrap();
            assert_eq!(problem, format!("FILE: {key} is {found}: expected more than 0 seconds"));
        }
    }
}

#[test]
fn texts_that_break_a_rule_are_shown_with_it() {
    for (text, start) in [
        ("server.base_path = \"/api/\"", "server.base_path is \"/api/\": expected nothing, or segments of"),
        (
            "redis.channel_prefix = \"a*\"",
            "redis.channel_prefix is \"a*\": expected 1 to 128 characters of printable",
        ),
        (
            "cors.headers = [\"X-A\", \"X B\"]",
            "cors.headers is [\"X-A\",\"X B\"]: expected names of request headers",
        ),
        (
            "cors.origins = [\"https://a.example/\"]",
            "cors.origins is [\"https://a.example/\"]: expected \"*\", or origins",
        ),
        (
            "log.level = \"inof\"",
            "log.level is \"inof\": expected error, warn, info, debug, trace or off, or",
        ),
        (
            "redis.url = \"http://:s3cret@host\"",
            "redis.url is \"http://:***@host\": expected an address such as redis://",
        ),
        ("redis.url = \"s3cret\"", "redis.url is \"***\": expected an address such as redis://"),
        ("redis.url = \"redis://:s3cret@host/s3cret\"", "redis.url is \"redis://***\": expected an address"),
    ] {
        let problem = load_file(text).unwrap_err();
        assert!(problem.starts_with(&format!("FILE: {start}")), "{problem}");
    }
    for url in [
        "redis://127.0.0.1:6379",
        "rediss://user:password@host:6380/2",
        "redis+unix:///run/redis.sock?pass=x",
        "unix:///run/redis.sock",
        "valkey://host",
    ] {
        let loaded = load_environment(&[("TIDINGS__REDIS__URL", url)]).unwrap();
        assert_eq!(loaded.config.redis.url.reveal(), url);
    }
}

#[test]
fn reachable_address_needs_an_explicit_auth_mode() {
    for (listen, refused) in [
        ("0.0.0.0:8080", true),
        ("[::]:8080", true),
        ("192.0.2.1:8080", true),
        ("[::ffff:192.0.2.1]:8080", true),
        ("127.0.0.1:8080", false),
        ("127.9.9.9:8080", false),
        ("[::1]:8080", false),
        ("[::ffff:127.0.0.1]:8080", false),
        ("localhost:8080", false),
        ("node.example.com:8080", true),
        ("unix:/run/tidings/http.sock", false),
    ] {
        let flags = vec![("server.listen", listen.to_owned(), "--listen")];
        let mut sources = Sources { flags, ..Sources::default() };
        let refusal = format!(
            "--listen: server.listen is {listen}, which other machines can reach, and auth.mode is not set: \
             set auth.mode (for example auth.mode = \"none\" to accept every client), or listen on 127.0.0.1"
        );
        let problem = sources.load().err().map(|error| error.to_string());
        assert_eq!(problem, refused.then_some(refusal));
        sources.environment = variables(&[("TIDINGS__AUTH__MODE", "none")]);
        sources.load().unwrap();
    }
}

#[test]
fn listeners_may_share_an_address_where_that_is_harmless() {
    for environment in [
        // The system gives each a port of its own.
        &[("TIDINGS__SERVER__LISTEN", "127.0.0.1:0"), ("TIDINGS__ADMIN__LISTEN", "127.0.0.1:0")][..],
        // The embedded bus does not listen.
        &[("TIDINGS__SERVER__LISTEN", "127.0.0.1:6380"), ("TIDINGS__REDIS__URL", "redis://127.0.0.1")],
        // In a container the operations listener is reached from outside of it.
        &[("TIDINGS__ADMIN__LISTEN", "0.0.0.0:8081")],
    ] {
        load_environment(environment).unwrap();
    }
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let directory = tempfile::tempdir().unwrap();
    let not_text = directory.path().join("not-text.toml");
    std::fs::write(&not_text, b"\xff\xfe").unwrap();
    for (path, reason) in [
        (directory.path().join("missing.toml"), "no such file"),
        (directory.path().to_owned(), "a directory, not a configuration file"),
        (not_text, "not UTF-8 text"),
    ] {
        let sources = Sources { file: Some(path.clone()), ..Sources::default() };
        let problem = sources.load().unwrap_err().to_string();
        assert_eq!(problem, format!("{}: {reason}", path.display()));
    }
    assert_eq!(
        load_file("[server]\nlisten = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"").unwrap_err(),
        "FILE:3:1: not valid TOML: duplicate key"
    );
}

#[test]
fn problems_of_all_sources_come_together() {
    let sources = Sources {
        file: Some(PathBuf::from("/does/not/exist.toml")),
        environment: variables(&[("TIDINGS__RING__EVNTS", "1"), ("TIDINGS__RING__EVENTS", "many")]),
        flags: vec![("redis.ulr", "redis://:s3cret@host".to_owned(), "--redis")],
    };
    let error = sources.load().unwrap_err();
    assert_eq!(error.problems().len(), 4);
    assert_eq!(
        error.to_string(),
        "/does/not/exist.toml: no such file\n\
         TIDINGS__RING__EVNTS: unknown key `ring.evnts`, did you mean `ring.events` (TIDINGS__RING__EVENTS)?\n\
         --redis: unknown key `redis.ulr`, did you mean `redis.url`?\n\
         TIDINGS__RING__EVENTS: ring.events is \"many\": expected a whole number that is not negative"
    );
}

#[test]
fn a_password_is_never_shown() {
    let good = Sources {
        environment: variables(&[("TIDINGS__REDIS__URL", "redis://user:s3cret@host:6379/1")]),
        flags: vec![("redis.url", "rediss://:s3cret@other".to_owned(), "--redis")],
        ..Sources::default()
    };
    let loaded = good.load().unwrap();
    let mut shown = vec![format!("{good:?}"), format!("{loaded:?}"), loaded.table(), loaded.json().unwrap()];
    assert!(loaded.table().contains("\"rediss://:***@other\""), "{}", loaded.table());
    for bad in [
        "redis://user:s3cret@host:port",
        "redis://user:s3c/s3cret@host",
        "redis://:s3cret",
        "http://:s3cret@host",
        "redis://user:s3cret@",
        "redis+unix://s3cret@?pass=s3cret",
        "s3cret",
    ] {
        let error = load_environment(&[("TIDINGS__REDIS__URL", bad)]).unwrap_err();
        let sources =
            Sources { environment: variables(&[("TIDINGS__REDIS__URL", bad)]), ..Sources::default() };
        shown.extend([
            error,
            format!("{:?}", sources.load()),
            format!("{:?}", load_file(&format!("redis.url = '{bad}'"))),
        ]);
        shown.push(load_file(&format!("[redis]\nurl = [\"{bad}\"]")).unwrap_err());
        shown.push(load_file(&format!("[redis]\nurl = \"{bad}")).unwrap_err());
    }
    for text in shown {
        assert!(!text.contains("s3c"), "{text}");
    }
}

#[test]
fn reply_fits_a_page_of_a_log() {
    let bytes = |settings: &[(&str, &str)]| {
        let environment = settings.iter().map(|(key, value)| {
            (format!("TIDINGS__{}", key.to_ascii_uppercase().replace('.', "__")), (*value).to_owned())
        });
        let sources = Sources { environment: environment.collect(), ..Sources::default() };
        sources.load().unwrap().config.redis.reply_bytes
    };
    assert_eq!(bytes(&[]), 33_554_432);
    assert_eq!(bytes(&[("redis.reply_bytes", "1048576")]), 16_777_216 + 262_144 + 1024);
    let redis = ("redis.url", "redis://host");
    assert_eq!(bytes(&[redis, ("retention.bytes", "1000000000")]), 1001 * (262_144 + 1024));
    assert_eq!(bytes(&[("limits.event_bytes", "1000"), ("redis.reply_bytes", "4000000")]), 4_000_000);
}
