use std::sync::OnceLock;

use super::super::scripted::{ScriptedReply, ScriptedServer, bulk, primary, settings};
use super::*;
use crate::redis::connect::Connector;

/// A cluster of two servers. The first one says that it owns all slots.
struct TwoServers {
    first: ScriptedServer,
    second: ScriptedServer,
    router: Router,
}

/// The reply to a command, by the number of commands before it and the address of the other server.
type Reply = fn(usize, &str) -> ScriptedReply;

impl TwoServers {
    async fn start(first: Reply, second: Reply) -> Self {
        let ports: Arc<OnceLock<[u16; 2]>> = Arc::default();
        let server = async |own: usize, reply: Reply| {
            let (ports, mut commands) = (Arc::clone(&ports), 0);
            ScriptedServer::start(move |command| {
                let ports = ports.get().unwrap();
                if command == "CLUSTER NODES" {
                    let nodes =
                        [primary(1, ports[0], 1, "0-16383", own == 0), primary(2, ports[1], 2, "", own == 1)];
                    return ScriptedReply::Send(bulk(&nodes.concat()));
                }
                if command == "ASKING" {
                    return ScriptedReply::Send("+OK\r\n".to_owned());
                }
                commands += 1;
                reply(commands - 1, &format!("127.0.0.1:{}", ports[1 - own]))
            })
            .await
        };
        let (first, second) = (server(0, first).await, server(1, second).await);
        ports.set([first.port, second.port]).unwrap();
        let config = settings(first.port, 40.0);
        let servers = Arc::new(Servers::new(Arc::new(Connector::new(&config).unwrap()), &config));
        let refresher = Refresher::new(Arc::clone(&servers), &config).unwrap();
        let router = Router::new(servers, refresher, config.command_timeout_seconds.duration());
        Self { first, second, router }
    }

    async fn get(&self) -> RedisResult<String> {
        self.router.of("key").ask(redis::cmd("GET").arg("key")).await
    }
}

/// The commands of a server, without those for the topology.
fn commands(server: &ScriptedServer) -> Vec<String> {
    server.received().into_iter().filter(|command| command != "CLUSTER NODES").collect()
}

fn found(_: usize, _: &str) -> ScriptedReply {
    ScriptedReply::Send(bulk("value"))
}

fn never(_: usize, _: &str) -> ScriptedReply {
    ScriptedReply::Send("-ERR not expected\r\n".to_owned())
}

/// The topology that the node knows still names the first server.
#[tokio::test]
async fn moved_command_runs_at_the_named_server() {
    let servers =
        TwoServers::start(|_, other| ScriptedReply::Send(format!("-MOVED 7 {other}\r\n")), found).await;
    assert_eq!(servers.get().await.unwrap(), "value");
    assert_eq!(commands(&servers.first), ["GET key"]);
    assert_eq!(commands(&servers.second), ["GET key"]);
}

#[tokio::test]
async fn asked_command_announces_itself_at_the_other_server() {
    let servers =
        TwoServers::start(|_, other| ScriptedReply::Send(format!("-ASK 7 {other}\r\n")), found).await;
    assert_eq!(servers.get().await.unwrap(), "value");
    assert_eq!(commands(&servers.second), ["ASKING", "GET key"]);
    // The next command begins at the owner again.
    servers.get().await.unwrap();
    assert_eq!(commands(&servers.first), ["GET key", "GET key"]);
}

#[tokio::test]
async fn command_waits_for_errors_that_pass() {
    let replies: [Reply; 5] = [
        |at, _| passing(at, "TRYAGAIN Multiple keys request during rehashing of slot"),
        |at, _| passing(at, "CLUSTERDOWN The cluster is down"),
        |at, _| passing(at, "LOADING Redis is loading the dataset in memory"),
        |at, _| passing(at, "READONLY You can't write against a read only replica."),
        |at, _| passing(at, "MASTERDOWN Link with MASTER is down"),
    ];
    for reply in replies {
        let servers = TwoServers::start(reply, never).await;
        assert_eq!(servers.get().await.unwrap(), "value");
        assert_eq!(commands(&servers.first).len(), 3, "{:?}", servers.first.received());
    }
}

fn passing(at: usize, error: &str) -> ScriptedReply {
    ScriptedReply::Send(if at < 2 { format!("-{error}\r\n") } else { bulk("value") })
}

/// A command with several keys, of which one is nowhere.
#[tokio::test]
async fn missing_key_is_reserved_once_where_new_keys_go() {
    let servers = TwoServers::start(
        |at, other| match at {
            0 => {
                ScriptedReply::Send("-TRYAGAIN Multiple keys request during rehashing of slot\r\n".to_owned())
            }
            1 => ScriptedReply::Send(format!("-ASK 7 {other}\r\n")),
            at => passing(at - 2, "TRYAGAIN Multiple keys request during rehashing of slot"),
        },
        found,
    )
    .await;
    let mut reserve = redis::cmd("SET");
    reserve.arg("key").arg("");
    let commands_of_slot = servers.router.of("key").reserving(reserve);
    let value: String = commands_of_slot.ask(redis::cmd("GET").arg("key")).await.unwrap();
    assert_eq!(value, "value");
    assert_eq!(commands(&servers.second), ["ASKING", "SET key "]);
    assert_eq!(commands(&servers.first), ["GET key", "SET key ", "GET key", "GET key", "GET key"]);
}

/// The server may have run it, and published an event.
#[tokio::test]
async fn sent_command_is_not_repeated_after_a_lost_link() {
    let servers = TwoServers::start(|_, _| ScriptedReply::Close, never).await;
    let error = servers.get().await.unwrap_err();
    assert!(error.is_io_error(), "{error}");
    assert_eq!(commands(&servers.first), ["GET key"]);
}

/// Two servers that name each other cause pauses instead of a loop.
#[tokio::test]
async fn redirections_in_a_circle_are_bounded() {
    let mut servers = TwoServers::start(
        |_, other| ScriptedReply::Send(format!("-MOVED 7 {other}\r\n")),
        |_, other| ScriptedReply::Send(format!("-MOVED 7 {other}\r\n")),
    )
    .await;
    servers.router.timeout = Duration::from_millis(500);
    let error = servers.get().await.unwrap_err();
    // The time may end between two commands, or while one has no reply.
    assert!(error.code() == Some("MOVED") || error.is_timeout(), "{error}");
    let count = commands(&servers.first).len() + commands(&servers.second).len();
    assert!((3..100).contains(&count), "{count} commands");
}

/// Of several reads, the redirected one alone is repeated.
#[tokio::test]
async fn redirected_read_of_several_runs_again() {
    let servers = TwoServers::start(
        |at, other| match at {
            0 => ScriptedReply::Send(bulk("first")),
            _ => ScriptedReply::Send(format!("-MOVED 7 {other}\r\n")),
        },
        found,
    )
    .await;
    let mut reads = Pipeline::new();
    reads.cmd("GET").arg("one").cmd("GET").arg("two").ignore_errors();
    let replies = servers.router.of("key").ask_all(&reads).await.unwrap();
    let replies: Vec<String> =
        replies.into_iter().map(|reply| redis::from_redis_value(reply.unwrap()).unwrap()).collect();
    assert_eq!(replies, ["first", "value"]);
    assert_eq!(commands(&servers.first), ["GET one", "GET two", "GET two"]);
    assert_eq!(commands(&servers.second), ["GET two"]);
}

fn server_error(line: &str) -> RedisError {
    let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
    let Value::ServerError(error) = value else { panic!("{line} is no error") };
    error.into()
}

#[test]
fn errors_of_the_cluster_are_followed_or_tried_again() {
    for (line, expected) in [
        ("MOVED 7 10.0.0.1:7001", Reaction::Moved("10.0.0.1:7001")),
        ("ASK 7 host:7001", Reaction::Ask("host:7001")),
        ("MOVED 7", Reaction::Passing),
        ("TRYAGAIN Multiple keys request during rehashing of slot", Reaction::Passing),
        ("CLUSTERDOWN The cluster is down", Reaction::Passing),
        ("LOADING Redis is loading", Reaction::Passing),
        ("READONLY You can't write against a read only replica.", Reaction::Passing),
        ("NOPERM no", Reaction::Final),
        ("OOM no", Reaction::Final),
    ] {
        let failed = NotRun { error: server_error(line), may_have_run: true };
        assert_eq!(reaction(&failed), expected, "{line}");
    }
}

/// A publication that may be in the log must not be repeated.
#[test]
fn command_that_may_have_run_is_not_repeated() {
    let lost = |may_have_run| NotRun {
        error: RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe)),
        may_have_run,
    };
    assert_eq!(reaction(&lost(true)), Reaction::Final);
    assert_eq!(reaction(&lost(false)), Reaction::Passing);
}
