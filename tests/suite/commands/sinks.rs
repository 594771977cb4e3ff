//! Commands whose output is closed or on a full disk: an end that says so, and no panic.

use std::process::Stdio;

use crate::support::broker::{tidings, variable};
use crate::support::programs::Sink;
use crate::support::token::JWT;
use crate::support::{Broker, BrokerOptions, DEADLINE};

/// Commands that write without a broker.
const COMMANDS: [&str; 7] =
    ["--help", "--version", "config", "config --json", "check", "token new --workspace demo", "nonsense"];

/// What a command that writes to a sink alone exits with; `None` when a signal ended it.
async fn exit_code(command: &str, stdout: &Sink, stderr: &Sink, settings: &[(&str, &str)]) -> Option<i32> {
    let mut program = tidings();
    program.args(command.split(' ')).envs(settings.iter().map(|(key, value)| (variable(key), value)));
    program.stdin(Stdio::null()).stdout(stdout.stdio()).stderr(stderr.stdio());
    let mut child = tokio::process::Command::from(program).kill_on_drop(true).spawn().expect("start tidings");
    let status = tokio::time::timeout(DEADLINE, child.wait()).await;
    status.unwrap_or_else(|_| panic!("`tidings {command}` does not end")).expect("the exit status").code()
}

#[tokio::test]
async fn a_closed_output_ends_every_command_quietly() {
    let closed = Sink::closed_pipe();
    for command in COMMANDS {
        let expected = if command == "nonsense" { 2 } else { 0 };
        assert_eq!(exit_code(command, &closed, &closed, &JWT).await, Some(expected), "{command}");
    }
}

#[tokio::test]
async fn result_lost_on_a_full_disk_is_a_failure() {
    let full = Sink::full_disk();
    for command in ["config", "config --json", "token new --workspace demo"] {
        assert_eq!(exit_code(command, &full, &full, &JWT).await, Some(1), "{command}");
    }
}

#[tokio::test]
async fn tail_ends_with_its_reader_or_a_full_disk() {
    let broker = Broker::start_ready(BrokerOptions::embedded()).await;
    broker.publish("acme", "one").await;
    let command = format!("tail acme --last 1 --url http://{}/api", broker.address());
    let (closed, full) = (Sink::closed_pipe(), Sink::full_disk());
    assert_eq!(exit_code(&command, &closed, &closed, &[]).await, Some(0));
    assert_eq!(exit_code(&command, &full, &full, &[]).await, Some(1));
}
