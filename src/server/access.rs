//! Builds the right to open streams and to publish: authentication, open streams, disconnects.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::start_error::StartError;
use crate::warnings::app_in_the_clear;
use tidings_auth::authenticator::Method;
use tidings_auth::control::{Bans, ControlInbox, DisconnectHandler};
use tidings_auth::forward::ForwardAuth;
use tidings_auth::jwt;
use tidings_auth::jwt::{TokenMethod, TokenSources, Verifier};
use tidings_auth::recheck::Recheck;
use tidings_auth::tickets::Tickets;
use tidings_auth::{Authenticator, ForwardConfig, JwtConfig};
use tidings_bus::Bus;
use tidings_bus::redis::access::Finding;
use tidings_event::NodeId;
use tidings_limits::{AddressCounts, StreamLimits, StreamRegistry};
use tidings_metrics::Metrics;

/// The settings of access.
#[derive(Debug)]
pub(super) struct AccessSettings<'a> {
    /// The methods in the order in which they are tried.
    pub(super) methods: Vec<MethodSettings<'a>>,
    /// The lifetime of a ticket.
    pub(super) ticket_lifetime: Duration,
    /// Tickets of a user at a time; `None`: any number.
    pub(super) tickets_per_user: Option<NonZeroU32>,
    /// The bounds on open streams.
    pub(super) streams: StreamLimits,
}

/// The settings of a method of authentication.
#[derive(Debug)]
pub(super) enum MethodSettings<'a> {
    /// Tokens.
    Jwt {
        /// Their keys and claims.
        jwt: &'a JwtConfig,
        /// Whether a secret may be short, because only this machine can connect.
        may_be_short: bool,
    },
    /// Requests to the app.
    Forward {
        /// The app.
        forward: &'a ForwardConfig,
        /// The interval at which the app is asked about open streams; `None`: never.
        recheck: Option<Duration>,
        /// Open decisions of one client address; `None`: any number.
        requests_per_address: Option<NonZeroU32>,
    },
}

/// The parts that decide about access.
#[derive(Debug)]
pub(super) struct Access {
    /// Authenticates requests.
    pub(super) authenticator: Arc<Authenticator>,
    /// The open streams.
    pub(super) registry: Arc<StreamRegistry>,
    /// Applies the commands of `inbox`; has to be run.
    pub(super) disconnects: DisconnectHandler,
    /// Takes the control commands of the bus.
    pub(super) inbox: ControlInbox,
    /// Checks tokens; has to be run. `None` if tokens are no method.
    pub(super) tokens: Option<Arc<TokenMethod>>,
    /// Asks the app about open streams; has to be run. `None` if it is never asked.
    pub(super) recheck: Option<Arc<Recheck>>,
}

impl Access {
    /// Prepares the methods. Reads files of keys, and so blocks.
    ///
    /// # Errors
    ///
    /// [`StartError`], if the keys for tokens or the requests to the app cannot be prepared.
    pub(super) fn new(
        settings: &AccessSettings<'_>,
        node: NodeId,
        bus: &Arc<dyn Bus>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, StartError> {
        let (mut methods, mut tokens, mut recheck) = (Vec::new(), None, None);
        for method in &settings.methods {
            methods.push(match method {
                MethodSettings::Jwt { jwt, may_be_short } => {
                    let verifier = token_verifier(jwt, *may_be_short, metrics)?;
                    let method = Arc::new(TokenMethod::new(TokenSources::new(jwt), verifier));
                    tokens = Some(Arc::clone(&method));
                    Method::Jwt(method)
                }
                MethodSettings::Forward { forward, recheck: interval, requests_per_address } => {
                    if let Some(Finding { check, result, fix }) = app_in_the_clear(&forward.url) {
                        tracing::warn!(
                            check,
                            result,
                            fix,
                            "programs on the network can read the cookies of users"
                        );
                    }
                    let forward = match interval {
                        None => ForwardAuth::new(forward, metrics.forward())?,
                        Some(_) => ForwardAuth::with_rechecks(forward, metrics.forward())?,
                    };
                    recheck = interval.map(|interval| Arc::new(Recheck::new(forward.clone(), interval)));
                    let requests_per_address = AddressCounts::new(*requests_per_address);
                    Method::Forward { forward, requests_per_address }
                }
            });
        }
        let registry = Arc::new(StreamRegistry::new(node, settings.streams));
        let bans = Arc::new(Bans::default());
        let (disconnects, inbox) = DisconnectHandler::new(
            Arc::clone(&registry),
            Arc::clone(&bans),
            Arc::clone(bus),
            Arc::clone(metrics),
        );
        let tickets = Tickets::new(Arc::clone(bus), settings.ticket_lifetime, settings.tickets_per_user);
        let authenticator = Arc::new(Authenticator::new(
            methods,
            tickets,
            bans,
            recheck.clone(),
            metrics.authentication.clone(),
        ));
        Ok(Self { authenticator, registry, disconnects, inbox, tokens, recheck })
    }
}

/// The verifier of tokens. Reads files of keys, and so blocks. A short secret is an error, unless
/// only this machine can connect.
pub(super) fn token_verifier(
    jwt: &JwtConfig,
    may_be_short: bool,
    metrics: &Metrics,
) -> Result<Verifier, StartError> {
    if let Some(short) = jwt::short_secret(jwt)? {
        if !may_be_short {
            return Err(short.into());
        }
        tracing::warn!(error = %short, "the secret for tokens is too short for anything but a try on this machine");
    }
    Ok(Verifier::new(jwt, metrics)?)
}
