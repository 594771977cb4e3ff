use super::*;
use crate::http::request::forwarded::ProxyHeader;

fn connection_gate(settings: ConnectionGateSettings) -> ConnectionGate {
    let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()], ProxyHeader::Forwarded);
    ConnectionGate::new(settings, Arc::new(proxies), None)
}

fn settings(per_address: u32, per_second: u32) -> ConnectionGateSettings {
    let limits = ConnectionLimits::new(NonZeroU32::new(per_address), NonZeroU32::new(per_second));
    ConnectionGateSettings { connections: 2, overflow: 1, limits: Arc::new(limits), oldest_gives_way: false }
}

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
    let connection_gate = connection_gate(settings(0, 0));
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
    let connection_gate = connection_gate(settings(0, 0));
    let first = enter(&connection_gate, "192.0.2.1").await;
    let _second = enter(&connection_gate, "192.0.2.1").await;
    let waiting = connection_gate.acquire().await;
    drop(first);
    assert_eq!(connection_gate.arrive(waiting).unwrap().exceeded(), None);
    assert_eq!(connection_gate.overflow.available_permits(), 1);
}

#[tokio::test]
async fn one_address_leaves_places_for_others() {
    let connection_gate = connection_gate(ConnectionGateSettings { connections: 10, ..settings(1, 0) });
    let first = enter(&connection_gate, "2001:db8::1").await.unwrap();
    let second = enter(&connection_gate, "2001:db8::2").await.unwrap();
    assert_eq!((first.exceeded(), second.exceeded()), (None, Some(LimitExceeded::Address)));
    assert!(enter(&connection_gate, "2001:db8::3").await.is_none(), "the reserve is taken");
    assert_eq!(enter(&connection_gate, "2001:db8:1::1").await.unwrap().exceeded(), None);
    let proxied = [enter(&connection_gate, "10.0.0.1").await, enter(&connection_gate, "10.0.0.1").await];
    assert!(proxied.iter().all(|connection_permit| connection_permit.as_ref().unwrap().exceeded().is_none()));
    drop((first, second));
    assert_eq!(enter(&connection_gate, "2001:db8::1").await.unwrap().exceeded(), None);
    drop(proxied);
    assert!(connection_gate.limits.addresses.is_empty(), "an address without connections is not kept");
}

#[tokio::test]
async fn connections_beyond_the_rate_overflow() {
    let connection_gate = connection_gate(ConnectionGateSettings { connections: 10, ..settings(0, 2) });
    let mut held = Vec::new();
    for expected in [None, None, Some(LimitExceeded::Rate)] {
        let connection_permit = enter(&connection_gate, "192.0.2.1").await.unwrap();
        assert_eq!(connection_permit.exceeded(), expected);
        held.push(connection_permit);
    }
    connection_gate.limits.set(None, None);
    let connection_permit = enter(&connection_gate, "192.0.2.1").await.unwrap();
    assert_eq!(connection_permit.exceeded(), None, "the limit was replaced");
}
