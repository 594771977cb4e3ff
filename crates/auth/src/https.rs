//! TLS to the app and identity providers.

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;

/// Returns a connector with or without TLS.
///
/// With `tls` it reads the authorities that the system trusts, also from `SSL_CERT_FILE` and
/// `SSL_CERT_DIR`, and so blocks. If the system has none, it uses those that browsers trust.
///
/// # Errors
///
/// Returns an error if the cryptography supports neither TLS 1.2 nor 1.3; ring supports both.
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
