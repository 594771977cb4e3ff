//! Clients that are broken, greedy or hostile: they harm no other client.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::wire::{Wire, command, show, words};
use super::{DEADLINE, Embedded};

#[tokio::test]
async fn claims_beyond_the_bounds_end_the_connection_at_once() {
    let embedded = Embedded::start().await;
    for claim in [
        "*2147483647\r\n",
        "*2\r\n$4\r\nECHO\r\n$536870912\r\n",
        "*2\r\n$9223372036854775807\r\n",
        "*1\r\n*1\r\n*1\r\n*1\r\n",
    ] {
        let mut wire = Wire::tcp(embedded.address).await;
        wire.send(claim.as_bytes()).await;
        let answer = show(&wire.read_to_end().await);
        assert!(answer.starts_with("-ERR Protocol error: "), "{answer}");
    }
}

#[tokio::test]
async fn endless_command_is_closed() {
    let embedded = Embedded::start().await;
    let number_without_end = [&b"*1"[..], &vec![b'1'; 1 << 20]].concat();
    let arguments =
        [b"*16384\r\n".to_vec(), [b"$60000\r\n", &vec![b'x'; 60_000][..], b"\r\n"].concat().repeat(30)];
    for (bytes, reply) in [
        (number_without_end, "-ERR Protocol error: expected an array of bulk strings\r\n"),
        (
            arguments.concat(),
            "-ERR Protocol error: a command has at most 16384 arguments and 1310720 bytes\r\n",
        ),
    ] {
        let mut wire = Wire::tcp(embedded.address).await;
        wire.send(&bytes).await;
        assert_eq!(show(&wire.read_to_end().await), show(reply.as_bytes()));
    }
}

#[tokio::test]
async fn a_transaction_is_bounded() {
    let embedded = Embedded::start().await;
    let queued = |bytes: &[u8]| words("MULTI").into_iter().chain(bytes.to_vec()).collect::<Vec<u8>>();
    let many = words("XLEN a").repeat(4097);
    let large = command(&[b"DEL", &vec![b'x'; 1000][..]]).repeat(8);
    let large = [&large[..], &command(&[b"PUBLISH", &b"a"[..], &vec![b'x'; 1 << 20]]).repeat(8)].concat();
    let aborted = "-EXECABORT Transaction discarded because of previous errors.";
    for (commands, refusal) in [
        (many, "-ERR a transaction of the embedded bus has at most 4096 commands and 16777216 bytes"),
        (large, "-ERR a transaction of the embedded bus has at most 4096 commands and 16777216 bytes"),
        (words("SUBSCRIBE a"), "-ERR the embedded bus takes no 'subscribe' inside a transaction"),
        (words("XRANGE a - +"), "-ERR the embedded bus takes no 'xrange' inside a transaction"),
        (words("XADD a x data x"), "-ERR Invalid stream ID"),
        (words("WATCH a"), "-ERR unknown command 'WATCH'"),
    ] {
        let mut wire = Wire::tcp(embedded.address).await;
        wire.send(&[queued(&commands), words("EXEC"), words("XLEN a")].concat()).await;
        let answer = wire.read_until(b":0\r\n").await;
        let lines: Vec<_> = answer.split(|&byte| byte == b'\n').map(String::from_utf8_lossy).collect();
        assert!(lines.iter().any(|line| line.starts_with(refusal)), "{refusal}");
        assert_eq!(lines[lines.len() - 3].trim_end(), aborted);
    }
}

#[tokio::test]
async fn too_large_a_reply_is_refused_a_part_is_sent() {
    let embedded = Embedded::with(1000, 1 << 20).await;
    let mut wire = Wire::tcp(embedded.address).await;
    for _ in 0..4 {
        wire.ask(&command(&[b"XADD", &b"k"[..], b"*", b"data", &vec![b'x'; 200_000]])).await;
    }
    let refused = show(&wire.ask(&words("XRANGE k - +")).await);
    assert!(
        refused.starts_with("-ERR the reply has more than 524288 bytes, half of embedded.output_bytes"),
        "{refused}"
    );
    assert!(wire.ask(&words("XRANGE k - + COUNT 2")).await.len() > 400_000);
}

#[tokio::test]
async fn half_commands_wait_and_are_never_run() {
    let embedded = Embedded::start().await;
    let mut listener = Wire::tcp(embedded.address).await;
    listener.ask(&words("SUBSCRIBE a")).await;
    let whole = words("PUBLISH a hello");
    // Split at every byte: the first half alone does nothing, also when the client leaves there.
    for cut in 1..whole.len() {
        let mut leaves = TcpStream::connect(embedded.address).await.unwrap();
        leaves.write_all(&whole[..cut]).await.unwrap();
        leaves.shutdown().await.unwrap();
        let mut rest = Vec::new();
        timeout(DEADLINE, leaves.read_to_end(&mut rest)).await.unwrap().unwrap();
        assert_eq!(show(&rest), "", "cut at {cut}");
    }
    let mut slow = Wire::tcp(embedded.address).await;
    slow.send(&whole[..20]).await;
    assert!(show(&listener.ask(b"").await).starts_with("*2 $4 pong "), "nothing was published");
    assert!(slow.ask(&whole[20..]).await.starts_with(b":1\r\n"));
    assert!(show(&listener.ask(b"").await).starts_with("*3 $7 message $1 a $5 hello "));
}

#[tokio::test]
async fn client_that_closes_its_half_gets_the_reply() {
    let embedded = Embedded::start().await;
    let mut stream = TcpStream::connect(embedded.address).await.unwrap();
    stream.write_all(&words("PING")).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut reply = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut reply)).await.unwrap().unwrap();
    assert_eq!(reply, b"+PONG\r\n");
}

#[tokio::test]
async fn stalled_subscriber_is_closed_and_others_are_served() {
    let embedded = Embedded::with(10, 1 << 20).await;
    let mut deaf = Wire::tcp(embedded.address).await;
    deaf.ask(&words("SUBSCRIBE a")).await;
    let mut listener = Wire::tcp(embedded.address).await;
    listener.ask(&words("SUBSCRIBE a")).await;
    let mut publisher = Wire::tcp(embedded.address).await;
    let publish = command(&[b"PUBLISH", &b"a"[..], &vec![b'x'; 256 << 10]]);
    let mut published = 0;
    // The buffers of both sockets take some megabytes first.
    while !publisher.ask(&publish).await.starts_with(b":1\r\n") {
        published += 1;
        assert!(published < 1000, "the deaf subscriber is never cut off");
        let heard = listener.ask(b"").await;
        assert!(heard.len() > 256 << 10, "message {published} is missing");
    }
    // What it was sent ends; it does not go on as if nothing were missing.
    let heard = deaf.read_to_end().await;
    assert!(heard.len() < published * (256 << 10));
}

#[tokio::test]
async fn late_reader_waits_and_loses_no_reply() {
    let embedded = Embedded::with(10, 256 << 10).await;
    let (mut input, mut output) = TcpStream::connect(embedded.address).await.unwrap().into_split();
    const COMMANDS: usize = 400;
    let echo = command(&[b"ECHO", &vec![b'x'; 64 << 10][..]]);
    let reply = (64 << 10) + "$65536\r\n\r\n".len();
    let writing = tokio::spawn(async move {
        for _ in 0..COMMANDS {
            output.write_all(&echo).await.unwrap();
        }
        output
    });
    let mut read = 0;
    let mut piece = vec![0; 16 << 10];
    while read < COMMANDS * reply {
        let bytes = timeout(DEADLINE, input.read(&mut piece)).await.unwrap().unwrap();
        assert!(bytes > 0, "cut off after {read} bytes");
        read += bytes;
        tokio::task::yield_now().await;
    }
    assert_eq!(read, COMMANDS * reply);
    writing.await.unwrap();
}

#[tokio::test]
async fn clients_beyond_the_limit_are_rejected() {
    let embedded = Embedded::with(2, 1 << 20).await;
    let mut first = Wire::tcp(embedded.address).await;
    let mut second = Wire::tcp(embedded.address).await;
    first.ask(b"").await;
    second.ask(b"").await;
    let mut third = Wire::tcp(embedded.address).await;
    assert_eq!(show(&third.read_to_end().await), "-ERR max number of clients reached ");
    first.ask(&words("QUIT")).await;
    let come_in =
        async { while !show(&Wire::tcp(embedded.address).await.ask(b"").await).starts_with("$11 mark-") {} };
    timeout(DEADLINE, come_in).await.expect("nobody gets in after one has left");
    second.ask(b"").await;
}

#[tokio::test]
async fn too_much_to_subscribe_to_is_refused() {
    let embedded = Embedded::start().await;
    let mut wire = Wire::tcp(embedded.address).await;
    let long = "x".repeat(1025);
    let answer = wire.ask(&words(&format!("PSUBSCRIBE {long}"))).await;
    assert!(answer.starts_with(b"-ERR a channel or pattern of the embedded bus has at most 1024 bytes\r\n"));
    let many: Vec<String> = (0..1100).map(|number| format!("{number:0>1000}")).collect();
    let many: Vec<&str> = std::iter::once("SUBSCRIBE").chain(many.iter().map(String::as_str)).collect();
    let answer = show(&wire.ask(&command(&many)).await);
    assert!(answer.contains("-ERR the subscriptions of one client of the embedded bus take at most "));
}

/// A TLS ClientHello whose session ticket holds bytes of a page's choice.
fn client_hello(ticket: &[u8]) -> Vec<u8> {
    let u16 = |number: usize| u16::try_from(number).unwrap().to_be_bytes();
    let extension = [&[0, 35][..], &u16(ticket.len()), ticket].concat();
    let tail = [&[0, 0, 2, 0x13, 0x01, 1, 0][..], &u16(extension.len()), &extension].concat();
    let body = [&[3, 3][..], &[7; 32], &tail].concat();
    let handshake = [&[1, 0][..], &u16(body.len()), &body].concat();
    [&[0x16, 3, 1][..], &u16(handshake.len()), &handshake].concat()
}

#[tokio::test]
async fn openings_of_other_protocols_run_no_command() {
    let embedded = Embedded::start().await;
    let mut wire = Wire::tcp(embedded.address).await;
    wire.ask(&words("XADD workspace:a * data x")).await;
    let attack = [
        b"\r\nFCALL tidings_publish 1 workspace:a attack\r\nDEL workspace:a\r\nPUBLISH tidings:control x\r\n"
            .to_vec(),
        words("DEL workspace:a"),
        words("PUBLISH tidings:control attack"),
    ]
    .concat();
    for opening in [
        client_hello(&attack),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\n".to_vec(),
        b"POST / HTTP/1.1\r\n".to_vec(),
        b"Host: 127.0.0.1:6380\r\n".to_vec(),
        b"EHLO page.example\r\n".to_vec(),
        b"USER anonymous\r\n".to_vec(),
        b"PING\r\n".to_vec(),
        b"\r\n".to_vec(),
    ] {
        let mut page = Wire::tcp(embedded.address).await;
        page.send(&[&opening[..], &attack].concat()).await;
        let answer = show(&page.read_to_end().await);
        assert_eq!(answer, "-ERR Protocol error: expected an array of bulk strings ");
        assert_eq!(
            show(&wire.ask(&words("XLEN workspace:a")).await).split(' ').next(),
            Some(":1"),
            "{answer}"
        );
    }
    assert!(embedded.feed.seen().is_empty(), "{:?}", embedded.feed.seen());
}
