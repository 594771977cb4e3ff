//! Addresses by name.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpStream;

use crate::support::commands::run_tidings;
use crate::support::ports::Port;
use crate::support::{Broker, BrokerOptions, http};

#[tokio::test]
async fn name_means_all_its_addresses() {
    let port = Port::claim();
    let listen = format!("localhost:{}", port.number());
    let options = BrokerOptions::embedded().set("server.listen", &listen);
    let broker = Broker::start_ready(options).await;
    let addresses = tokio::net::lookup_host(&listen).await.unwrap().collect::<Vec<_>>();
    let log = broker.log();
    for address in addresses {
        if std::net::TcpListener::bind((address.ip(), 0)).is_err() {
            assert!(log.contains("cannot listen on one of the addresses"), "{log}");
            continue;
        }
        assert!(log.contains(&address.to_string()), "{log}");
        let answer = http::request(address, "POST", "/api/workspaces/acme/events", &[], "1").await;
        assert_eq!(answer.status, 200, "{address}");
    }
    assert!(http::get(SocketAddr::from((Ipv4Addr::LOCALHOST, port.number())), "/").await.status == 404);
    // An address that the name does not have.
    assert!(TcpStream::connect((Ipv4Addr::new(127, 0, 0, 2), port.number())).await.is_err());
}

#[tokio::test]
async fn name_without_address_stops_the_start() {
    let settings =
        [("server.listen", "no-such-host.invalid:8080"), ("auth.mode", "none"), ("embedded.listen", "")];
    let error = run_tidings(&["serve"], &settings).await.failure(1);
    assert!(error.contains("no-such-host.invalid:8080") && error.contains("(server.listen)"), "{error}");
}
