//! The command line: what each command prints, and what it exits with.

mod bench;
mod bench_faults;
mod bench_peers;
mod check;
mod configuration;
mod generate;
mod publish;
mod serve;
mod sinks;
mod tail;
mod token;
mod usage;
mod version;

use crate::support::{Broker, TestCluster};

/// The address of a broker's HTTP interface, for `--url`.
fn url(broker: &Broker) -> String {
    format!("http://{}/api", broker.address())
}

/// The configuration with which other commands find the broker of a test, and its bus.
fn settings_of(cluster: &TestCluster, redis: Option<&str>) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("server.listen", cluster.broker.address().to_string()),
        ("admin.listen", cluster.broker.admin().to_string()),
    ];
    settings.extend(redis.map(|url| ("redis.url", url.to_owned())));
    settings
}
