//! Builds the public listener: its handlers, its certificate, and what they need.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::access::Access;
use super::delivery::Delivery;
use super::listener::ListenerSettings;
use super::schemas::NodeSchemas;
use super::start_error::StartError;
use crate::http;
use crate::http::{
    BodyReceiver, Certificates, ConnectionLimits, ConnectionSettings, CorsRules, ListenSocket, Listener,
    Origins, PairFiles, PositionHandler, PublicHandlers, PublishHandler, PublishRate, StreamHandler,
    TicketHandler, Tls,
};
use tidings_bus::Bus;
use tidings_hub::Hub;
use tidings_hub::rate::Rates;
use tidings_limits::BodyBudget;
use tidings_metrics::Metrics;
use tidings_traces::PublicationTraces;

/// The settings of the public listener.
#[derive(Debug)]
pub(super) struct PublicSettings<'a> {
    /// The listener itself; `certificate` adds TLS.
    pub(super) listener: ListenerSettings,
    /// The files of its certificate, and the interval at which they are checked; `None`: no TLS.
    pub(super) certificate: Option<(PairFiles, Duration)>,
    /// The path in front of all others.
    pub(super) base_path: &'a str,
    /// The origins whose pages may read and publish.
    pub(super) origins: Origins,
    /// Whether streams are `named` unless they say otherwise.
    pub(super) named: bool,
    /// The most events that a first connection may begin with.
    pub(super) newest_max: usize,
    /// Reads of logs for positions at a time, and how long another one waits.
    pub(super) position_reads: (usize, Duration),
    /// Bytes of a payload.
    pub(super) event_bytes: usize,
    /// Bytes of a batch's body.
    pub(super) batch_bytes: usize,
    /// The memory for bodies, in bytes.
    pub(super) body_bytes: usize,
    /// Bound on receiving a body.
    pub(super) body_timeout: Duration,
    /// The rate limit on publications to a workspace.
    pub(super) rates: Rates,
}

/// The parts of a node that the public handlers use.
#[derive(Debug, Clone, Copy)]
pub(super) struct PublicParts<'a> {
    pub(super) bus: &'a Arc<dyn Bus>,
    pub(super) hub: &'a Arc<Hub>,
    pub(super) delivery: &'a Delivery,
    pub(super) access: &'a Access,
    pub(super) schemas: &'a NodeSchemas,
    pub(super) publication_traces: Option<&'a PublicationTraces>,
    pub(super) metrics: &'a Arc<Metrics>,
}

/// The public listener.
#[derive(Debug)]
pub(super) struct PublicListener {
    /// The listener; has to be run.
    pub(super) listener: Listener,
    /// The rate limits on publications, of which idle ones have to be dropped.
    pub(super) publish_rate: Arc<PublishRate>,
    /// The rules for pages on other hosts.
    pub(super) cors: Arc<CorsRules>,
    /// The limits on connections.
    pub(super) limits: Arc<ConnectionLimits>,
    /// Publishes events, for the console.
    pub(super) publish: Arc<PublishHandler>,
    /// Receives bodies, for the console.
    pub(super) bodies: Arc<BodyReceiver>,
    /// The certificate and the interval of its checks; has to be watched. `None` without TLS.
    pub(super) certificates: Option<(Arc<Certificates>, Duration)>,
}

impl PublicListener {
    /// Builds the listener on open sockets. Reads the certificate.
    ///
    /// # Errors
    ///
    /// [`StartError::Certificate`], if there is no certificate to use; [`StartError::Tls`].
    pub(super) async fn new(
        settings: PublicSettings<'_>,
        sockets: Vec<ListenSocket>,
        parts: PublicParts<'_>,
    ) -> Result<Self, StartError> {
        let publish_rate = Arc::new(PublishRate::new(settings.rates));
        let origins = Arc::new(CorsRules::new(settings.origins.clone()));
        let handlers = handlers(&settings, &parts, &origins, &publish_rate);
        let (publish, bodies) = (Arc::clone(&handlers.publish), Arc::clone(&handlers.publish.bodies));
        let routes = http::public(handlers, settings.base_path);
        let (mut certificates, mut tls) = (None, None);
        if let Some((files, interval)) = settings.certificate {
            let current = Certificates::open(files, Arc::clone(parts.metrics)).await?;
            tls = Some(Tls::new(&current, parts.metrics.tls_handshake_seconds.clone())?);
            certificates = Some((current, interval));
        }
        let (cors, limits) = (Arc::clone(&origins), Arc::clone(&settings.listener.connection_gate.limits));
        let listener = settings.listener.listener(sockets, routes, origins, Arc::clone(parts.metrics));
        let listener = Listener {
            connection: ConnectionSettings { tls, ..listener.connection },
            engine: parts.delivery.engine.clone(),
            metrics: Some(Arc::clone(parts.metrics)),
            ..listener
        };
        Ok(Self { listener, publish_rate, cors, limits, publish, bodies, certificates })
    }
}

fn handlers(
    settings: &PublicSettings<'_>,
    parts: &PublicParts<'_>,
    origins: &Arc<CorsRules>,
    publish_rate: &Arc<PublishRate>,
) -> PublicHandlers {
    let authenticator = &parts.access.authenticator;
    let (streams, metrics) = (&parts.delivery.streams, parts.metrics);
    let bodies = Arc::new(BodyReceiver {
        budget: BodyBudget::new(settings.body_bytes),
        timeout: settings.body_timeout,
        retry: streams.retry,
        metrics: Arc::clone(metrics),
    });
    let stream = Arc::new(StreamHandler {
        authenticator: Arc::clone(authenticator),
        registry: Arc::clone(&parts.access.registry),
        hub: Arc::clone(parts.hub),
        streams: Arc::clone(streams),
        named: settings.named,
        newest_max: settings.newest_max,
    });
    let (reads, patience) = settings.position_reads;
    PublicHandlers {
        position: Arc::new(PositionHandler {
            stream: Arc::clone(&stream),
            bus: Arc::clone(parts.bus),
            reads: Semaphore::new(reads),
            patience,
        }),
        stream,
        publish: Arc::new(PublishHandler {
            authenticator: Arc::clone(authenticator),
            origins: Arc::clone(origins),
            bodies: Arc::clone(&bodies),
            event_bytes: settings.event_bytes,
            batch_bytes: settings.batch_bytes,
            publish_rate: Arc::clone(publish_rate),
            schemas: parts.schemas.check.clone(),
            traces: parts.publication_traces.cloned(),
            bus: Arc::clone(parts.bus),
            retry: streams.retry,
            metrics: Arc::clone(metrics),
        }),
        tickets: Arc::new(TicketHandler {
            authenticator: Arc::clone(authenticator),
            origins: Arc::clone(origins),
            bodies,
            retry: streams.retry,
            metrics: Arc::clone(metrics),
        }),
        origins: Arc::clone(origins),
    }
}
