//! What an idle stream takes of the program's memory where it stays with hyper: over TLS, over
//! HTTP/2, or because the configuration says so.
//!
//! Nearly all of it belongs to the libraries and cannot be configured. A connection has buffers of
//! 16 KiB (HTTP/1.1) or 28 KiB (HTTP/2), of which about half is ever touched. With TLS it has a
//! buffer of 4 KiB and the state of a session, 4 KiB. The budgets are some percent above the
//! measurements, which differ by up to 2 % between runs, so that an addition shows.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::ALONE;
use super::process::{REQUEST, ask, connect, memory_bytes, quiet, start};
use super::support::http2_frames::{PREFACE, SETTINGS, frame, get};
use super::support::tls::Certificates;
use super::support::{Broker, BrokerOptions};

/// Connections that come before anything is measured, for what the first of them bring along for
/// all that follow.
const FIRST: usize = 50;

/// What is measured.
struct Kind {
    name: &'static str,
    tls: bool,
    http2: bool,
    connections: usize,
    /// Of each connection.
    streams: usize,
    /// The most that a stream may take.
    budget_bytes: usize,
}

#[test]
fn a_stream_over_http1_takes_little() {
    let name = "HTTP/1.1 by hyper";
    measure(&Kind { name, tls: false, http2: false, connections: 1_500, streams: 1, budget_bytes: 17 << 10 });
}

#[test]
fn a_stream_over_tls_takes_little() {
    let name = "HTTP/1.1 over TLS";
    measure(&Kind { name, tls: true, http2: false, connections: 700, streams: 1, budget_bytes: 26 << 10 });
}

#[test]
fn a_stream_over_http2_and_tls_takes_little() {
    let name = "HTTP/2 over TLS";
    measure(&Kind { name, tls: true, http2: true, connections: 700, streams: 1, budget_bytes: 36 << 10 });
}

#[test]
fn a_stream_of_a_hundred_over_http2_takes_little() {
    let name = "HTTP/2, one of 100 streams";
    measure(&Kind { name, tls: false, http2: true, connections: 80, streams: 100, budget_bytes: 3_900 });
}

fn measure(kind: &Kind) {
    let _alone = ALONE.lock();
    let certificates = kind.tls.then(Certificates::make);
    let broker = start(options(certificates.as_ref()));
    let tls = certificates.as_ref().map(client_config);
    let open = || open(&broker, kind, tls.as_ref());
    let mut connections: Vec<_> = (0..FIRST.min(kind.connections)).map(|_| open()).collect();
    let before = memory_bytes(&broker);
    connections.extend((0..kind.connections).map(|_| open()));
    let each = memory_bytes(&broker).saturating_sub(before) / (kind.connections * kind.streams);
    println!("{}: {each} bytes each", kind.name);
    assert!(each <= kind.budget_bytes, "{}: {each} bytes each", kind.name);
}

fn options(certificates: Option<&Certificates>) -> BrokerOptions {
    let options = quiet().set("delivery.writer", "body");
    match certificates {
        Some(Certificates { certificate, key, .. }) => {
            options.set("server.tls.cert", certificate.display()).set("server.tls.key", key.display())
        }
        None => options,
    }
}

/// A client that trusts the authority of a test.
fn client_config(certificates: &Certificates) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&certificates.authority).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// Something that bytes go through both ways, kept only so that it stays open.
trait Wire: Read + Write {}

impl<T: Read + Write> Wire for T {}

/// Opens the streams of a connection.
fn open(broker: &Broker, kind: &Kind, tls: Option<&Arc<ClientConfig>>) -> Box<dyn Wire> {
    let socket = connect(broker);
    let mut wire: Box<dyn Wire> = match tls {
        Some(config) => {
            let mut config = ClientConfig::clone(config);
            config.alpn_protocols = vec![if kind.http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
            let name = ServerName::try_from("localhost").unwrap();
            Box::new(StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), socket))
        }
        None => Box::new(socket),
    };
    if kind.http2 {
        let mut request = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
        for stream in 0..u32::try_from(kind.streams).unwrap() {
            request.extend(get(&broker.address().to_string(), 2 * stream + 1, "acme"));
        }
        ask(&mut wire, &request, kind.streams);
    } else {
        ask(&mut wire, REQUEST, 1);
    }
    wire
}
