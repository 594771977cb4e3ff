//! TLS on the public listener.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::broker::tidings;
use crate::support::directory::Directory;
use crate::support::raw::RawConnection;
use crate::support::tls::Certificates;
use crate::support::{Broker, BrokerOptions, DEADLINE, eventually};

const PATH: &str = "/api/workspaces/acme/events";

/// The files of a broker, whose contents change.
struct Files {
    directory: Directory,
}

impl Files {
    fn holding(certificates: &Certificates) -> Self {
        let files = Self { directory: Directory::new() };
        files.put(&certificates.certificate, "cert.pem");
        files.put(&certificates.key, "key.pem");
        files
    }

    /// Replaces one of the files as a whole.
    fn put(&self, from: &Path, name: &str) {
        let new = self.directory.write("new", std::fs::read(from).unwrap());
        std::fs::rename(new, self.directory.file(name)).unwrap();
    }

    fn options(&self) -> BrokerOptions {
        BrokerOptions::embedded()
            .set("server.tls.cert", self.directory.file("cert.pem").display())
            .set("server.tls.key", self.directory.file("key.pem").display())
    }
}

/// Connects by HTTP/1.1, trusting one authority.
async fn connect(
    broker: &Broker,
    authority: &Path,
    receive_buffer: Option<u32>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let socket = TcpSocket::new_v4()?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    let stream = socket.connect(broker.address()).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

/// Opens a stream and reads until the `connected` event.
async fn open_stream(broker: &Broker, authority: &Path, receive_buffer: Option<u32>) -> TlsStream<TcpStream> {
    let mut stream = connect(broker, authority, receive_buffer).await.expect("a handshake");
    let head = format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut stream, "\"connected\"").await;
    stream
}

async fn read_until(stream: &mut TlsStream<TcpStream>, wanted: &str) {
    let mut bytes = Vec::new();
    while !String::from_utf8_lossy(&bytes).contains(wanted) {
        let read =
            tokio::time::timeout(DEADLINE, stream.read_buf(&mut bytes)).await.expect("in time").unwrap();
        assert_ne!(read, 0, "the end came before {wanted:?}");
    }
}

/// What curl prints for a request, with the version of HTTP and the status behind the body.
async fn curl(arguments: &[&str], broker: &Broker, authority: &Path) -> String {
    let mut command = tokio::process::Command::new("curl");
    command
        .args(["-sS", "--max-time", "10", "-w", "[%{http_version} %{http_code}]", "--cacert"])
        .arg(authority);
    command.args(arguments).arg(format!("https://localhost:{}{PATH}", broker.address().port()));
    let output = command.output().await.unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

async fn publish(broker: &Broker, authority: &Path, payload: &str) {
    // A long argument would be too long.
    let directory = Directory::new();
    let file = directory.write("payload", payload);
    let body = format!("@{}", file.display());
    let answer = curl(&["--http1.1", "--data-binary", &body], broker, authority).await;
    assert!(answer.ends_with("[1.1 200]"), "{answer}");
}

#[tokio::test]
async fn either_version_of_http_by_the_clients_choice() {
    let certificates = Certificates::make();
    let broker = Broker::start_ready(Files::holding(&certificates).options()).await;
    let authority = certificates.authority.as_path();
    let mut reader = open_stream(&broker, authority, None).await;
    for (arguments, version) in [
        (["--http2", "--tlsv1.3"], "2"),
        (["--http1.1", "--tlsv1.3"], "1.1"),
        (["--http2", "--tls-max=1.2"], "2"),
    ] {
        let (first, second) = arguments[1].split_once('=').unwrap_or((arguments[1], ""));
        let payload = format!("by {arguments:?}");
        let mut all = vec![arguments[0], first];
        all.extend(Some(second).filter(|second| !second.is_empty()));
        all.extend(["-d", &payload]);
        let answer = curl(&all, &broker, authority).await;
        assert!(answer.ends_with(&format!("[{version} 200]")), "{answer}");
        read_until(&mut reader, &payload).await;
    }
    // A stream by HTTP/2, until curl gives up waiting for its end.
    let got = curl(&["--http2", "-N", "--max-time", "1"], &broker, authority).await;
    assert!(got.contains("\"connected\"") && got.contains("[2 200]"), "{got}");
    // The scheme is known, so a page of the same name that came in the clear is another.
    let port = broker.address().port();
    let (own, other) = (format!("https://localhost:{port}"), format!("http://localhost:{port}"));
    // A refusal that comes before the body was read has to arrive every time.
    for (origin, status) in [(&own, 200)].into_iter().chain([(&other, 403); 20]) {
        let answer = curl(&["-d", "x", "-H", &format!("Origin: {origin}")], &broker, authority).await;
        assert!(answer.ends_with(&format!(" {status}]")), "{answer}");
    }
    assert!(broker.status().await["certificateNotAfter"].as_str().unwrap().ends_with('Z'));
    assert!(broker.metric("tidings_tls_certificate_not_after_seconds").await.unwrap() > 1e9);
}

#[tokio::test]
async fn a_new_certificate_is_taken_without_a_restart() {
    for by_signal in [false, true] {
        let [old, new] = [Certificates::make(), Certificates::make()];
        let files = Files::holding(&old);
        let interval = if by_signal { 3600.0 } else { 0.1 };
        let broker = Broker::start_ready(files.options().set("server.tls.reload_seconds", interval)).await;
        let mut reader = open_stream(&broker, &old.authority, None).await;
        assert!(connect(&broker, &new.authority, None).await.is_err());
        files.put(&new.key, "key.pem");
        files.put(&new.certificate, "cert.pem");
        if by_signal {
            broker.signal(Signal::SIGHUP);
        }
        eventually("the new one is served", DEADLINE, async || {
            connect(&broker, &new.authority, None).await.is_ok()
        })
        .await;
        assert!(connect(&broker, &old.authority, None).await.is_err());
        publish(&broker, &new.authority, "after the change").await;
        read_until(&mut reader, "after the change").await;
    }
}

/// An invalid certificate never replaces a valid one.
#[tokio::test]
async fn a_pair_that_is_no_good_leaves_the_one_before() {
    let [old, new] = [Certificates::make(), Certificates::make()];
    let files = Files::holding(&old);
    let broker = Broker::start_ready(files.options().set("server.tls.reload_seconds", 0.05)).await;
    files.put(&new.key, "key.pem");
    let complaints = || broker.log().matches("cannot be read again").count();
    eventually("the log says so", DEADLINE, async || complaints() == 1).await;
    assert!(broker.log().contains("the key is not that of the first certificate"), "{}", broker.log());
    assert!(connect(&broker, &old.authority, None).await.is_ok());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(complaints(), 1, "once for each change");
    files.put(&new.certificate, "cert.pem");
    eventually("the pair is whole again", DEADLINE, async || {
        connect(&broker, &new.authority, None).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn plain_text_on_a_tls_port_is_closed() {
    let certificates = Certificates::make();
    let files = Files::holding(&certificates);
    let broker = Broker::start_ready(files.options().set("server.header_timeout_seconds", 0.5)).await;
    let mut plain = RawConnection::open(broker.address()).await;
    plain.send(format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
    let begun = Instant::now();
    let answer = plain.closed(DEADLINE).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    let mut silent = RawConnection::open(broker.address()).await;
    silent.closed(DEADLINE).await;
    // The default is 10 seconds.
    assert!(begun.elapsed() < Duration::from_secs(10));
    publish(&broker, &certificates.authority, "others are served").await;
}

#[tokio::test]
async fn client_that_takes_no_bytes_over_tls_is_closed() {
    let certificates = Certificates::make();
    let files = Files::holding(&certificates);
    let options =
        files.options().set("server.write_timeout_seconds", 1).set("server.send_buffer_bytes", 16384);
    let broker = Broker::start_ready(options).await;
    let stalled = open_stream(&broker, &certificates.authority, Some(8192)).await;
    let mut reader = open_stream(&broker, &certificates.authority, None).await;
    let payload = "x".repeat(200_000);
    for number in 0..5 {
        publish(&broker, &certificates.authority, &format!("{number}:{payload}")).await;
        read_until(&mut reader, &format!("{number}:xxx")).await;
    }
    let reading = tokio::spawn(async move {
        read_until(&mut reader, "the last").await;
    });
    eventually("it is cut", DEADLINE, async || broker.status().await["subscribers"] == 1).await;
    let line = || broker.log().lines().any(|line| line.contains("why=\"takes no bytes"));
    eventually("the log says why", DEADLINE, async || line()).await;
    publish(&broker, &certificates.authority, "the last").await;
    reading.await.unwrap();
    drop(stalled);
}

#[test]
fn a_pair_is_checked_before_it_is_served() {
    let [one, other] = [Certificates::make(), Certificates::make()];
    let run = |command: &str, key: &Path| {
        let mut tidings: Command = tidings();
        tidings.arg(command).env("TIDINGS__SERVER__TLS__CERT", &one.certificate);
        tidings.env("TIDINGS__SERVER__TLS__KEY", key).env("TIDINGS__EMBEDDED__LISTEN", "");
        tidings.env("TIDINGS__SERVER__LISTEN", "127.0.0.1:0").env("TIDINGS__ADMIN__LISTEN", "127.0.0.1:0");
        let output = tidings.output().unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.code(), text)
    };
    let (code, text) = run("check", &one.key);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("certificate: it goes with its key and ends on 2"), "{text}");
    for command in ["check", "serve"] {
        let (code, text) = run(command, &other.key);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("the key is not that of the first certificate"), "{text}");
        let (code, text) = run(command, &one.certificate);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("there is no private key in it"), "{text}");
        let (code, text) = run(command, Path::new("/nowhere/key.pem"));
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("/nowhere/key.pem: No such file"), "{text}");
        let (code, text) = run(command, Path::new(""));
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("server.tls.cert and server.tls.key go together"), "{text}");
    }
}
