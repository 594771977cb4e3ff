//! A whole broker, put together: bus, hub, delivery, listeners, and the order in which they end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::admin;
use crate::admin::Node;
use crate::bus_handler::NodeHandler;
use crate::config::{AuthMethod, AuthMode, Config, Writer};
use crate::files::TooFewFiles;
use crate::http;
use crate::http::{
    CertificateError, Certificates, ConnectionSettings, Listener, Origins, PairFiles, PublicApi, PublishRate,
    Service, SocketSettings, Tls, TrustedProxies,
};
use crate::live_marks;
use crate::log_reader;
use crate::log_reader::LogReaderSettings;
use tidings_auth::Authenticator;
use tidings_auth::authenticator::Method;
use tidings_auth::control::{Bans, DisconnectHandler};
use tidings_auth::forward;
use tidings_auth::forward::ForwardAuth;
use tidings_auth::jwt;
use tidings_auth::jwt::{JwtSetupError, TokenSources, Verifier};
use tidings_auth::recheck::Recheck;
use tidings_auth::tickets::Tickets;
use tidings_bus::Bus;
use tidings_bus::redis::{ConnectError, RedisBus};
use tidings_delivery::engine::{Engine, Shard};
use tidings_delivery::{Drain, StreamSettings, WallClock};
use tidings_embedded as embedded;
use tidings_embedded::settings::EmbeddedConfig;
use tidings_embedded::{ChannelNames, EmbeddedBus};
use tidings_event::NodeId;
use tidings_event::{BusHandler, DesiredSubscriptions};
use tidings_hub::Hub;
use tidings_limits::{AddressCounts, BodyBudget, StreamRegistry};
use tidings_metrics::Metrics;

mod settings;
mod shutdown;

use settings::{
    admin_admission, admin_hosts, connection_settings, engine_settings, files, hub_settings,
    public_admission, public_hosts, requests_per_address, socket_settings, stream_limits, warn_of_memory,
};

use shutdown::DRAIN_GRACE;
pub use shutdown::{Ended, Shutdown};

/// How often workspaces without subscribers are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// A broker that is bound and not yet serving.
#[derive(Debug)]
pub struct Server {
    node: Arc<Node>,
    hub: Arc<Hub>,
    control: DisconnectHandler,
    verifier: Option<Arc<Verifier>>,
    recheck: Option<Arc<Recheck>>,
    bus_handler: Arc<NodeHandler>,
    bus: Arc<dyn Bus>,
    streams: Arc<StreamSettings>,
    engine: Option<Arc<Engine>>,
    shards: Vec<Shard>,
    publish_rate: Arc<PublishRate>,
    public: Listener,
    admin: Listener,
    addresses: Addresses,
    log_reader: LogReaderSettings,
    certificates: Option<Arc<Certificates>>,
    certificates_interval: Duration,
    drain_delay: Duration,
    drain_window: Duration,
}

/// Where a server listens; ports that were configured as 0 are filled in.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// Streams and publishing.
    pub public: SocketAddr,
    /// Operations.
    pub admin: SocketAddr,
    /// The embedded bus, where it runs and listens.
    pub embedded: Option<SocketAddr>,
}

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
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The system does not say what was bound.
    #[error("cannot learn the address of a listener: {0}")]
    Address(#[source] io::Error),
    /// The embedded bus cannot listen.
    #[error("{0} (embedded.listen)")]
    Embedded(#[from] embedded::BindError),
    /// The logs of the embedded bus cannot be had.
    #[error("{0} (embedded.path)")]
    Log(#[from] embedded::OpenError),
    /// The keys for tokens cannot be had.
    #[error("{0} (auth.jwt)")]
    Jwt(#[from] JwtSetupError),
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
    /// The link to Redis cannot be prepared.
    #[error(transparent)]
    Redis(#[from] ConnectError),
}

impl Server {
    /// Binds all listeners and puts the parts together. Redis need not be there yet.
    ///
    /// Cancellation safe: what was bound is closed.
    ///
    /// # Errors
    ///
    /// [`StartError`] says what is in the way.
    pub async fn bind(config: &Config) -> Result<Self, StartError> {
        let files = files(config)?;
        warn_of_memory(config);
        let socket = socket_settings(config);
        let public = bind("server.listen", config.server.listen, &socket)?;
        let admin = bind("admin.listen", config.admin.listen, &socket)?;
        let id = NodeId::random();
        let metrics = Arc::new(Metrics::new());
        let desired_subscriptions = Arc::new(DesiredSubscriptions::default());
        let (bus, embedded) = bus(config, files.embedded_clients, id, &desired_subscriptions).await?;
        let addresses = Addresses { public: address_of(&public)?, admin: address_of(&admin)?, embedded };

        let hub = Arc::new(Hub::new(id, hub_settings(config), desired_subscriptions, Arc::clone(&metrics)));
        let streams = Arc::new(StreamSettings {
            heartbeat: config.sse.heartbeat_seconds.duration(),
            retry: Duration::from_millis(config.sse.retry_ms),
            confirm: config.redis.confirm_seconds.duration(),
            age: Some(config.limits.connection_age_seconds.duration()).filter(|age| !age.is_zero()),
            drain: Drain::default(),
            clock: WallClock::default(),
            metrics: Arc::clone(&metrics),
        });
        let probe = config.redis.probe_seconds.duration();
        let node = Arc::new(Node::new(id, Arc::clone(&bus), Arc::clone(&metrics), probe));
        let open = Arc::new(StreamRegistry::new(id, stream_limits(config)));
        let bans = Arc::new(Bans::default());
        let (control, inbox) = DisconnectHandler::new(
            Arc::clone(&open),
            Arc::clone(&bans),
            Arc::clone(&bus),
            Arc::clone(&metrics),
        );
        let bus_handler = Arc::new(NodeHandler::new(Arc::clone(&hub), inbox));
        let tickets_per_user = NonZeroU32::new(config.auth.tickets_per_user);
        let tickets = Tickets::new(Arc::clone(&bus), config.auth.ticket_seconds.duration(), tickets_per_user);
        let access = Access::prepare(config, &metrics)?;
        let authenticator = Authenticator::new(access.methods, tickets, bans, access.recheck.clone());
        let origins = Origins::new(&config.cors.origins)
            .with_headers(&config.cors.headers)
            .with_headers(&config.auth.forward.headers);
        let publish_rate = Arc::new(PublishRate::new(config.limits.rates()));
        let app = Arc::new(PublicApi {
            hub: Arc::clone(&hub),
            bus: Arc::clone(&bus),
            streams: Arc::clone(&streams),
            metrics: Arc::clone(&metrics),
            authenticator: Arc::new(authenticator),
            open,
            origins: origins.clone(),
            named: config.sse.named,
            newest_max: config.replay.newest_max,
            event_bytes: config.limits.event_bytes,
            batch_bytes: config.limits.batch_bytes,
            bodies: BodyBudget::new(config.limits.body_bytes),
            publish_rate: Arc::clone(&publish_rate),
            body_timeout: config.server.body_timeout_seconds.duration(),
        });

        let header_bytes = config.server.header_bytes;
        let (certificates, tls) = tls(config, &metrics).await?;
        let proxies =
            TrustedProxies::new(config.server.trusted_proxies.clone(), config.server.forwarded_header);
        let proxies = Arc::new(proxies);
        let connection = connection_settings(config);
        let (engine, shards) = engine(config, &streams)?.unzip();
        let engine = engine.map(Arc::new);
        let public = Listener {
            listener: public,
            service: Service::new(
                http::public(&app, &config.server.base_path),
                origins,
                public_hosts(config),
                Arc::clone(&proxies),
                header_bytes,
            ),
            connection: ConnectionSettings {
                tls,
                proxy_protocol: config.server.proxy_protocol,
                ..connection.clone()
            },
            socket,
            engine: engine.clone(),
            connection_gate: public_admission(config, &files),
            metrics: Some(metrics),
        };
        let admin = Listener {
            listener: admin,
            service: Service::new(
                admin::routes(&node),
                Origins::default(),
                admin_hosts(config),
                proxies,
                header_bytes,
            ),
            connection: ConnectionSettings { proxy_protocol: config.admin.proxy_protocol, ..connection },
            socket,
            engine: None,
            connection_gate: admin_admission(&files),
            metrics: None,
        };
        let drain_delay = config.server.drain_delay_seconds.duration();
        let drain_window = config.server.drain_seconds.duration();
        let log_reader = LogReaderSettings {
            concurrent: config.replay.concurrent,
            page_events: config.replay.page_events,
            patience: config.redis.command_timeout_seconds.duration(),
        };
        let certificates_interval = config.server.tls.reload_seconds.duration();
        Ok(Self {
            node,
            hub,
            control,
            verifier: access.verifier,
            recheck: access.recheck,
            bus_handler,
            bus,
            streams,
            engine,
            shards: shards.unwrap_or_default(),
            publish_rate,
            public,
            admin,
            addresses,
            log_reader,
            certificates,
            certificates_interval,
            drain_delay,
            drain_window,
        })
    }

    /// The certificate of the public listener, to have it read again; `None` without TLS.
    #[must_use]
    pub fn certificates(&self) -> Option<Arc<Certificates>> {
        self.certificates.clone()
    }

    /// Checks tokens; to have its files of keys read again. `None` where tokens do not count.
    #[must_use]
    pub fn verifier(&self) -> Option<Arc<Verifier>> {
        self.verifier.clone()
    }

    /// Counts log lines that could not be written, for `/metrics`.
    #[must_use]
    pub fn log_lines_dropped(&self) -> Counter {
        self.node.metrics().log_lines_dropped.clone()
    }

    /// Where the server listens.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Serves until `shutdown`, then drains. It is not ready at once and accepts for a little
    /// longer. Then it ends streams over the time of the drain, unless all end at once. Returns
    /// when every connection has ended; it closes those that do not end in time.
    pub async fn run(self, shutdown: impl Future<Output = Shutdown>) -> Ended {
        let stop_accepting = CancellationToken::new();
        let abandon = CancellationToken::new();
        let stop_marks = CancellationToken::new();
        let stop_rest = CancellationToken::new();
        let mut connections = tokio::spawn(self.public.run(stop_accepting.clone(), abandon.clone()));
        let mut rest = JoinSet::new();
        let bus_handler: Arc<dyn BusHandler> = self.bus_handler;
        rest.spawn(Arc::clone(&self.bus).run(bus_handler, stop_rest.clone()));
        rest.spawn(self.control.run(stop_rest.clone()));
        if let Some(verifier) = self.verifier {
            rest.spawn(verifier.run(stop_rest.clone()));
        }
        if let Some(recheck) = self.recheck {
            rest.spawn(recheck.run(stop_rest.clone()));
        }
        rest.spawn(sweep(Arc::clone(&self.hub), self.publish_rate, stop_rest.clone()));
        let (hub, bus) = (Arc::clone(&self.hub), Arc::clone(&self.bus));
        let marks = live_marks::run(hub, bus, self.log_reader.patience, stop_marks.clone());
        let mut marks = AbortOnDropHandle::new(tokio::spawn(marks));
        rest.spawn(log_reader::run(Arc::clone(&self.hub), self.bus, self.log_reader, stop_rest.clone()));
        // Also where this future is dropped: the runtime waits for their threads.
        let _stop = StopOnDrop(self.engine.clone());
        for shard in self.shards {
            rest.spawn_blocking(|| shard.run());
        }
        rest.spawn(self.admin.run(stop_rest.clone(), stop_rest.clone()));
        if let Some(certificates) = self.certificates {
            rest.spawn(certificates.watch(self.certificates_interval, stop_rest.clone()));
        }

        // Each of these ends only at the shutdown; without one of them clients would wait for
        // nothing.
        let (broken, shutdown) = tokio::select! {
            shutdown = shutdown => (false, shutdown),
            _ = &mut connections => (true, Shutdown::Drain),
            _ = &mut marks => (true, Shutdown::Drain),
            _ = rest.join_next() => (true, Shutdown::Drain),
        };
        let (delay, window) = match shutdown {
            Shutdown::Drain => (self.drain_delay, self.drain_window),
            Shutdown::AtOnce => (Duration::ZERO, Duration::ZERO),
        };
        if broken {
            tracing::error!(
                "a part ended by itself, which none ever should: stopping, so that clients go elsewhere"
            );
        }
        self.node.begin_draining();
        tracing::info!(
            delay_seconds = delay.as_secs_f64(),
            window_seconds = window.as_secs_f64(),
            "draining: not ready any more, and ending streams after the delay"
        );
        tokio::time::sleep(delay).await;
        stop_accepting.cancel();
        self.streams.drain.begin(window);
        self.hub.wake_all();
        if let Some(engine) = &self.engine {
            engine.drain();
        }

        let waited = if connections.is_finished() {
            Ok(())
        } else {
            tokio::time::timeout(window + DRAIN_GRACE, &mut connections).await.map(|_| ())
        };
        if waited.is_err() {
            abandon.cancel();
            if let Some(engine) = &self.engine {
                engine.abandon();
            }
            // Every connection ends at the token, so this cannot take long.
            let _ = connections.await;
        }
        // The bus writes the last marks, so it stops after them.
        stop_marks.cancel();
        if !marks.is_finished() {
            let _ = marks.await;
        }
        stop_rest.cancel();
        if let Some(engine) = &self.engine {
            engine.stop();
        }
        while rest.join_next().await.is_some() {}
        match (broken, waited) {
            (true, _) => Ended::Broken,
            (false, Ok(())) => Ended::Drained,
            (false, Err(_)) => Ended::Cut,
        }
    }
}

/// The parts that authentication needs.
struct Access {
    methods: Vec<Method>,
    verifier: Option<Arc<Verifier>>,
    recheck: Option<Arc<Recheck>>,
}

impl Access {
    fn prepare(config: &Config, metrics: &Metrics) -> Result<Self, StartError> {
        let mut access = Self { methods: Vec::new(), verifier: None, recheck: None };
        let AuthMode::Methods(methods) = &config.auth.mode else { return Ok(access) };
        for method in methods {
            access.methods.push(match method {
                AuthMethod::Jwt => {
                    if let Some(short) = jwt::short_secret(&config.auth.jwt)? {
                        if !config.server.listen.ip().to_canonical().is_loopback() {
                            return Err(short.into());
                        }
                        tracing::warn!(error = %short, "the secret for tokens is too short for anything but a try on this machine");
                    }
                    let verifier = Arc::new(Verifier::new(&config.auth.jwt, metrics)?);
                    access.verifier = Some(Arc::clone(&verifier));
                    Method::Jwt { sources: TokenSources::new(&config.auth.jwt), verifier }
                }
                AuthMethod::Forward => {
                    let (settings, metrics) = (&config.auth.forward, metrics.forward());
                    let interval = config.auth.recheck_seconds.duration();
                    let forward = if interval.is_zero() {
                        ForwardAuth::new(settings, metrics)?
                    } else {
                        ForwardAuth::with_rechecks(settings, metrics)?
                    };
                    access.recheck =
                        (!interval.is_zero()).then(|| Arc::new(Recheck::new(forward.clone(), interval)));
                    Method::Forward { forward, requests_per_address: AddressCounts::new(requests_per_address(settings)) }
                }
            });
        }
        Ok(access)
    }
}

/// The certificate and what speaks TLS with it, where TLS is configured.
async fn tls(
    config: &Config,
    metrics: &Arc<Metrics>,
) -> Result<(Option<Arc<Certificates>>, Option<Tls>), StartError> {
    let Some((certificate, key)) = config.server.tls.files() else { return Ok((None, None)) };
    let certificates = Certificates::open(PairFiles { certificate, key }, Arc::clone(metrics)).await?;
    let tls = Tls::new(&certificates)?;
    Ok((Some(certificates), Some(tls)))
}

/// The configured bus, and where it listens if it is the embedded one.
async fn bus(
    config: &Config,
    clients: usize,
    node: NodeId,
    desired_subscriptions: &Arc<DesiredSubscriptions>,
) -> Result<(Arc<dyn Bus>, Option<SocketAddr>), StartError> {
    if config.redis.is_configured() {
        return Ok((
            Arc::new(RedisBus::new(
                &config.redis,
                &config.retention,
                node,
                Arc::clone(desired_subscriptions),
            )?),
            None,
        ));
    }
    let listener = match config.embedded.listen {
        Some(address) => Some(embedded::bind(address, &config.embedded.password).await?),
        None => None,
    };
    let address = listener.as_ref().map(address_of).transpose()?;
    let names = ChannelNames { prefix: &config.redis.channel_prefix, control: &config.redis.control_channel };
    let event_bytes = config.limits.event_bytes;
    let embedded = EmbeddedConfig { clients, ..config.embedded.clone() };
    let retention = &config.retention;
    let bus = EmbeddedBus::open(
        &embedded,
        retention,
        names,
        event_bytes,
        Arc::clone(desired_subscriptions),
        listener,
    )
    .await?;
    Ok((Arc::new(bus), address))
}

/// Ends an engine's shards.
struct StopOnDrop(Option<Arc<Engine>>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        if let Some(engine) = &self.0 {
            engine.stop();
        }
    }
}

/// The engine that writes streams, where one is wanted.
fn engine(
    config: &Config,
    streams: &Arc<StreamSettings>,
) -> Result<Option<(Engine, Vec<Shard>)>, StartError> {
    match config.delivery.writer {
        Writer::Body => Ok(None),
        Writer::Handoff => {
            let settings = engine_settings(config, Arc::clone(streams));
            Engine::new(config.delivery.shards(), &settings).map(Some).map_err(StartError::Engine)
        }
    }
}

fn bind(key: &'static str, address: SocketAddr, options: &SocketSettings) -> Result<TcpListener, StartError> {
    http::bind(address, options).map_err(|source| StartError::Bind { key, address, source })
}

fn address_of(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(StartError::Address)
}

/// Removes workspaces without clients and publish rates without recent use, again and again.
async fn sweep(hub: Arc<Hub>, publish_rate: Arc<PublishRate>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(SWEEP_INTERVAL);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                hub.sweep(Instant::now());
                publish_rate.forget_idle();
            }
            () = stop.cancelled() => return,
        }
    }
}
