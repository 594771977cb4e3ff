//! The listener for Redis clients.

use std::collections::HashMap;
use std::io;
use std::mem::{Discriminant, discriminant};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::listener::connection::{self, ClientContext, ConnectionEnd};
use tidings_metrics::Throttle;
use tidings_settings::SecretText;

/// The pause after a failed accept. It fails for as long as the process has no file descriptors
/// left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the embedded bus cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Others can reach the address, and would need no password.
    #[error(
        "without embedded.password the embedded bus listens on loopback addresses only, such as 127.0.0.1:6380, and not on {0}"
    )]
    OpenToOthers(SocketAddr),
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {error}")]
    Io {
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        error: io::Error,
    },
}

/// Binds the address for Redis clients; port 0 picks a free port.
///
/// # Errors
///
/// [`BindError`], when the address is not a loopback address and there is no password, or when it
/// cannot be bound.
pub async fn bind(address: SocketAddr, password: &SecretText) -> Result<TcpListener, BindError> {
    if password.is_empty() && !address.ip().to_canonical().is_loopback() {
        return Err(BindError::OpenToOthers(address));
    }
    TcpListener::bind(address).await.map_err(|error| BindError::Io { address, error })
}

/// Listens on a socket that is open already.
///
/// # Errors
///
/// [`BindError`], when its address is not a loopback address and there is no password, or when it
/// cannot be used.
pub fn adopt(listener: std::net::TcpListener, password: &SecretText) -> Result<TcpListener, BindError> {
    let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
    let address = listener.local_addr().map_err(|error| BindError::Io { address: unknown, error })?;
    if password.is_empty() && !address.ip().to_canonical().is_loopback() {
        return Err(BindError::OpenToOthers(address));
    }
    let adopted = listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener));
    adopted.map_err(|error| BindError::Io { address, error })
}

/// Accepts clients and owns their tasks until `stop`; no task is left when it returns.
pub(crate) async fn listen(listener: TcpListener, context: ClientContext, stop: CancellationToken) {
    let mut clients = JoinSet::new();
    let (accept_log, full_log, disconnect_log) =
        (Throttle::default(), Throttle::default(), Arc::new(DisconnectLog::default()));
    loop {
        // Ended tasks come first, so that they free their place.
        select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = clients.join_next() => report(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if clients.len() >= context.clients_max && !context.unauthenticated.close_oldest() => {
                    if let Some(silenced) = full_log.pass() {
                        tracing::warn!(clients_max = context.clients_max, silenced, "the embedded bus rejects clients: embedded.clients is reached");
                    }
                    turn_away(&stream);
                }
                Ok((stream, address)) => {
                    // Replies are written whole; to hold them back for more would only cost time.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(client.address = %address, %error, "cannot set TCP_NODELAY");
                    }
                    let place = (!context.password.is_empty()).then(|| context.unauthenticated.enter());
                    let served = connection::serve(stream, context.clone(), place, stop.clone());
                    let disconnect_log = Arc::clone(&disconnect_log);
                    clients.spawn(async move { disconnect_log.log(address, &served.await) });
                }
                Err(error) => {
                    if let Some(silenced) = accept_log.pass() {
                        tracing::warn!(%error, silenced, "the embedded bus cannot accept a client");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while let Some(ended) = clients.join_next().await {
        report(ended);
    }
}

/// Passes one line a second for each reason for which clients are disconnected.
#[derive(Debug, Default)]
struct DisconnectLog(Mutex<HashMap<Discriminant<ConnectionEnd>, Throttle>>);

impl DisconnectLog {
    fn log(&self, address: SocketAddr, ended: &ConnectionEnd) {
        if let ConnectionEnd::Left | ConnectionEnd::Stopped | ConnectionEnd::Socket(_) = ended {
            tracing::debug!(client.address = %address, "a client of the embedded bus is gone: {ended}");
        } else if let Some(silenced) = self.0.lock().entry(discriminant(ended)).or_default().pass() {
            tracing::warn!(client.address = %address, silenced, "the embedded bus disconnected a client: {ended}");
        }
    }
}

/// Says why, as far as a new socket takes it at once, and closes.
fn turn_away(stream: &TcpStream) {
    if let Err(error) = stream.try_write(b"-ERR max number of clients reached\r\n") {
        tracing::debug!(%error, "cannot send the client its rejection");
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "serving a client of the embedded bus failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn listens_on_loopback_addresses_only_unless_there_is_a_password() {
        let (none, some) = (SecretText::default(), SecretText::new("correct horse battery"));
        for address in ["0.0.0.0:0", "192.0.2.1:0", "[::]:0"] {
            let bound = bind(address.parse().unwrap(), &none).await;
            assert!(matches!(bound, Err(BindError::OpenToOthers(_))), "{address}");
        }
        bind("0.0.0.0:0".parse().unwrap(), &some).await.unwrap();
        let first = bind("127.0.0.1:0".parse().unwrap(), &none).await.unwrap();
        let taken = bind(first.local_addr().unwrap(), &none).await;
        assert!(matches!(taken, Err(BindError::Io { .. })));
        let open = |address: &str| std::net::TcpListener::bind(address).unwrap();
        assert!(matches!(adopt(open("0.0.0.0:0"), &none), Err(BindError::OpenToOthers(_))));
        adopt(open("0.0.0.0:0"), &some).unwrap();
        adopt(open("127.0.0.1:0"), &none).unwrap();
    }
}
