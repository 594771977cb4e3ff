//! Whom a stream goes to.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

/// Whom a stream goes to.
#[derive(Debug, Clone)]
pub struct Recipient {
    /// The other end of the connection.
    pub address: SocketAddr,
    /// The client behind it, as far as trusted proxies tell.
    pub client: IpAddr,
    /// Why the connection was cut, if it was; set by whoever cuts it.
    pub abort: CloseReason,
}

/// Why a connection was cut from outside its stream, if it was; shared by the two.
pub type CloseReason = Arc<OnceLock<&'static str>>;
