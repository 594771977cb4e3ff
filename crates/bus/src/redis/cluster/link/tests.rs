use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use super::super::scripted::{ScriptedReply, ScriptedServer, bulk, login, push, settings_with};
use super::*;
use crate::redis::connect::Connector;

const LONG: Duration = Duration::from_secs(40);

async fn open(host: &str, port: u16, values: &[(&str, &str)]) -> Result<ShardLink, String> {
    let connector = Connector::new(&settings_with(host, port, values)).unwrap();
    let target = connector.find().await.unwrap();
    let link = tokio::time::timeout(LONG, connector.shard_link(&target)).await.expect("an outcome");
    link.map_err(|error| error.to_string())
}

/// Redis 7.0 and 7.1 do not know the command for the name.
#[tokio::test]
async fn login_has_the_user_and_needs_no_name() {
    let (seen, hellos) = (Arc::<parking_lot::Mutex<Vec<String>>>::default(), "HELLO 3");
    let of_script = Arc::clone(&seen);
    let server = ScriptedServer::start_with_login(move |command| {
        of_script.lock().push(command.to_owned());
        let reply = login(command, "master").filter(|_| command.starts_with(hellos));
        // A push message is no reply.
        let early = push("smessage", "x", ":1\r\n");
        ScriptedReply::Send(early + &reply.unwrap_or_else(|| "-ERR unknown subcommand\r\n".to_owned()))
    })
    .await;
    let link = open("name:secret@127.0.0.1", server.port, &[]).await.unwrap();
    assert_eq!(link.server.server.as_deref(), Some("redis 7.0.15"));
    assert_eq!(*seen.lock(), ["HELLO 3 AUTH name secret", "CLIENT SETINFO LIB-NAME tidings"]);
    open("127.0.0.1", server.port, &[]).await.unwrap();
    assert_eq!(seen.lock()[2], "HELLO 3");
}

#[tokio::test]
async fn rejected_login_opens_no_link() {
    let server =
        ScriptedServer::start_with_login(|_| ScriptedReply::Send("-WRONGPASS no\r\n".to_owned())).await;
    let error = open("127.0.0.1", server.port, &[]).await.err().unwrap();
    assert!(error.contains("WRONGPASS"), "{error}");
}

#[tokio::test]
async fn server_that_does_not_reply_opens_no_link() {
    let server = ScriptedServer::start_with_login(|_| ScriptedReply::Send(String::new())).await;
    let error = open("127.0.0.1", server.port, &[("connect_timeout_seconds", "0.05")]).await.err().unwrap();
    assert!(error.contains("timed out"), "{error}");
}

/// Values are received while commands wait to be sent, and the other way round. If one waited for
/// the other, a server that does the same would block both.
#[tokio::test]
async fn link_reads_while_it_writes() {
    const MESSAGES: usize = 2_000;
    // The buffers of both sockets have space for half of them.
    const BYTES: usize = 10_000;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut buffer = vec![0; 1 << 16];
        for command in ["HELLO 3", "CLIENT"] {
            let _ = socket.read(&mut buffer).await.unwrap();
            socket.write_all(login(command, "master").unwrap().as_bytes()).await.unwrap();
        }
        // It reads nothing before it has sent all of this.
        let message = push("smessage", "x", &bulk(&"x".repeat(BYTES)));
        for _ in 0..MESSAGES {
            socket.write_all(message.as_bytes()).await.unwrap();
        }
        let mut received = 0;
        loop {
            match socket.read(&mut buffer).await.unwrap() {
                0 => return received,
                bytes => received += bytes,
            }
        }
    });
    let mut link = open("127.0.0.1", port, &[]).await.unwrap();
    let mut echo = redis::cmd("ECHO");
    echo.arg("x".repeat(BYTES));
    let sent = MESSAGES * echo.get_packed_command().len();
    (0..MESSAGES).for_each(|_| link.send(&echo));
    let exchange = async {
        for _ in 0..MESSAGES {
            assert!(matches!(link.next().await, Ok(LinkEvent::Push(PushKind::SMessage, _))));
        }
        while !link.unsent.is_empty() {
            tokio::select! {
                event = link.next() => panic!("{event:?}"),
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
        }
    };
    tokio::time::timeout(LONG, exchange).await.expect("both sides go on");
    drop(link);
    assert_eq!(server.await.unwrap(), sent, "each byte once");
}

/// Another program at the address could fill the memory of the node.
#[tokio::test]
async fn value_over_the_limit_ends_the_link() {
    let server = ScriptedServer::start(|_| ScriptedReply::Send("$2000000\r\n".to_owned())).await;
    let mut link = open("127.0.0.1", server.port, &[("reply_bytes", "1000000")]).await.unwrap();
    link.send(&redis::cmd("PING"));
    assert!(tokio::time::timeout(LONG, link.next()).await.expect("an outcome").is_err());
    assert!(link.fault().unwrap().contains("redis.reply_bytes"));
}

#[tokio::test]
async fn confirmation_that_was_not_requested_is_a_fault() {
    let server = ScriptedServer::start(|command| {
        ScriptedReply::Send(push("ssubscribe", command.split(' ').nth(1).unwrap(), ":1\r\n").repeat(2))
    })
    .await;
    let mut link = open("127.0.0.1", server.port, &[]).await.unwrap();
    link.expect_confirmations(1);
    link.send(redis::cmd("SSUBSCRIBE").arg("x"));
    assert!(link.next().await.is_ok());
    assert_eq!(link.fault(), None);
    let _ = link.next().await;
    assert!(link.fault().unwrap().contains("did not request"));
}

#[tokio::test]
async fn error_is_a_reply_and_the_end_is_an_error() {
    let server = ScriptedServer::start(|command| match command {
        "PING" => ScriptedReply::Send("-ERR no\r\n".to_owned()),
        _ => ScriptedReply::Close,
    })
    .await;
    let mut link = open("127.0.0.1", server.port, &[]).await.unwrap();
    link.send(&redis::cmd("PING"));
    assert!(matches!(link.next().await, Ok(LinkEvent::Reply(Err(_)))));
    link.send(&redis::cmd("QUIT"));
    assert!(tokio::time::timeout(LONG, link.next()).await.expect("an outcome").is_err());
}
