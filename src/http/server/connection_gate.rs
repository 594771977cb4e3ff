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
use tidings_limits::{AddressCounts, AddressFull, AddressPlace};
use tidings_metrics::Metrics;

/// Bounds on the connections of a listener.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionGateSettings {
    /// Connections at a time.
    pub connections: usize,
    /// Overflow connections at a time, which get a response that asks them to return later.
    /// Without any, new connections wait in the listen queue.
    pub reserve: usize,
    /// Connections of one client address at a time, or its streams behind a trusted proxy; `None`:
    /// any number.
    pub per_address: Option<NonZeroU32>,
    /// New connections each second, of all clients; `None`: any number.
    pub per_second: Option<NonZeroU32>,
    /// Whether the oldest connection is closed for a new one at the limit. Otherwise the new one
    /// waits.
    pub oldest_gives_way: bool,
}

/// The limit that a connection exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitExceeded {
    /// Connections in all.
    Connections,
    /// Connections of its address, or streams behind a proxy.
    Address,
    /// New connections each second.
    Rate,
}

/// Counts connections against their bounds.
pub(super) struct ConnectionGate {
    room: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
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
    surplus: Option<LimitExceeded>,
}

impl ConnectionGate {
    pub(crate) fn new(
        settings: ConnectionGateSettings,
        proxies: Arc<TrustedProxies>,
        metrics: Option<Arc<Metrics>>,
    ) -> Self {
        Self {
            room: Arc::new(Semaphore::new(settings.connections)),
            reserve: Arc::new(Semaphore::new(settings.reserve)),
            addresses: AddressCounts::new(settings.per_address),
            streams: AddressCounts::new(settings.per_address),
            rate: settings.per_second.map(|per_second| RateLimiter::direct(Quota::per_second(per_second))),
            proxies,
            metrics,
        }
    }

    /// Waits for a place for one more connection, an overflow place if need be. Cancellation safe.
    pub(crate) async fn room(&self) -> ConnectionPermit {
        let (permit, surplus) = tokio::select! {
            biased;
            permit = Arc::clone(&self.room).acquire_owned() => (permit, None),
            permit = Arc::clone(&self.reserve).acquire_owned() => (permit, Some(LimitExceeded::Connections)),
        };
        match permit {
            Ok(permit) => ConnectionPermit { permit, place: None, surplus },
            // Neither is ever closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// Whether the next connection has to wait for a place.
    pub(super) fn is_full(&self) -> bool {
        self.room.available_permits() == 0 && self.reserve.available_permits() == 0
    }

    /// Admits an accepted connection to its place. `None`: it is beyond a limit, and so are the
    /// overflow connections.
    pub(crate) fn arrive(&self, ticket: ConnectionPermit) -> Option<ConnectionPermit> {
        let ticket = match (ticket.surplus, Arc::clone(&self.room).try_acquire_owned()) {
            // Another connection has ended in the meantime.
            (Some(_), Ok(permit)) => ConnectionPermit { permit, place: None, surplus: None },
            _ => ticket,
        };
        if let Some(surplus) = ticket.surplus {
            self.count(surplus);
            return Some(ticket);
        }
        match &self.rate {
            Some(rate) if rate.check().is_err() => self.put_into_reserve(LimitExceeded::Rate),
            _ => Some(ticket),
        }
    }

    /// The connection turns out to be of an address. `None` as above.
    pub(super) fn identify(&self, ticket: ConnectionPermit, address: IpAddr) -> Option<ConnectionPermit> {
        if ticket.surplus.is_some() || self.proxies.trust(address) {
            return Some(ticket);
        }
        match self.addresses.enter(address) {
            Ok(place) => Some(ConnectionPermit { place, ..ticket }),
            Err(AddressFull) => {
                drop(ticket);
                self.put_into_reserve(LimitExceeded::Address)
            }
        }
    }

    /// The counts of streams by address, which are bounded as connections are.
    pub(crate) fn streams(&self) -> Arc<AddressCounts> {
        Arc::clone(&self.streams)
    }

    fn put_into_reserve(&self, surplus: LimitExceeded) -> Option<ConnectionPermit> {
        self.count(surplus);
        let permit = Arc::clone(&self.reserve).try_acquire_owned().ok()?;
        Some(ConnectionPermit { permit, place: None, surplus: Some(surplus) })
    }

    fn count(&self, surplus: LimitExceeded) {
        if let Some(metrics) = &self.metrics {
            metrics.count_refusal(surplus.reason());
        }
    }
}

impl ConnectionPermit {
    /// The limit that the connection exceeds, if it is an overflow connection.
    pub(crate) fn surplus(&self) -> Option<LimitExceeded> {
        self.surplus
    }

    /// The guards of the place, for as long as the connection is open.
    pub(super) fn into_parts(self) -> (OwnedSemaphorePermit, Option<AddressPlace>) {
        (self.permit, self.place)
    }
}

impl LimitExceeded {
    /// The label in the metric.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Address => "connections-per-address",
            Self::Rate => "connects-per-second",
        }
    }
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connections => "the node has as many connections as it may: try again later",
            Self::Address => "this address has as many connections as it may: close one, or try again later",
            Self::Rate => "more clients connect at this moment than the node lets in: try again later",
        })
    }
}

impl fmt::Debug for ConnectionGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionGate").field("room", &self.room).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ForwardedHeader;

    fn connection_gate(settings: ConnectionGateSettings) -> ConnectionGate {
        let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()], ForwardedHeader::Forwarded);
        ConnectionGate::new(settings, Arc::new(proxies), None)
    }

    const SETTINGS: ConnectionGateSettings = ConnectionGateSettings {
        connections: 2,
        reserve: 1,
        per_address: None,
        per_second: None,
        oldest_gives_way: false,
    };

    fn is_ready<T>(future: impl Future<Output = T>) -> Option<T> {
        futures_util::FutureExt::now_or_never(future)
    }

    async fn enter(connection_gate: &ConnectionGate, address: &str) -> Option<ConnectionPermit> {
        let ticket = connection_gate.arrive(connection_gate.room().await)?;
        connection_gate.identify(ticket, address.parse().unwrap())
    }

    /// Beyond the limit there are overflow connections; beyond those a client waits in the queue.
    #[tokio::test]
    async fn beyond_the_bound_stands_a_reserve_and_beyond_that_one_waits() {
        let connection_gate = connection_gate(SETTINGS);
        let first = enter(&connection_gate, "192.0.2.1").await.unwrap();
        let _second = enter(&connection_gate, "192.0.2.1").await.unwrap();
        assert_eq!(first.surplus(), None);
        let third = enter(&connection_gate, "192.0.2.1").await.unwrap();
        assert_eq!(third.surplus(), Some(LimitExceeded::Connections));
        assert!(is_ready(connection_gate.room()).is_none());
        drop(first);
        let fourth = enter(&connection_gate, "192.0.2.1").await.unwrap();
        assert_eq!(fourth.surplus(), None, "nobody inside was put out, and there is room again");
    }

    #[tokio::test]
    async fn room_that_comes_free_while_waiting_is_taken() {
        let connection_gate = connection_gate(SETTINGS);
        let first = enter(&connection_gate, "192.0.2.1").await;
        let _second = enter(&connection_gate, "192.0.2.1").await;
        let waiting = connection_gate.room().await;
        drop(first);
        assert_eq!(connection_gate.arrive(waiting).unwrap().surplus(), None);
        assert_eq!(connection_gate.reserve.available_permits(), 1);
    }

    #[tokio::test]
    async fn one_address_leaves_room_for_others() {
        let connection_gate = connection_gate(ConnectionGateSettings {
            connections: 10,
            per_address: NonZeroU32::new(1),
            ..SETTINGS
        });
        let first = enter(&connection_gate, "2001:db8::1").await.unwrap();
        let second = enter(&connection_gate, "2001:db8::2").await.unwrap();
        assert_eq!((first.surplus(), second.surplus()), (None, Some(LimitExceeded::Address)));
        assert!(enter(&connection_gate, "2001:db8::3").await.is_none(), "the reserve is taken");
        assert_eq!(enter(&connection_gate, "2001:db8:1::1").await.unwrap().surplus(), None);
        let proxied = [enter(&connection_gate, "10.0.0.1").await, enter(&connection_gate, "10.0.0.1").await];
        assert!(proxied.iter().all(|ticket| ticket.as_ref().unwrap().surplus().is_none()));
        drop((first, second));
        assert_eq!(enter(&connection_gate, "2001:db8::1").await.unwrap().surplus(), None);
        drop(proxied);
        assert!(connection_gate.addresses.is_empty(), "who has left is not remembered");
    }

    #[tokio::test]
    async fn those_who_come_too_fast_are_surplus() {
        let connection_gate = connection_gate(ConnectionGateSettings {
            connections: 10,
            per_second: NonZeroU32::new(2),
            ..SETTINGS
        });
        let mut held = Vec::new();
        for expected in [None, None, Some(LimitExceeded::Rate)] {
            let ticket = enter(&connection_gate, "192.0.2.1").await.unwrap();
            assert_eq!(ticket.surplus(), expected);
            held.push(ticket);
        }
    }
}
