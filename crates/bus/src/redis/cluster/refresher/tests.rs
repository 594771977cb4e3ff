use std::sync::OnceLock;

use super::super::scripted::{ScriptedReply, ScriptedServer, bulk, primary, settings_at};
use super::*;
use crate::redis::connect::Connector;

#[test]
fn rounds_are_frequent_for_the_time_of_a_failover() {
    let poll = Duration::from_secs(1);
    assert_eq!(Latest::none().interval(poll), poll);
    let since =
        |age: Duration| Latest { incomplete_since: Instant::now().checked_sub(age), ..Latest::none() };
    assert_eq!(since(Duration::ZERO).interval(poll), POLL_WITHOUT_A_PRIMARY);
    assert_eq!(since(FAILOVER_MAX).interval(poll), poll);
    let short = Duration::from_millis(100);
    assert_eq!(since(Duration::ZERO).interval(short), short);
}

/// The configuration has a name, and the servers announce addresses. While a primary does not
/// respond, each round asks the configured servers too.
#[tokio::test]
async fn configured_server_with_another_name_keeps_its_link() {
    let port: Arc<OnceLock<u16>> = Arc::default();
    let own = Arc::clone(&port);
    let server = ScriptedServer::start(move |_| {
        let own = *own.get().unwrap();
        // No server listens at the second port.
        let nodes = [primary(1, own, 1, "0-99", true), primary(2, 1, 2, "100-16383", false)];
        ScriptedReply::Send(bulk(&nodes.concat()))
    })
    .await;
    port.set(server.port).unwrap();
    let config = settings_at("localhost", server.port, 40.0);
    let servers = Arc::new(Servers::new(Arc::new(Connector::new(&config).unwrap()), &config));
    let refresher = Refresher::new(servers, &config).unwrap();
    for _ in 0..4 {
        refresher.refresh().await.unwrap();
    }
    assert_eq!(server.connections(), 2, "one by the name, and one by the address");
}
