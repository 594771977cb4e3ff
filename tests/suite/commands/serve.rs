//! `tidings serve` at its first start.

use std::process::Command;

use crate::support::broker::variable;
use crate::support::commands::{RunningCommand, run_tidings};
use crate::support::ports::Port;
use crate::support::test_cluster::on_both_buses;
use crate::support::token::JWT;
use crate::support::{
    Broker, BrokerOptions, Bus, DEADLINE, RedisOptions, RedisServer, TestCluster, eventually, http,
};

on_both_buses!(printed_commands_work_unchanged, printed_commands_work_with_tokens);

fn shell(line: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(line);
    command
}

async fn printed_commands_work_unchanged(bus: Bus) {
    let cluster = TestCluster::start(bus).await;
    copy_and_paste(&cluster, bus, "").await;
}

async fn printed_commands_work_with_tokens(bus: Bus) {
    let cluster = TestCluster::start_with(bus, &JWT).await;
    let printed = cluster.broker.logged("Operations: ").await;
    let line = printed.lines().find(|line| line.contains("tidings token new")).expect("how to make a token");
    let program = env!("CARGO_BIN_EXE_tidings");
    let mut make =
        shell(&format!("{}; printf %s \"$TOKEN\"", line.replace("$(tidings", &format!("$({program}"))));
    make.envs(JWT.map(|(key, value)| (variable(key), value)));
    let token = crate::support::programs::run(&mut make);
    copy_and_paste(&cluster, bus, &format!("TOKEN={token}; ")).await;
}

/// Runs the printed commands; `first` precedes each.
async fn copy_and_paste(cluster: &TestCluster, bus: Bus, first: &str) {
    let printed = cluster.broker.logged("Operations: ").await;
    let lines: Vec<_> = printed.lines().map(str::trim).collect();
    let find = |begin: &str, word: &str| {
        let line = lines.iter().find(|line| line.starts_with(begin) && line.contains(word));
        (*line.unwrap_or_else(|| panic!("{begin} … {word} in {printed}"))).to_owned()
    };
    assert_eq!(bus == Bus::Embedded, printed.contains("embedded mode"), "{printed}");

    let watch = find("curl -N ", "/events");
    let mut watching = RunningCommand::start(shell(&format!("{first}exec {watch} --silent --show-error")));
    while !watching.line().await.contains("\"connected\"") {}
    for publish in [find("redis-cli ", "PUBLISH"), find("curl ", " -d ")] {
        crate::support::programs::run(&mut shell(&format!("{first}{publish}")));
        loop {
            let line = watching.line().await;
            if line.starts_with("data: ") {
                assert!(
                    line.contains(r#"{"type":"CHANNEL_UPDATED","channel":{"id":"c1","name":"general"}}"#),
                    "{line}"
                );
                break;
            }
        }
    }
    let status = find("Operations: ", "/status");
    let url = status.strip_prefix("Operations: ").unwrap();
    crate::support::programs::run(Command::new("curl").args(["--fail", "--silent", url]));
}

#[tokio::test]
async fn without_a_command_it_serves() {
    let (public, admin, embedded) = (Port::claim(), Port::claim(), Port::claim());
    let ports = [("server.listen", &public), ("admin.listen", &admin), ("embedded.listen", &embedded)];
    let mut command = crate::support::broker::tidings();
    command.envs(ports.map(|(key, port)| (variable(key), port.address().to_string())));
    let _broker = RunningCommand::start(command);
    eventually("it lives", DEADLINE, async || {
        http::try_request(admin.address(), "GET", "/live", &[], "").await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn an_address_in_use_is_named_with_its_key() {
    let broker = Broker::start(BrokerOptions::embedded()).await;
    let (free, other) = (Port::claim(), Port::claim());
    let (free, other) = (free.address().to_string(), other.address().to_string());
    let taken = [
        ("server.listen", broker.address()),
        ("admin.listen", broker.admin()),
        ("embedded.listen", broker.embedded()),
    ];
    for (key, address) in taken {
        let mut settings = vec![("server.listen", free.clone()), ("admin.listen", other.clone())];
        settings.push(("embedded.listen", String::new()));
        settings.retain(|(other, _)| *other != key);
        settings.push((key, address.to_string()));
        let settings: Vec<_> = settings.iter().map(|(key, value)| (*key, &**value)).collect();
        let stderr = run_tidings(&["serve"], &settings).await.failure(1);
        for word in [format!("cannot listen on {address}"), format!("({key})"), "in use".to_owned()] {
            assert!(stderr.contains(&word), "{word} in {stderr}");
        }
    }
}

#[tokio::test]
async fn a_password_is_nowhere_to_be_seen() {
    const PASSWORD: &str = "dont-show-this";
    let users = vec![format!("broker on >{PASSWORD} ~* &* +@all -xadd")];
    let mut server = RedisServer::start_with(RedisOptions { users, ..RedisOptions::default() }).await;
    let url = server.url_as("broker", PASSWORD);
    for format in ["text", "json"] {
        let options = BrokerOptions::embedded().set("redis.url", &url);
        let options = options.set("log.level", "trace").set("log.format", format);
        let broker = Broker::start_ready(options).await;
        let mut client = broker.connect("acme").await;
        client.connected().await;
        let events = "/api/workspaces/acme/events";
        let mut answers = vec![http::request(broker.address(), "POST", events, &[], "x").await];
        server.stop();
        eventually("it knows", DEADLINE, async || !broker.is_ready().await).await;
        answers.push(http::request(broker.address(), "POST", events, &[], "x").await);
        for path in ["/ready", "/status", "/metrics"] {
            answers.push(http::get(broker.admin(), path).await);
        }
        server.restart().await;
        for answer in answers {
            assert!(!answer.text().contains(PASSWORD), "{}", answer.text());
        }
        // The address is shown without it.
        broker.logged("broker:***@").await;
        assert!(!broker.log().contains(PASSWORD), "{}", broker.log());
    }
}
