//! An app that is down, slow, or closes connections.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::*;
use crate::{DenialKind, DenialReason};

/// Reads the head of one request; returns `None` if the client has closed.
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
    assert_eq!((denial.kind, denial.reason), (DenialKind::Passing, DenialReason::AppUnavailable));
}

/// Returns two sockets on one port. The port refuses connections until one listens, and no other
/// program can take it.
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

/// Responds to one request on a new connection, which it leaves open.
async fn serve_one(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    request(&mut stream).await.unwrap();
    stream.write_all(FINE).await.unwrap();
    stream
}

#[tokio::test]
async fn unreachable_app_denies_until_it_is_back() {
    let [first, second] = two_sockets();
    let auth = auth(first.local_addr().unwrap(), |_| {});
    passing(&auth).await;
    let listener = first.listen(8).unwrap();
    let (_, stream) = tokio::join!(user(&auth, "u1"), serve_one(&listener));
    // The app stops and closes the idle connection.
    drop((stream, listener));
    passing(&auth).await;
    let listener = second.listen(8).unwrap();
    tokio::join!(user(&auth, "u1"), serve_one(&listener));
}

#[tokio::test]
async fn broken_idle_connection_is_replaced() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let auth = auth(listener.local_addr().unwrap(), |_| {});
    let app = async {
        let mut first = serve_one(&listener).await;
        // The second request uses the same connection, which ends without a response.
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
async fn request_is_repeated_once_after_a_broken_connection() {
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
async fn late_response_does_not_count() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let auth = auth(listener.local_addr().unwrap(), |config| config.timeout_seconds = seconds(0.2));
    // The system accepts the connection; no program responds.
    let begun = Instant::now();
    passing(&auth).await;
    assert!(begun.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn head_decides_without_waiting_for_the_body() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let auth = auth(listener.local_addr().unwrap(), |_| {});
    for length in ["10", "9999999999"] {
        let response = format!("HTTP/1.1 200 OK\r\nx-tidings-user: u1\r\ncontent-length: {length}\r\n\r\nx");
        let (name, stream) = tokio::join!(user(&auth, "u1"), async {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream).await.unwrap();
            stream.write_all(response.as_bytes()).await.unwrap();
            stream
        });
        assert_eq!(name, "u1");
        drop(stream);
    }
}

#[tokio::test]
async fn response_that_is_invalid_or_too_large_does_not_count() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let auth = auth(listener.local_addr().unwrap(), |_| {});
    for response in
        ["no HTTP\r\n\r\n".to_owned(), format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(100_000))]
    {
        let mut app = JoinSet::new();
        tokio::join!(passing(&auth), async {
            // The request is repeated once.
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.unwrap();
                request(&mut stream).await.unwrap();
                let response = response.clone();
                app.spawn(async move {
                    // The client may close before it has read everything.
                    let _ = stream.write_all(response.as_bytes()).await;
                    let _ = stream.read_u8().await;
                });
            }
        });
    }
}
