//! Limits on connections: in all, of one address, and on their rate.
//!
//! A client beyond a limit still gets a response: a browser's EventSource takes some failed
//! requests for the end. For that there are overflow connections, a bounded number. A node closes
//! no open connection for a new one.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::request::client_address::TrustedProxies;
use crate::http::request::limit_exceeded::LimitExceeded;
use tidings_limits::{AddressCounts, AddressFull, AddressPlace};
use tidings_metrics::Metrics;

/// Bounds on the connections of a listener.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionGateSettings {
    /// Connections at a time.
    pub connections: usize,
    /// Overflow connections at a time, which get a response that asks them to return later.
    /// Without any, new connections wait in the listen queue.
    pub overflow: usize,
    /// Connections of one client address at a time, or its streams behind a trusted proxy; `None`:
    /// any number.
    pub per_address: Option<NonZeroU32>,
    /// New connections each second, of all clients; `None`: any number.
    pub per_second: Option<NonZeroU32>,
    /// Whether the oldest connection is closed for a new one at the limit. Otherwise the new one
    /// waits.
    pub oldest_gives_way: bool,
}

/// Counts connections against their bounds.
pub(super) struct ConnectionGate {
    places: Arc<Semaphore>,
    overflow: Arc<Semaphore>,
    addresses: Arc<AddressCounts>,
    streams: Arc<AddressCounts>,
    rate: Option<DefaultDirectRateLimiter>,
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
            addresses: AddressCounts::new(settings.per_address),
            streams: AddressCounts::new(settings.per_address),
            rate: settings.per_second.map(|per_second| RateLimiter::direct(Quota::per_second(per_second))),
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
        match &self.rate {
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
        match self.addresses.acquire(address) {
            Ok(place) => Some(ConnectionPermit { place, ..connection_permit }),
            Err(AddressFull) => {
                drop(connection_permit);
                self.to_overflow(LimitExceeded::Address)
            }
        }
    }

    /// The counts of streams by address, which are bounded as connections are.
    pub(crate) fn streams(&self) -> Arc<AddressCounts> {
        Arc::clone(&self.streams)
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
mod tests {
    use super::*;
    use crate::http::request::forwarded::ProxyHeader;

    fn connection_gate(settings: ConnectionGateSettings) -> ConnectionGate {
        let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()], ProxyHeader::Forwarded);
        ConnectionGate::new(settings, Arc::new(proxies), None)
    }

    const SETTINGS: ConnectionGateSettings = ConnectionGateSettings {
        connections: 2,
        overflow: 1,
        per_address: None,
        per_second: None,
        oldest_gives_way: false,
    };

    fn is_ready<T>(future: impl Future<Output = T>) -> Option<T> {
        futures_util::FutureExt::now_or_never(future)
    }

    async fn enter(connection_gate: &ConnectionGate, address: &str) -> Option<ConnectionPermit> {
        let connection_permit = connection_gate.arrive(connection_gate.acquire().await)?;
        connection_gate.identify(connection_permit, address.parse().unwrap())
    }

    /// Beyond the limit there are overflow connections; beyond those a client waits in the queue.
    #[tokio::test]
    async fn beyond_the_limit_connections_overflow_then_wait() {
        let connection_gate = connection_gate(SETTINGS);
        let first = enter(&connection_gate, "192.0.2.1").await.unwrap();
        let _second = enter(&connection_gate, "192.0.2.1").await.unwrap();
        assert_eq!(first.exceeded(), None);
        let third = enter(&connection_gate, "192.0.2.1").await.unwrap();
        assert_eq!(third.exceeded(), Some(LimitExceeded::Connections));
        assert!(is_ready(connection_gate.acquire()).is_none());
        drop(first);
        let fourth = enter(&connection_gate, "192.0.2.1").await.unwrap();
        assert_eq!(fourth.exceeded(), None, "no open connection was closed, and a place is free again");
    }

    #[tokio::test]
    async fn place_that_is_freed_while_waiting_is_used() {
        let connection_gate = connection_gate(SETTINGS);
        let first = enter(&connection_gate, "192.0.2.1").await;
        let _second = enter(&connection_gate, "192.0.2.1").await;
        let waiting = connection_gate.acquire().await;
        drop(first);
        assert_eq!(connection_gate.arrive(waiting).unwrap().exceeded(), None);
        assert_eq!(connection_gate.overflow.available_permits(), 1);
    }

    #[tokio::test]
    async fn one_address_leaves_places_for_others() {
        let connection_gate = connection_gate(ConnectionGateSettings {
            connections: 10,
            per_address: NonZeroU32::new(1),
            ..SETTINGS
        });
        let first = enter(&connection_gate, "2001:db8::1").await.unwrap();
        let second = enter(&connection_gate, "2001:db8::2").await.unwrap();
        assert_eq!((first.exceeded(), second.exceeded()), (None, Some(LimitExceeded::Address)));
        assert!(enter(&connection_gate, "2001:db8::3").await.is_none(), "the reserve is taken");
        assert_eq!(enter(&connection_gate, "2001:db8:1::1").await.unwrap().exceeded(), None);
        let proxied = [enter(&connection_gate, "10.0.0.1").await, enter(&connection_gate, "10.0.0.1").await];
        assert!(
            proxied.iter().all(|connection_permit| connection_permit.as_ref().unwrap().exceeded().is_none())
        );
        drop((first, second));
        assert_eq!(enter(&connection_gate, "2001:db8::1").await.unwrap().exceeded(), None);
        drop(proxied);
        assert!(connection_gate.addresses.is_empty(), "who has left is not remembered");
    }

    #[tokio::test]
    async fn connections_beyond_the_rate_overflow() {
        let connection_gate = connection_gate(ConnectionGateSettings {
            connections: 10,
            per_second: NonZeroU32::new(2),
            ..SETTINGS
        });
        let mut held = Vec::new();
        for expected in [None, None, Some(LimitExceeded::Rate)] {
            let connection_permit = enter(&connection_gate, "192.0.2.1").await.unwrap();
            assert_eq!(connection_permit.exceeded(), expected);
            held.push(connection_permit);
        }
    }
}
