//! A whole broker: its parts, built one after the other, and the order in which they end.
//!
//! | part | contents |
//! | --- | --- |
//! | [`settings`] | the settings of each part, of the configuration |
//! | [`bus`], [`hub`], [`delivery`], [`access`] | builders of the parts behind the listeners |
//! | [`traces`] | the export of spans, if there is a collector |
//! | [`schemas`] | reads the schemas, and starts the checks by them |
//! | [`public`], [`admin`], [`listener`] | builders of the two listeners |
//! | [`reload`] | the settings that SIGHUP replaces |
//! | [`monitor`] | progress and load, for a supervisor |
//! | [`reach`] | how clients and publishers reach the node |
//! | [`metrics`] | all counters, with the series that exist from the start |
//! | [`tasks`] | the tasks of all parts, and the signals that stop them |
//! | [`shutdown`] | the ways to stop, and the ways in which a server ended |
//! | [`trial`] | tries addresses without a server, for `tidings check` |
//! | [`start_error`] | the reasons for which a server cannot start |

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

use crate::admin::Node;
use crate::admin::console::{AdminToken, Console, ConsoleParts};
use crate::bus_handler::NodeHandler;
use crate::config::Config;
use crate::http::ListenSocket;
use crate::nodes::{QuestionInbox, QuestionParts, QuestionResponder};
use crate::service_manager::PassedSockets;
use crate::service_manager::sockets::PassedFor;
use crate::telemetry::RecentLines;
use tidings_bus::Bus;
use tidings_event::{DesiredSubscriptions, NodeId};
use tidings_schemas::SchemaCheck;
use tidings_settings::ListenAddress;

mod access;
mod admin;
mod bus;
mod delivery;
mod hub;
mod listener;
mod metrics;
mod monitor;
mod public;
mod reach;
mod reload;
mod schemas;
mod settings;
mod shutdown;
mod start_error;
mod tasks;
mod traces;
mod trial;

use access::Access;
use admin::AdminListener;
use bus::NodeBus;
use delivery::{Delivery, StopOnDrop};
use hub::NodeHub;
use public::{PublicListener, PublicParts};
use schemas::NodeSchemas;
use shutdown::{DRAIN_GRACE, DrainSettings};
use tasks::{ServerTasks, StopSignals};
use traces::NodeTraces;

pub use monitor::Monitor;
pub use reach::redis_cli;
pub use reload::{PreparedReload, ServerReload};
pub use shutdown::{Ended, Shutdown};
pub use start_error::StartError;
pub use traces::{TraceError, collector};
pub use trial::{AddressTrial, try_addresses};

/// A broker that is bound and not yet serving.
#[derive(Debug)]
pub struct Server {
    node: Arc<Node>,
    bus: Arc<dyn Bus>,
    bus_handler: Arc<NodeHandler>,
    hub: NodeHub,
    delivery: Delivery,
    access: Access,
    schemas: Option<Arc<SchemaCheck>>,
    traces: Option<NodeTraces>,
    public: PublicListener,
    admin: AdminListener,
    questions: NodeQuestions,
    token: Arc<AdminToken>,
    addresses: Addresses,
    drain: DrainSettings,
}

/// Replies to questions about the node.
#[derive(Debug)]
struct NodeQuestions {
    /// Replies to them; has to run on the queue.
    responder: Arc<QuestionResponder>,
    /// Receives them from the bus.
    inbox: QuestionInbox,
    queue: tokio::sync::mpsc::Receiver<(bytes::Bytes, std::time::Instant)>,
}

/// Where a server listens; ports that were configured as 0 are filled in.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// Streams and publishing; at least one.
    public: Vec<ListenAddress>,
    /// Operations; at least one.
    admin: Vec<ListenAddress>,
    /// The embedded bus, where it runs and listens.
    pub embedded: Option<SocketAddr>,
}

impl Addresses {
    /// The first address of the public listener, for a URL.
    #[must_use]
    pub fn public(&self) -> &ListenAddress {
        &self.public[0]
    }

    /// The first address of the admin listener, for a URL.
    #[must_use]
    pub fn admin(&self) -> &ListenAddress {
        &self.admin[0]
    }

    /// All addresses of the public and of the admin listener, each as a text with commas.
    #[must_use]
    pub fn texts(&self) -> [String; 2] {
        [&self.public, &self.admin].map(|list| {
            let texts: Vec<_> = list.iter().map(ToString::to_string).collect();
            texts.join(", ")
        })
    }
}

impl Server {
    /// Binds all listeners for which `passed` has no sockets, and puts the parts together. Redis
    /// need not be there yet. The console shows the `lines` of the log.
    ///
    /// Cancellation safe: what was bound is closed.
    ///
    /// # Errors
    ///
    /// [`StartError`] says what is in the way.
    pub async fn bind(
        config: &Config,
        mut passed: PassedSockets,
        lines: RecentLines,
    ) -> Result<Self, StartError> {
        let files = settings::files(config)?;
        let memory = settings::memory(config);
        let token = Arc::new(settings::admin_token(config)?);
        let public = settings::public(config, &files);
        let admin = settings::admin(config, &files);
        let metrics = metrics::metrics(config, &files);
        let schemas = NodeSchemas::open(settings::schemas(config), &metrics).await?;
        let public_sockets = public.listener.open(passed.take_for(PassedFor::Public)).await?;
        let admin_sockets = admin.open(passed.take_for(PassedFor::Admin)).await?;
        let id = NodeId::random();
        let desired = Arc::new(DesiredSubscriptions::default());
        let NodeBus { bus, address: embedded } = {
            let (bus, sockets) = (settings::bus(config, &files), passed.take_for(PassedFor::Bus));
            NodeBus::open(bus, sockets, id, Arc::clone(&desired), &metrics).await?
        };
        let addresses = Addresses {
            public: addresses_of(&public_sockets)?,
            admin: addresses_of(&admin_sockets)?,
            embedded,
        };
        let traces =
            settings::traces(config).map(|traces| NodeTraces::new(traces, id, &metrics)).transpose()?;
        let hub = {
            let watch_list = traces.as_ref().map(|traces| Arc::clone(&traces.watch_list));
            let (hub, reader) = (settings::hub(config), settings::log_reader(config));
            NodeHub::new(id, hub, reader, desired, watch_list, &metrics)
        };
        let streams = Arc::new(settings::streams(config, schemas.version, &metrics));
        let delivery = Delivery::new(Arc::clone(&streams), settings::engine(config, streams))?;
        let access = Access::new(&settings::access(config), id, &bus, &metrics)?;
        let publication_traces = traces::publications(traces.as_ref(), config.tracing.in_streams);
        let parts = PublicParts {
            bus: &bus,
            hub: &hub.hub,
            delivery: &delivery,
            access: &access,
            schemas: &schemas,
            publication_traces: publication_traces.as_ref(),
            metrics: &metrics,
        };
        let public = PublicListener::new(public, public_sockets, parts).await?;
        let node = Node::new(
            id,
            Arc::clone(&bus),
            metrics,
            settings::probe(config),
            &settings::api(config, &addresses),
        );
        let node = Arc::new(node);
        let responder = Arc::new(QuestionResponder::new(QuestionParts {
            node: Arc::clone(&node),
            bus: Arc::clone(&bus),
            hub: Arc::clone(&hub.hub),
            registry: Arc::clone(&access.registry),
            authenticator: Arc::clone(&access.authenticator),
            streams: Arc::clone(&delivery.streams),
            engine: delivery.engine.clone(),
            lines: lines.clone(),
            payloads: config.admin.payloads,
            url: Some(config.admin.url.clone()).filter(|url| !url.is_empty()),
        }));
        let (questions, queue) = QuestionInbox::new();
        let questions = NodeQuestions { responder: Arc::clone(&responder), inbox: questions, queue };
        let parts = ConsoleParts {
            node: Arc::clone(&node),
            bus: Arc::clone(&bus),
            hub: Arc::clone(&hub.hub),
            registry: Arc::clone(&access.registry),
            streams: Arc::clone(&delivery.streams),
            engine: delivery.engine.clone(),
            publish: Arc::clone(&public.publish),
            bodies: Arc::clone(&public.bodies),
            lines,
            token: Arc::clone(&token),
            responder,
            tokens: access.tokens.clone(),
        };
        let console = Console::new(settings::console(config, &addresses, files, &memory), parts);
        let admin = AdminListener::new(admin, admin_sockets, &node, console);
        let NodeSchemas { check: schemas, .. } = schemas;
        let bus_handler = NodeHandler::new(
            Arc::clone(&hub.hub),
            access.inbox.clone(),
            questions.inbox.clone(),
            schemas.clone(),
        );
        let bus_handler = Arc::new(bus_handler);
        let drain = settings::drain(config);
        Ok(Self {
            node,
            bus,
            bus_handler,
            hub,
            delivery,
            access,
            schemas,
            traces,
            public,
            admin,
            questions,
            token,
            addresses,
            drain,
        })
    }

    /// Replaces settings of the server while it runs.
    #[must_use]
    pub fn reload(&self) -> ServerReload {
        let public = &self.public;
        ServerReload {
            bus: Arc::clone(&self.bus),
            certificates: public.certificates.as_ref().map(|(certificates, _)| Arc::clone(certificates)),
            tokens: self.access.tokens.clone(),
            cors: Arc::clone(&public.cors),
            limits: Arc::clone(&public.limits),
            publish_rate: Arc::clone(&public.publish_rate),
            registry: Arc::clone(&self.access.registry),
            hub: Arc::clone(&self.hub.hub),
            token: Arc::clone(&self.token),
            metrics: Arc::clone(self.node.metrics()),
        }
    }

    /// The URL of a link that opens the console once, within ten minutes. `None` if the console has
    /// no URL, because it listens on a socket of the file system, or if the system has no random
    /// numbers.
    #[must_use]
    pub fn console_link(&self) -> Option<String> {
        let admin = self.addresses.admin();
        if let ListenAddress::Unix(_) = admin {
            return None;
        }
        let link = self.admin.console.link()?;
        Some(format!("http://{}{link}", admin.authority()))
    }

    /// Counts log lines that could not be written, for `/metrics`.
    #[must_use]
    pub fn log_lines_dropped(&self) -> Counter {
        self.node.metrics().log_lines_dropped.clone()
    }

    /// Where the server listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Looks at the server while it runs.
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        Monitor::new(self.node.metrics(), self.delivery.engine.as_ref())
    }

    /// Serves until `shutdown`, then drains. It is not ready at once and accepts for a little
    /// longer. Then it ends streams over the time of the drain, unless all end at once. Returns
    /// when every connection has ended; it closes those that do not end in time.
    pub async fn run(self, shutdown: impl Future<Output = Shutdown>) -> Ended {
        let (node, hub, drain) = (Arc::clone(&self.node), Arc::clone(&self.hub.hub), self.drain);
        let (streams, engine) = (Arc::clone(&self.delivery.streams), self.delivery.engine.clone());
        let signals = StopSignals::default();
        let mut tasks = ServerTasks::spawn(self, &signals);
        // Also where this future is dropped: the runtime waits for their threads.
        let _stop = StopOnDrop(engine.clone());

        let (broken, shutdown) = tokio::select! {
            shutdown = shutdown => (false, shutdown),
            () = tasks.one_ended() => (true, Shutdown::Drain),
        };
        let DrainSettings { delay, window } = match shutdown {
            Shutdown::Drain => drain,
            Shutdown::AtOnce => DrainSettings { delay: Duration::ZERO, window: Duration::ZERO },
        };
        if broken {
            tracing::error!(
                "a part ended by itself, which none ever should: stopping, so that clients go elsewhere"
            );
        }
        node.begin_draining();
        tracing::info!(
            delay_seconds = delay.as_secs_f64(),
            window_seconds = window.as_secs_f64(),
            "draining: not ready any more, and ending streams after the delay"
        );
        tokio::time::sleep(delay).await;
        signals.accepting.cancel();
        streams.drain.begin(window);
        hub.wake_all();
        if let Some(engine) = &engine {
            engine.drain();
        }

        let waited = if tasks.connections.is_finished() {
            Ok(())
        } else {
            tokio::time::timeout(window + DRAIN_GRACE, &mut tasks.connections).await.map(|_| ())
        };
        if waited.is_err() {
            signals.connections.cancel();
            if let Some(engine) = &engine {
                engine.abandon();
            }
            // Every connection ends at the token, so this cannot take long.
            let _ = (&mut tasks.connections).await;
        }
        // The bus writes the last marks and removes the announcement, so it stops after them.
        signals.marks.cancel();
        if !tasks.marks.is_finished() {
            let _ = (&mut tasks.marks).await;
        }
        if !tasks.announcing.is_finished() {
            let _ = (&mut tasks.announcing).await;
        }
        signals.rest.cancel();
        if let Some(engine) = &engine {
            engine.stop();
        }
        while tasks.rest.join_next().await.is_some() {}
        match (broken, waited) {
            (true, _) => Ended::Broken,
            (false, Ok(())) => Ended::Drained,
            (false, Err(_)) => Ended::Cut,
        }
    }
}

fn addresses_of(sockets: &[ListenSocket]) -> Result<Vec<ListenAddress>, StartError> {
    sockets.iter().map(|socket| socket.address().map_err(StartError::Address)).collect()
}
