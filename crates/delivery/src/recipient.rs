//! The client of a stream.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use tidings_event::UserId;

/// The client of a stream.
#[derive(Debug, Clone)]
pub struct Recipient {
    /// The other end of the connection.
    pub address: SocketAddr,
    /// The client address, as trusted proxies report it.
    pub client: IpAddr,
    /// The user, if authentication found one.
    pub user: Option<UserId>,
    /// The reason for which the connection was aborted; set by the code that aborts it.
    pub abort: CloseReason,
}

/// The reason for which a connection was aborted outside its stream, if it was. Both share it.
pub type CloseReason = Arc<OnceLock<&'static str>>;
