//! Asking the app over TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderMap;
use tidings::config::Config;
use tidings_auth::ForwardUrl;
use tidings_auth::forward::{Decision, ForwardAuth};
use tidings_auth::{Action, Denial, DenialKind, DenialReason};
use tidings_event::workspace::WorkspaceId;
use tidings_metrics::ForwardMetrics;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::DEADLINE;
use crate::support::tls::Certificates;

/// The port of the app, for the run of the test in a process of its own, which trusts the authority
/// in `SSL_CERT_FILE`.
const TRUSTING: &str = "TIDINGS_TEST_FORWARD_TLS_PORT";

async fn ask(port: u16) -> Result<Decision, Denial> {
    let mut config = Config::defaults().auth.forward;
    config.url = ForwardUrl::new(format!("https://localhost:{port}/{{workspace}}"));
    let auth = ForwardAuth::new(&config, ForwardMetrics::default()).unwrap();
    let asking = auth.auth_request(&HeaderMap::new(), [192, 0, 2, 7].into(), "https", None, "/");
    auth.ask(&WorkspaceId::parse("acme").unwrap(), Action::Subscribe, &asking).await
}

/// An app that accepts every client, with a certificate. Serves until it is dropped.
async fn serve(listener: TcpListener, certificates: &Certificates) {
    let chain = CertificateDer::from_pem_file(&certificates.certificate).unwrap();
    let key = PrivateKeyDer::from_pem_file(&certificates.key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        // A client that does not trust the certificate leaves here.
        let Ok(mut stream) = acceptor.accept(stream).await else { continue };
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await.unwrap();
        let _ = stream.shutdown().await;
    }
}

#[tokio::test]
async fn app_needs_a_trusted_certificate() {
    if let Ok(port) = std::env::var(TRUSTING) {
        ask(port.parse().unwrap()).await.unwrap();
        return;
    }
    let certificates = Certificates::make();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let asks = async {
        let denial = ask(address.port()).await.unwrap_err();
        assert_eq!((denial.kind, denial.reason), (DenialKind::Passing, DenialReason::AppUnavailable));
        let mut itself = Command::new(std::env::current_exe().unwrap());
        itself.args(["--exact", "forward_tls::app_needs_a_trusted_certificate"]);
        itself.env(TRUSTING, address.port().to_string()).env("SSL_CERT_FILE", &certificates.authority);
        let output = timeout(DEADLINE, itself.kill_on_drop(true).output()).await.expect("an end").unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    };
    tokio::select! {
        () = asks => {}
        () = serve(listener, &certificates) => {}
    }
}
