//! The proxy in front of a server that sends back what it gets.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{ChaosProxy, Toward, Transfer};

/// A server that sends back what it gets, behind a proxy, and a connection to it.
async fn echo_behind_a_proxy() -> (ChaosProxy, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = ChaosProxy::start(listener.local_addr().unwrap()).await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reads, mut writes) = stream.split();
                tokio::io::copy(&mut reads, &mut writes).await
            });
        }
    });
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(echoed(&mut stream, "a").await.as_deref(), Some("a"));
    (proxy, stream)
}

/// Sends a text and returns its echo within a while; `None` if the connection ended.
async fn echoed(stream: &mut TcpStream, text: &str) -> Option<String> {
    stream.write_all(text.as_bytes()).await.ok()?;
    let mut buffer = [0; 100];
    match tokio::time::timeout(Duration::from_millis(400), stream.read(&mut buffer)).await {
        Ok(Ok(0) | Err(_)) => None,
        Ok(Ok(count)) => Some(String::from_utf8(buffer[..count].to_vec()).unwrap()),
        Err(_) => Some(String::new()),
    }
}

#[tokio::test]
async fn a_chaos_proxy_delays_and_keeps_the_order() {
    let (proxy, mut stream) = echo_behind_a_proxy().await;
    proxy.set(Toward::Client, Transfer::Delay(Duration::from_millis(600)));
    assert_eq!(echoed(&mut stream, "b").await.unwrap(), "");
    assert_eq!(echoed(&mut stream, "c").await.unwrap(), "b");
    proxy.heal();
    assert_eq!(echoed(&mut stream, "d").await.unwrap().chars().next(), Some('c'));
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn chaos_proxy_swallows_a_direction_and_ends_its_connections() {
    for toward in [Toward::Server, Toward::Client] {
        let (proxy, mut stream) = echo_behind_a_proxy().await;
        proxy.set_open(toward, Transfer::Swallow);
        assert_eq!(echoed(&mut stream, "b").await.unwrap(), "");
        // Connections that are made later work.
        let mut other = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(echoed(&mut other, "c").await.unwrap(), "c");
        proxy.heal();
        assert_eq!(echoed(&mut stream, "d").await, None);
        assert_eq!(echoed(&mut other, "e").await.unwrap(), "e");
        proxy.set(toward, Transfer::Swallow);
        let mut other = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(echoed(&mut other, "f").await.unwrap(), "");
    }
}

#[tokio::test]
async fn chaos_proxy_closes_and_loses_the_tail() {
    let (proxy, mut stream) = echo_behind_a_proxy().await;
    let (cut, answer) =
        tokio::join!(proxy.close_losing_tail(Duration::from_millis(100)), echoed(&mut stream, "lost"));
    assert_eq!((cut, answer), ((), None));
    assert_eq!(proxy.connections(), 0);
}
