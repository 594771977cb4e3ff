//! The reasons for which a server cannot start.

use std::io;

use super::traces::TraceError;
use crate::admin::console::AdminTokenError;
use crate::files::TooFewFiles;
use crate::http::CertificateError;
use tidings_auth::forward;
use tidings_auth::jwt::JwtSetupError;
use tidings_bus::redis::ConnectError;
use tidings_embedded as embedded;
use tidings_schemas::SchemaError;
use tidings_settings::ListenAddress;

/// A server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no file left for a connection.
    #[error(transparent)]
    Files(#[from] TooFewFiles),
    /// An address cannot be bound.
    #[error("cannot listen on {address} ({key}): {source}")]
    Bind {
        /// The configuration key of the address.
        key: &'static str,
        /// The address.
        address: ListenAddress,
        /// What the system says.
        source: io::Error,
    },
    /// The system does not say what was bound.
    #[error("cannot learn the address of a listener: {0}")]
    Address(#[source] io::Error),
    /// The embedded bus cannot listen.
    #[error("{0} (embedded.listen)")]
    Embedded(#[from] embedded::BindError),
    /// The embedded bus got passed sockets that it cannot listen on.
    #[error("the embedded bus needs one passed TCP socket, and no others (FileDescriptorName=bus)")]
    BusSocket,
    /// The logs of the embedded bus cannot be had.
    #[error("{0} (embedded.path)")]
    Log(#[from] embedded::OpenError),
    /// The keys for tokens cannot be had.
    #[error("{0} (auth.jwt)")]
    Jwt(#[from] JwtSetupError),
    /// The admin token cannot be had.
    #[error("{0} (admin.token_file)")]
    AdminToken(#[from] AdminTokenError),
    /// Asking the app cannot be prepared.
    #[error("{0} (auth.forward)")]
    Forward(#[from] forward::SetupError),
    /// There is no certificate to speak TLS with.
    #[error("{0} (server.tls)")]
    Certificate(#[from] CertificateError),
    /// The cryptography provider does not serve.
    #[error("cannot speak TLS: {0} (server.tls)")]
    Tls(#[from] rustls::Error),
    /// The threads that write streams cannot wait for sockets.
    #[error("cannot prepare the threads that write streams: {0} (delivery.shards)")]
    Engine(#[source] io::Error),
    /// The schemas of event types cannot be used.
    #[error("{0}\n(schemas.path)")]
    Schemas(#[from] SchemaError),
    /// The threads that check events cannot be started.
    #[error("cannot start the threads that check events: {0} (schemas.mode)")]
    SchemaThreads(#[source] io::Error),
    /// The collector of traces cannot be used.
    #[error("{0} (tracing.otlp)")]
    Traces(#[from] TraceError),
    /// The link to Redis cannot be prepared.
    #[error(transparent)]
    Redis(#[from] ConnectError),
}
