//! TLS in front of HTTP: versions 1.2 and 1.3, with HTTP/2 or HTTP/1.1 as the client prefers (RFC
//! 7301).

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use prometheus_client::metrics::histogram::Histogram;
use rustls::ServerConfig;
use rustls::crypto::ring;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificate::Certificates;

/// HTTP/2 in the words of ALPN.
const H2: &[u8] = b"h2";

/// The TLS part of a listener.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    handshake_seconds: Histogram,
}

impl Tls {
    /// TLS with whatever certificate is the current one at each handshake. Each handshake adds its
    /// time to the histogram.
    ///
    /// # Errors
    ///
    /// Only when the cryptography provider offers neither version, which ring does.
    pub fn new(certificates: &Certificates, handshake_seconds: Histogram) -> Result<Self, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certificates.resolver()));
        config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), handshake_seconds })
    }

    /// Does the handshake, and returns whether HTTP/2 was agreed on. Has no deadline of its own;
    /// after a cancellation the connection is of no use. The result is large, and boxed so that
    /// the futures of the connection do not move it.
    pub(crate) async fn accept<IO>(&self, io: IO) -> std::io::Result<(Box<TlsStream<IO>>, bool)>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let began = Instant::now();
        let accepted = self.acceptor.accept(io).await;
        self.handshake_seconds.observe(began.elapsed().as_secs_f64());
        let stream = accepted?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(H2);
        Ok((Box::new(stream), is_http2))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
