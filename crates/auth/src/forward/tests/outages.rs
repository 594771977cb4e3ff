//! An app that is away, slow, or gives up a connection.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::*;
use crate::{DenialKind, DenialReason};

/// Reads the head of one request; `None` where the client has closed.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return None,
        }
    }
    Some(String::from_utf8(head).unwrap())
}

const FINE: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

async fn passing(auth: &ForwardAuth) {
    let denial = read(auth, &of_user(auth, "u1")).await.unwrap_err();
    assert_eq!((denial.standing, denial.check), (DenialKind::Passing, DenialReason::AppUnavailable));
}

/// Two sockets on one port, of which neither listens yet: so the port is refused until one does, and nobody else's.
fn two_sockets() -> [TcpSocket; 2] {
    let socket = |address| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        socket
    };
    let first = socket("127.0.0.1:0".parse().unwrap());
    let address = first.local_addr().unwrap();
    [first, socket(address)]
}

/// Answers one request on a new connection, which it leaves open.
async fn serve_one(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    request(&mut stream).await.unwrap();
    stream.write_all(FINE).await.unwrap();
    stream
}

#[tokio::test]
async fn an_app_that_is_away_refuses_and_lets_in_when_it_is_back() {
    let [first, second] = two_sockets();
    let auth = auth(first.local_addr().unwrap(), |_| {});
    passing(&auth).await;
    let listener = first.listen(8).unwrap();
    let (_, stream) = tokio::join!(user(&auth, "u1"), serve_one(&listener));
    // It goes, and takes the connection that was kept with it.
    drop((stream, listener));
    passing(&auth).await;
    let listener = second.listen(8).unwrap();
    tokio::join!(user(&auth, "u1"), serve_one(&listener));
}

#[tokio::test]
async fn a_kept_connection_that_breaks_under_a_request_is_replaced() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let auth = auth(listener.local_addr().unwrap(), |_| {});
    let app = async {
        let mut first = serve_one(&listener).await;
        // The second request comes over the same connection, which ends without an answer.
        request(&mut first).await.unwrap();
        drop(first);
        let (mut second, _) = listener.accept().await.unwrap();
        let repeated = request(&mut second).await.unwrap();
        second.write_all(FINE).await.unwrap();
        repeated
    };
    let (repeated, ()) = tokio::join!(app, async {
        user(&auth, "u1").await;
        user(&auth, "u2").await;
    });
    assert!(repeated.contains("session=u2"), "{repeated}");
}

#[tokio::test]
async fn an_app_that_breaks_off_always_is_asked_twice_and_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let auth = auth(listener.local_addr().unwrap(), |_| {});
    let mut app = JoinSet::new();
    let accepted = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&accepted);
    app.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            *counted.lock() += 1;
            request(&mut stream).await;
        }
    });
    passing(&auth).await;
    assert_eq!(*accepted.lock(), 2);
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_does_not_count() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let auth = auth(listener.local_addr().unwrap(), |config| config.timeout_seconds = seconds(0.2));
    // The system accepts; nobody answers.
    let begun = Instant::now();
    passing(&auth).await;
    assert!(begun.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_body_is_not_waited_for_and_its_head_decides() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let auth = auth(listener.local_addr().unwrap(), |_| {});
    for length in ["10", "9999999999"] {
        let answer = format!("HTTP/1.1 200 OK\r\nx-tidings-user: u1\r\ncontent-length: {length}\r\n\r\nx");
        let (name, stream) = tokio::join!(user(&auth, "u1"), async {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream
        });
        assert_eq!(name, "u1");
        drop(stream);
    }
}

#[tokio::test]
async fn what_is_no_http_or_too_much_of_it_does_not_count() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let auth = auth(listener.local_addr().unwrap(), |_| {});
    for answer in
        ["no HTTP\r\n\r\n".to_owned(), format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(100_000))]
    {
        let mut app = JoinSet::new();
        tokio::join!(passing(&auth), async {
            // Each of the two times.
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.unwrap();
                request(&mut stream).await.unwrap();
                let answer = answer.clone();
                app.spawn(async move {
                    // The client may have seen enough before the end.
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.read_u8().await;
                });
            }
        });
    }
}
