//! Builds the admin listener, and its console.

use std::sync::Arc;

use super::listener::ListenerSettings;
use crate::admin::console::Console;
use crate::admin::{self, Node};
use crate::http::{CorsRules, ListenSocket, Listener};

/// The admin listener.
#[derive(Debug)]
pub(super) struct AdminListener {
    /// The listener; has to be run.
    pub(super) listener: Listener,
    /// The console; has to be run.
    pub(super) console: Arc<Console>,
}

impl AdminListener {
    /// The admin listener on open sockets. No page of another origin may read it.
    pub(super) fn new(
        settings: ListenerSettings,
        sockets: Vec<ListenSocket>,
        node: &Arc<Node>,
        console: Console,
    ) -> Self {
        let console = Arc::new(console);
        let routes = admin::routes(node, &console);
        let (origins, metrics) = (Arc::new(CorsRules::default()), Arc::clone(node.metrics()));
        Self { listener: settings.listener(sockets, routes, origins, metrics), console }
    }
}
