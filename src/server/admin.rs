//! Builds the admin listener.

use std::sync::Arc;

use super::listener::ListenerSettings;
use crate::admin::{self, Node};
use crate::http::{CorsRules, ListenSocket, Listener};

/// The admin listener on open sockets. No page of another origin may read it.
pub(super) fn listener(settings: ListenerSettings, sockets: Vec<ListenSocket>, node: &Arc<Node>) -> Listener {
    settings.listener(sockets, admin::routes(node), Arc::new(CorsRules::default()))
}
