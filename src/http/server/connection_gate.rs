//! Limits on connections: in all, of one address, and on their rate.
//!
//! A client beyond a limit still gets a response: a browser's EventSource takes some failed
//! requests for the end. For that there are overflow connections, a bounded number. A node closes
//! no open connection for a new one.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::request::client_address::TrustedProxies;
use crate::http::request::limit_exceeded::LimitExceeded;
use tidings_limits::{AddressCounts, AddressFull, AddressPlace};
use tidings_metrics::Metrics;

/// Bounds on the connections of a listener.
#[derive(Debug, Clone)]
pub struct ConnectionGateSettings {
    /// Connections at a time.
    pub connections: usize,
    /// Overflow connections at a time, which get a response that asks them to return later.
    /// Without any, new connections wait in the listen queue.
    pub overflow: usize,
    /// The limits that can be replaced.
    pub limits: Arc<ConnectionLimits>,
    /// Whether the oldest connection is closed for a new one at the limit. Otherwise the new one
    /// waits.
    pub oldest_gives_way: bool,
}

/// Limits on connections that can be replaced while the listener runs.
pub struct ConnectionLimits {
    addresses: Arc<AddressCounts>,
    streams: Arc<AddressCounts>,
    rate: ArcSwapOption<DefaultDirectRateLimiter>,
}

impl ConnectionLimits {
    /// `per_address`: connections of one client address at a time, or its streams behind a trusted
    /// proxy. `per_second`: new connections each second, of all clients. `None`: any number.
    #[must_use]
    pub fn new(per_address: Option<NonZeroU32>, per_second: Option<NonZeroU32>) -> Self {
        Self {
            addresses: AddressCounts::new(per_address),
            streams: AddressCounts::new(per_address),
            rate: ArcSwapOption::new(limiter(per_second)),
        }
    }

    /// Replaces the limits, with a full bucket. Open connections remain.
    pub fn set(&self, per_address: Option<NonZeroU32>, per_second: Option<NonZeroU32>) {
        self.addresses.set_limit(per_address);
        self.streams.set_limit(per_address);
        self.rate.store(limiter(per_second));
    }
}

impl fmt::Debug for ConnectionLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionLimits").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

fn limiter(per_second: Option<NonZeroU32>) -> Option<Arc<DefaultDirectRateLimiter>> {
    per_second.map(|per_second| Arc::new(RateLimiter::direct(Quota::per_second(per_second))))
}

/// Counts connections against their bounds.
pub(super) struct ConnectionGate {
    places: Arc<Semaphore>,
    overflow: Arc<Semaphore>,
    limits: Arc<ConnectionLimits>,
    proxies: Arc<TrustedProxies>,
    metrics: Option<Arc<Metrics>>,
}

/// A place for one connection, until it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    permit: OwnedSemaphorePermit,
    place: Option<AddressPlace>,
    exceeded: Option<LimitExceeded>,
}

impl ConnectionGate {
    pub(crate) fn new(
        settings: ConnectionGateSettings,
        proxies: Arc<TrustedProxies>,
        metrics: Option<Arc<Metrics>>,
    ) -> Self {
        Self {
            places: Arc::new(Semaphore::new(settings.connections)),
            overflow: Arc::new(Semaphore::new(settings.overflow)),
            limits: settings.limits,
            proxies,
            metrics,
        }
    }

    /// Waits for a place for one more connection, an overflow place if need be. Cancellation safe.
    pub(crate) async fn acquire(&self) -> ConnectionPermit {
        let (permit, exceeded) = tokio::select! {
            biased;
            permit = Arc::clone(&self.places).acquire_owned() => (permit, None),
            permit = Arc::clone(&self.overflow).acquire_owned() => (permit, Some(LimitExceeded::Connections)),
        };
        match permit {
            Ok(permit) => ConnectionPermit { permit, place: None, exceeded },
            // Neither is ever closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// Whether the next connection has to wait for a place.
    pub(super) fn is_full(&self) -> bool {
        self.places.available_permits() == 0 && self.overflow.available_permits() == 0
    }

    /// Admits an accepted connection to its place. `None`: it is beyond a limit, and so are the
    /// overflow connections.
    pub(crate) fn arrive(&self, connection_permit: ConnectionPermit) -> Option<ConnectionPermit> {
        let connection_permit =
            match (connection_permit.exceeded, Arc::clone(&self.places).try_acquire_owned()) {
                // Another connection has ended in the meantime.
                (Some(_), Ok(permit)) => ConnectionPermit { permit, place: None, exceeded: None },
                _ => connection_permit,
            };
        if let Some(exceeded) = connection_permit.exceeded {
            self.count(exceeded);
            return Some(connection_permit);
        }
        match &*self.limits.rate.load() {
            Some(rate) if rate.check().is_err() => self.to_overflow(LimitExceeded::Rate),
            _ => Some(connection_permit),
        }
    }

    /// The connection turns out to be of an address. `None` as above.
    pub(super) fn identify(
        &self,
        connection_permit: ConnectionPermit,
        address: IpAddr,
    ) -> Option<ConnectionPermit> {
        if connection_permit.exceeded.is_some() || self.proxies.trust(address) {
            return Some(connection_permit);
        }
        match self.limits.addresses.acquire(address) {
            Ok(place) => Some(ConnectionPermit { place, ..connection_permit }),
            Err(AddressFull) => {
                drop(connection_permit);
                self.to_overflow(LimitExceeded::Address)
            }
        }
    }

    /// The counts of streams by address, which are bounded as connections are.
    pub(crate) fn streams(&self) -> Arc<AddressCounts> {
        Arc::clone(&self.limits.streams)
    }

    fn to_overflow(&self, exceeded: LimitExceeded) -> Option<ConnectionPermit> {
        self.count(exceeded);
        let permit = Arc::clone(&self.overflow).try_acquire_owned().ok()?;
        Some(ConnectionPermit { permit, place: None, exceeded: Some(exceeded) })
    }

    fn count(&self, exceeded: LimitExceeded) {
        if let Some(metrics) = &self.metrics {
            metrics.count_refusal(exceeded.reason());
        }
    }
}

impl ConnectionPermit {
    /// The limit that the connection exceeds, if it is an overflow connection.
    pub(crate) fn exceeded(&self) -> Option<LimitExceeded> {
        self.exceeded
    }

    /// The guards of the place, for as long as the connection is open.
    pub(super) fn into_parts(self) -> (OwnedSemaphorePermit, Option<AddressPlace>) {
        (self.permit, self.place)
    }
}

impl fmt::Debug for ConnectionGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionGate").field("places", &self.places).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
