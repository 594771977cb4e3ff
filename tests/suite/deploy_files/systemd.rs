//! The systemd unit.

use nix::sys::signal::Signal;

use super::{repository_file, seconds_to_end, variables};
use crate::support::{Broker, BrokerOptions, DEADLINE};

/// The values of a setting in the unit's `[Service]` section.
fn settings(name: &str) -> Vec<String> {
    let unit = repository_file("deploy/tidings.service");
    let service = unit.split("[Service]").nth(1).unwrap().split("[Install]").next().unwrap();
    let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned());
    service.lines().filter_map(value).collect()
}

fn setting(name: &str) -> String {
    let values = settings(name);
    assert_eq!(values.len(), 1, "one {name}");
    values[0].clone()
}

#[tokio::test]
async fn its_command_starts_a_broker_that_its_signal_ends() {
    let command = setting("ExecStart");
    let (program, arguments) = command.split_once(' ').unwrap();
    assert!(program.ends_with("/tidings"));
    assert_eq!(arguments, "serve", "what the harness runs");
    assert_eq!(setting("KillSignal"), "SIGTERM");
    let options =
        BrokerOptions::embedded().set("server.drain_delay_seconds", 0).set("server.drain_seconds", 0);
    let mut broker = Broker::start_ready(options).await;
    assert_eq!(setting("ExecReload"), "/bin/kill -HUP $MAINPID");
    broker.signal(Signal::SIGHUP);
    broker.logged("the configuration was read again").await;
    assert_eq!(broker.terminate(DEADLINE).await, Some(0));
}

#[test]
fn unit_allows_the_needs_of_a_node() {
    // A margin above the 1.5 s after which the broker closes the remaining connections.
    assert!(setting("TimeoutStopSec").parse::<f64>().unwrap() > seconds_to_end(&[]) + 5.0);
    let files = setting("LimitNOFILE").parse::<f64>().unwrap();
    assert!(files >= variables::value("limits.connections", &[]) + 1000.0);
    assert_eq!(setting("DynamicUser"), "yes");
    assert_eq!((setting("Type"), setting("StateDirectory")), ("notify".to_owned(), "tidings".to_owned()));
    assert!(setting("WatchdogSec").parse::<f64>().unwrap() >= 10.0, "time for a busy machine");
    assert_eq!(setting("ProtectSystem"), "strict");
}
