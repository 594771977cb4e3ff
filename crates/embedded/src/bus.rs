//! The bus itself: `PubSub`, kept in line with the desired subscriptions, and the logs.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval};
use tokio::{join, select};
use tokio_util::sync::CancellationToken;

use crate::ban_list::BanList;
use crate::commands::session::READS_MAX;
use crate::disk::DiskSettings;
use crate::disk::database::OpenError;
use crate::listener::accept::listen;
use crate::listener::budget::ClientBudget;
use crate::listener::connection::ClientContext;
use crate::listener::unauthenticated::Unauthenticated;
use crate::log::log_writer::{Committed, LogWriter};
use crate::log::{IdempotencyBounds, LogSettings, Logs, NotPublished, Publish};
use crate::one_time_store::OneTimeStore;
use crate::pubsub::PubSub;
use crate::settings::EmbeddedConfig;
use tidings_bus::settings::RetentionConfig;
use tidings_bus::{
    Bus, BusState, LinkState, Publication, PublishError, Published, SetChange, SetMembers, SharedSet,
    StateCell, Store, StoreError,
};
use tidings_event::log::{LogError, LogFigures, LogPage, Span};
use tidings_event::workspace::WorkspaceId;
use tidings_event::{BusHandler, DesiredSubscriptions, SubscriptionChange};

/// The interval at which ended logs are removed and waiting changes are written.
const TIDY_INTERVAL: Duration = Duration::from_secs(1);

/// The names of channels.
#[derive(Debug, Clone, Copy)]
pub struct ChannelNames<'a> {
    /// The prefix of a workspace's channel.
    pub prefix: &'a str,
    /// The channel for commands of backends.
    pub control: &'a str,
}

/// The bus that runs in the process, with a listener for Redis clients or without.
#[derive(Debug)]
pub struct EmbeddedBus {
    context: ClientContext,
    one_time_store: OneTimeStore,
    bans: BanList,
    desired_subscriptions: Arc<DesiredSubscriptions>,
    state: Arc<StateCell>,
    listener: Mutex<Option<TcpListener>>,
}

impl EmbeddedBus {
    /// A bus whose logs are read from disk, if there are any, and that does nothing else until it
    /// runs. The listener comes from [`bind`](super::bind). `event_bytes` is the largest payload
    /// of an event. A somewhat larger one reaches the handler, which rejects it; larger commands
    /// are not read.
    ///
    /// # Errors
    ///
    /// [`OpenError`], when the logs on disk cannot be had.
    pub async fn open(
        config: &EmbeddedConfig,
        retention: &RetentionConfig,
        names: ChannelNames<'_>,
        event_bytes: usize,
        desired_subscriptions: Arc<DesiredSubscriptions>,
        listener: Option<TcpListener>,
    ) -> Result<Self, OpenError> {
        let state = Arc::new(StateCell::new("embedded"));
        state.set_server(format!("tidings {} (embedded)", env!("CARGO_PKG_VERSION")));
        state.set_function("built in".to_owned());
        let retention = LogSettings {
            events: retention.events,
            age: retention.seconds.duration(),
            bytes: retention.bytes,
            memory: config.log_bytes,
            idempotency_cache: IdempotencyBounds {
                log: config.idempotency_workspace_bytes,
                all: config.idempotency_bytes,
            },
        };
        let disk = config.path.clone().map(|path| DiskSettings { path, sync: config.sync });
        let pubsub = Arc::new(PubSub::new(names.prefix, names.control));
        let log_writer = LogWriter::start(retention, disk, Arc::clone(&pubsub), Arc::clone(&state)).await?;
        Ok(Self {
            one_time_store: OneTimeStore::default(),
            bans: BanList::default(),
            desired_subscriptions,
            state,
            listener: Mutex::new(listener),
            context: ClientContext {
                pubsub,
                log_writer,
                shared_sets: Arc::default(),
                clients_max: config.clients,
                password: Arc::new(config.password.clone()),
                event_bytes,
                output_bytes: config.output_bytes,
                budget: ClientBudget::new(config.clients_bytes),
                reads: Arc::new(READS_MAX.map(Semaphore::new)),
                unauthenticated: Unauthenticated::new(config.clients),
            },
        })
    }

    /// The channel of a workspace, and the key of its log.
    fn channel(&self, workspace: &WorkspaceId) -> Bytes {
        Bytes::from(format!("{}{workspace}", self.context.pubsub.prefix()))
    }

    /// Has a workspace's log read or changed, without an announcement.
    fn with_log<T: Send + 'static>(
        &self,
        workspace: &WorkspaceId,
        work: impl FnOnce(&mut Logs, &Bytes) -> T + Send + 'static,
    ) -> BoxFuture<'_, Result<T, LogError>> {
        let key = self.channel(workspace);
        let work =
            self.context.log_writer.ask(move |logs| Committed::without_announcements(work(logs, &key)));
        work.map(|done| done.map_err(|error| LogError::Unavailable(error.to_string()))).boxed()
    }

    /// Follows the changes of the desired subscriptions, without end.
    async fn follow_interest(&self) {
        for workspace in self.desired_subscriptions.take_all() {
            self.context.pubsub.confirm(&workspace);
        }
        loop {
            self.desired_subscriptions.changed().await;
            for (workspace, change) in self.desired_subscriptions.take_changes() {
                match change {
                    SubscriptionChange::Want => self.context.pubsub.confirm(&workspace),
                    SubscriptionChange::Release => self.context.pubsub.release(&workspace),
                }
            }
        }
    }

    async fn serve_clients(&self, stop: &CancellationToken) {
        let listener = self.listener.lock().take();
        if let Some(listener) = listener {
            listen(listener, self.context.clone(), stop.clone()).await;
        }
    }

    /// Keeps the logs tidy, forever.
    async fn tidy(&self) {
        let mut tick = interval(TIDY_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.context.log_writer.tidy().await;
            self.one_time_store.tidy(Instant::now());
            self.context.shared_sets.tidy(Instant::now());
        }
    }
}

impl Bus for EmbeddedBus {
    fn run(
        self: Arc<Self>,
        bus_handler: Arc<dyn BusHandler>,
        stop: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        async move {
            self.context.pubsub.attach(bus_handler);
            self.state.set_link(LinkState::Up);
            let keeping = async {
                select! {
                    () = self.follow_interest() => {}
                    () = self.tidy() => {}
                    () = stop.cancelled() => {}
                }
            };
            join!(keeping, self.serve_clients(&stop));
            self.context.log_writer.close().await;
            self.context.pubsub.detach();
            self.state.set_link(LinkState::Down { error: "the bus was stopped".to_owned() });
        }
        .boxed()
    }

    fn publish<'a>(
        &'a self,
        workspace: &'a WorkspaceId,
        publication: Publication,
    ) -> BoxFuture<'a, Result<Published, PublishError>> {
        let channel = self.channel(workspace);
        let publish = Publish {
            items: publication.items().to_vec(),
            idempotency_key: publication.idempotency_key().map(|key| Bytes::from(key.as_str().to_owned())),
            trace: publication.trace(),
            ..Publish::default()
        };
        let work = self.context.log_writer.ask(move |logs| match logs.publish(&channel, &publish) {
            Ok(published) => Committed::announcing(Ok(published.ids), &channel, published.messages),
            Err(error) => Committed::without_announcements(Err(match error {
                NotPublished::NoId(_) => PublishError::Refused(error.to_string()),
                NotPublished::KeysFull(_) => PublishError::Busy(error.to_string()),
            })),
        });
        work.map(|done| done.unwrap_or_else(|error| Err(PublishError::Unavailable(error.to_string()))))
            .boxed()
    }

    fn read_log<'a>(
        &'a self,
        workspace: &'a WorkspaceId,
        span: Span,
        count: usize,
    ) -> BoxFuture<'a, Result<LogPage, LogError>> {
        self.with_log(workspace, move |logs, key| logs.page(key, span, count))
    }

    fn log_figures<'a>(&'a self, workspace: &'a WorkspaceId) -> BoxFuture<'a, Result<LogFigures, LogError>> {
        self.with_log(workspace, |logs, key| {
            let Some(log) = logs.get(key) else {
                return LogFigures { length: Some(0), ..LogFigures::default() };
            };
            LogFigures {
                length: Some(log.len() as u64),
                oldest: log.first().map(|entry| entry.id),
                newest: log.newest().map(|entry| entry.id),
            }
        })
    }

    fn send_control(&self, command: Bytes) -> BoxFuture<'_, Result<(), PublishError>> {
        self.context.pubsub.publish_control(&command);
        ready(Ok(())).boxed()
    }

    fn mark_live<'a>(
        &'a self,
        workspace: &'a WorkspaceId,
        slack: Duration,
    ) -> BoxFuture<'a, Result<u64, LogError>> {
        let slack = u64::try_from(slack.as_millis()).unwrap_or(u64::MAX);
        self.with_log(workspace, move |logs, key| logs.mark_live(key, slack))
    }

    /// The bus and the node are one process: a message reaches the handler within the call that
    /// publishes it. So the link counts as alive.
    fn state(&self) -> BusState {
        let mut state = self.state.snapshot();
        if state.link == LinkState::Up && !self.context.log_writer.is_running() {
            state.link = LinkState::Down { error: "the logs are not kept any more".to_owned() };
        }
        let last_received = (state.link == LinkState::Up).then_some(Duration::ZERO);
        BusState { last_received, ..state }
    }
}

impl Store for EmbeddedBus {
    fn put_once<'a>(
        &'a self,
        name: &'a str,
        value: Bytes,
        lifetime: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let is_kept = self.one_time_store.keep(name, value, lifetime, Instant::now());
        let full = || StoreError::Unavailable("as much is kept as may be".to_owned());
        ready(is_kept.then_some(()).ok_or_else(full)).boxed()
    }

    fn take<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        ready(Ok(self.one_time_store.take(name, Instant::now()))).boxed()
    }

    fn read<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        ready(Ok(self.one_time_store.read(name, Instant::now()))).boxed()
    }

    fn put_ban(&self, command: Bytes, until: SystemTime) -> BoxFuture<'_, Result<(), StoreError>> {
        self.bans.put(command, until, SystemTime::now());
        ready(Ok(())).boxed()
    }

    fn list_bans(&self) -> BoxFuture<'_, Result<Vec<(Bytes, SystemTime)>, StoreError>> {
        ready(Ok(self.bans.list(SystemTime::now()))).boxed()
    }

    fn change_set(&self, set: SharedSet, change: SetChange) -> BoxFuture<'_, Result<(), StoreError>> {
        let is_kept = self.context.shared_sets.change(&set.to_string(), change, Instant::now());
        let full = || StoreError::Unavailable("as many sets are kept as may be".to_owned());
        ready(is_kept.then_some(()).ok_or_else(full)).boxed()
    }

    fn list_set(&self, set: SharedSet) -> BoxFuture<'_, Result<SetMembers, StoreError>> {
        ready(Ok(self.context.shared_sets.list(&set.to_string(), Instant::now()))).boxed()
    }
}
