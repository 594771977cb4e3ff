//! Sockets with their options, and files of sockets.

use std::future::poll_fn;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const OPTIONS: SocketSettings = SocketSettings {
    keepalive: Duration::from_secs(45),
    user_timeout: Duration::from_secs(31),
    send_buffer: 50_000,
    unix_mode: 0o640,
};

async fn accept(socket: &ListenSocket) -> TcpStream {
    poll_fn(|context| socket.poll_accept(context)).await.unwrap().0
}

fn tcp_address(socket: &ListenSocket) -> SocketAddr {
    match socket.address().unwrap() {
        ListenAddress::Socket(address) => address,
        other => panic!("{other}"),
    }
}

/// All options of a connection, in one value to compare.
fn options(stream: &TcpStream) -> (bool, bool, Duration, Duration, u32, usize) {
    let socket = SockRef::from(stream);
    #[cfg(target_os = "linux")]
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(OPTIONS.user_timeout));
    (
        socket.tcp_nodelay().unwrap(),
        socket.keepalive().unwrap(),
        socket.tcp_keepalive_time().unwrap(),
        socket.tcp_keepalive_interval().unwrap(),
        socket.tcp_keepalive_retries().unwrap(),
        socket.send_buffer_size().unwrap(),
    )
}

#[tokio::test]
async fn accepted_sockets_have_the_options_also_from_a_passed_listener() {
    let bound = ListenSocket::bind_tcp("127.0.0.1:0".parse().unwrap(), &OPTIONS).unwrap();
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    // This connection waits before the node knows the listener.
    let _early = TcpStream::connect(plain.local_addr().unwrap()).await.unwrap();
    let passed = ListenSocket::passed(PassedSocket::Tcp(plain), &OPTIONS).unwrap();
    let _client = TcpStream::connect(tcp_address(&bound)).await.unwrap();
    let accepted = options(&accept(&bound).await);
    assert_eq!(accepted, options(&accept(&passed).await));
    assert_eq!((accepted.0, accepted.2), (true, OPTIONS.keepalive));
}

#[tokio::test]
async fn socket_file_has_its_mode_and_ends_with_its_listener() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("http.sock");
    let socket = ListenSocket::bind_unix(&path, &OPTIONS).await.unwrap();
    assert_eq!(socket.address().unwrap(), ListenAddress::Unix(path.clone()));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    let mut client = tokio::net::UnixStream::connect(&path).await.unwrap();
    client.write_all(b"ping").await.unwrap();
    let mut accepted = accept(&socket).await;
    let mut received = [0; 4];
    accepted.read_exact(&mut received).await.unwrap();
    assert_eq!(&received, b"ping");

    let error = ListenSocket::bind_unix(&path, &OPTIONS).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "a process listens there");
    drop(socket);
    assert!(!path.exists());
}

#[tokio::test]
async fn listener_that_accepts_nothing_holds_up_no_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("http.sock");
    let address = SockAddr::unix(&path).unwrap();
    let socket = || Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).unwrap();
    let full = socket();
    full.bind(&address).unwrap();
    full.listen(0).unwrap();
    let mut waiting = vec![];
    let error = loop {
        let client = socket();
        match client.connect(&address) {
            Ok(()) => waiting.push(client),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "the queue is full");
    let error = ListenSocket::bind_unix(&path, &OPTIONS).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn stale_socket_is_replaced_and_any_other_file_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("http.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a process that was killed leaves it");
    let socket = ListenSocket::bind_unix(&path, &OPTIONS).await.unwrap();

    // Another socket has taken the path: it is not this one's to remove.
    fs::remove_file(&path).unwrap();
    let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(socket);
    assert!(path.exists());

    let text = directory.path().join("text");
    fs::write(&text, "precious").unwrap();
    let error = ListenSocket::bind_unix(&text, &OPTIONS).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&text).unwrap(), b"precious");
}

/// Each round begins with a file that a process left behind, which all of them may replace.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_several_binds_at_a_time_succeeds() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..300 {
        let path = directory.path().join("http.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let start = std::sync::Arc::new(tokio::sync::Barrier::new(4));
        let binds: Vec<_> = (0..4)
            .map(|_| {
                let (path, start) = (path.clone(), std::sync::Arc::clone(&start));
                tokio::spawn(async move {
                    start.wait().await;
                    ListenSocket::bind_unix(&path, &OPTIONS).await
                })
            })
            .collect();
        let mut bound = vec![];
        for bind in binds {
            match bind.await.unwrap() {
                Ok(socket) => bound.push(socket),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}"),
            }
        }
        assert_eq!(bound.len(), 1, "in round {round}");
        tokio::net::UnixStream::connect(&path).await.unwrap();
    }
}
