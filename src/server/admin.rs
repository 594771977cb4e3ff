//! Builds the admin listener.

use std::sync::Arc;

use tokio::net::TcpListener;

use super::listener::ListenerSettings;
use crate::admin::{self, Node};
use crate::http::{Listener, Origins};

/// The admin listener on a bound socket. No page of another origin may read it.
pub(super) fn listener(settings: ListenerSettings, bound: TcpListener, node: &Arc<Node>) -> Listener {
    settings.listener(bound, admin::routes(node), Arc::new(Origins::default()))
}
