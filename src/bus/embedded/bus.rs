//! The bus itself: the exchange, kept in line with the interest.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::{join, select};
use tokio_util::sync::CancellationToken;

use super::connection::ClientLimits;
use super::exchange::Exchange;
use super::listener::listen;
use crate::bus::{
    Bus, BusState, Change, Feed, Interest, Link, LogError, LogPage, Publication, PublishError, Published,
    Span, StateCell,
};
use crate::config::EmbeddedConfig;
use crate::workspace::WorkspaceId;

/// The bus that runs in the process, with a listener for Redis clients or without.
#[derive(Debug)]
pub struct EmbeddedBus {
    exchange: Arc<Exchange>,
    interest: Arc<Interest>,
    state: StateCell,
    listener: Mutex<Option<TcpListener>>,
    clients_max: usize,
    limits: ClientLimits,
}

impl EmbeddedBus {
    /// A bus that does nothing until it is run. The listener comes from [`bind`](super::bind). `event_bytes` is the
    /// largest payload of an event; a somewhat larger one reaches the feed, which refuses it, and commands beyond that
    /// are not read.
    #[must_use]
    pub fn new(
        config: &EmbeddedConfig,
        channel_prefix: &str,
        event_bytes: usize,
        interest: Arc<Interest>,
        listener: Option<TcpListener>,
    ) -> Self {
        let state = StateCell::new("embedded");
        state.set_server(format!("tidings {} (embedded)", env!("CARGO_PKG_VERSION")));
        Self {
            exchange: Arc::new(Exchange::new(channel_prefix)),
            interest,
            state,
            listener: Mutex::new(listener),
            clients_max: config.clients,
            limits: ClientLimits { event_bytes, output_bytes: config.output_bytes },
        }
    }

    /// Brings the feed's subscriptions in line with the interest as it changes, forever.
    async fn follow_interest(&self) {
        for workspace in self.interest.take_all() {
            self.exchange.confirm(&workspace);
        }
        loop {
            self.interest.changed().await;
            for (workspace, change) in self.interest.take_changes() {
                match change {
                    Change::Want => self.exchange.confirm(&workspace),
                    Change::Release => self.exchange.release(&workspace),
                }
            }
        }
    }

    async fn serve_clients(&self, stop: &CancellationToken) {
        let listener = self.listener.lock().take();
        if let Some(listener) = listener {
            listen(listener, Arc::clone(&self.exchange), self.clients_max, self.limits, stop.clone()).await;
        }
    }
}

impl Bus for EmbeddedBus {
    fn run(self: Arc<Self>, feed: Arc<dyn Feed>, stop: CancellationToken) -> BoxFuture<'static, ()> {
        async move {
            self.exchange.attach(feed);
            self.state.set_link(Link::Up);
            let following = async {
                select! {
                    () = self.follow_interest() => {}
                    () = stop.cancelled() => {}
                }
            };
            join!(following, self.serve_clients(&stop));
            self.exchange.detach();
            self.state.set_link(Link::Down { error: "the bus was stopped".to_owned() });
        }
        .boxed()
    }

    fn publish<'a>(
        &'a self,
        workspace: &'a WorkspaceId,
        publication: Publication,
    ) -> BoxFuture<'a, Result<Published, PublishError>> {
        let publish =
            move |payload: &bytes::Bytes| self.exchange.publish_logged(workspace, payload, SystemTime::now());
        async move { Ok(publication.payloads().map(publish).collect()) }.boxed()
    }

    fn read_log<'a>(
        &'a self,
        _workspace: &'a WorkspaceId,
        _span: Span,
        _count: usize,
    ) -> BoxFuture<'a, Result<LogPage, LogError>> {
        Box::pin(async { Err(LogError::Unreadable("the log keeps no entries yet".to_owned())) })
    }

    /// While the bus runs it was heard just now: a message reaches the feed within the call that publishes it, and
    /// there is no link between them that could be silent.
    fn state(&self) -> BusState {
        let state = self.state.snapshot();
        let heard = (state.link == Link::Up).then_some(Duration::ZERO);
        BusState { heard, ..state }
    }
}
