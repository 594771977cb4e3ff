//! TLS towards the app and identity providers.

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;

/// Connections over TLS or without. With `tls` this reads the authorities that the system trusts (`SSL_CERT_FILE` and
/// `SSL_CERT_DIR` count), and thus blocks; a system that names none gets those that browsers trust.
///
/// # Errors
///
/// When the cryptography has no use for TLS 1.2 or 1.3, which ring has.
pub(super) fn connector(
    mut http: HttpConnector,
    tls: bool,
) -> Result<HttpsConnector<HttpConnector>, rustls::Error> {
    http.enforce_http(false);
    let provider = rustls::crypto::ring::default_provider;
    let system = tls.then(|| HttpsConnectorBuilder::new().with_provider_and_native_roots(provider()));
    let builder = match system {
        Some(Ok(builder)) => builder,
        Some(Err(_)) | None => HttpsConnectorBuilder::new().with_provider_and_webpki_roots(provider())?,
    };
    Ok(builder.https_or_http().enable_http1().wrap_connector(http))
}
