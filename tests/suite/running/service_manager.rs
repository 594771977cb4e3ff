//! Messages to the service manager, its watchdog, and the sockets that it passes.

use std::net::TcpListener;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::net::UnixDatagram;

use crate::support::directory::Directory;
use crate::support::raw::{RawConnection, head};
use crate::support::{Broker, BrokerOptions, DEADLINE, RedisServer, eventually};

const TARGET: &str = "/api/workspaces/acme/events";

/// The socket of a service manager.
struct Manager {
    socket: UnixDatagram,
    path: String,
    _directory: Directory,
}

impl Manager {
    fn new() -> Self {
        let directory = Directory::new();
        let path = directory.file("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { socket, path: path.display().to_string(), _directory: directory }
    }

    fn of(&self, options: BrokerOptions) -> BrokerOptions {
        options.environment("NOTIFY_SOCKET", &self.path)
    }

    /// Waits for the next message.
    async fn message(&self) -> String {
        let mut bytes = [0; 4096];
        let length = tokio::time::timeout(DEADLINE, self.socket.recv(&mut bytes)).await;
        let length = length.expect("a message in time").unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    /// Waits for a message that begins so.
    async fn message_with(&self, start: &str) -> String {
        let reading = async {
            loop {
                let message = self.message().await;
                if message.starts_with(start) {
                    return message;
                }
            }
        };
        tokio::time::timeout(DEADLINE, reading).await.unwrap_or_else(|_| panic!("no {start:?} in time"))
    }

    /// The messages that wait.
    fn waiting(&self) -> usize {
        let mut bytes = [0; 4096];
        (0..).take_while(|_| self.socket.try_recv(&mut bytes).is_ok()).count()
    }
}

#[tokio::test]
async fn service_manager_learns_of_start_reload_and_stop() {
    let manager = Manager::new();
    let mut broker = Broker::start_ready(manager.of(BrokerOptions::embedded())).await;
    assert_eq!(manager.message().await, "READY=1\n");
    let status = manager.message_with("STATUS=").await;
    assert!(status.contains("0 connections"), "{status}");
    broker.signal(Signal::SIGHUP);
    let reloading = manager.message_with("RELOADING=1\n").await;
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    assert_eq!(manager.message().await, "READY=1\nSTATUS=the configuration was read again\n");
    broker.signal(Signal::SIGTERM);
    assert_eq!(manager.message_with("STOPPING=1").await, "STOPPING=1\n");
    assert_eq!(broker.ended(DEADLINE).await.code(), Some(0));
}

#[tokio::test]
async fn status_names_a_failed_reload_until_the_next_one() {
    let (manager, directory) = (Manager::new(), Directory::new());
    let file = directory.write("tidings.toml", "");
    let options = BrokerOptions::embedded().argument("--config").argument(file.to_str().unwrap());
    let options = manager.of(options).environment("WATCHDOG_USEC", "40000000");
    let broker = Broker::start_ready(options).await;
    directory.write("tidings.toml", "no_such_key = 1\n");
    broker.signal(Signal::SIGHUP);
    manager.message_with("RELOADING=1\n").await;
    let ready = manager.message_with("READY=1\n").await;
    assert!(
        ready.contains("STATUS=") && ready.contains("last reload failed") && ready.contains("no_such_key"),
        "{ready}"
    );
    // The status with the figures does not hide it.
    let status = manager.message_with("WATCHDOG=1\nSTATUS=").await;
    assert!(status.contains("connections") && status.contains("last reload failed"), "{status}");
    directory.write("tidings.toml", "");
    broker.signal(Signal::SIGHUP);
    manager.message_with("RELOADING=1\n").await;
    let ready = manager.message_with("READY=1\n").await;
    assert!(ready.contains("read again") && !ready.contains("failed"), "{ready}");
}

#[tokio::test]
async fn late_or_new_service_manager_gets_messages() {
    let directory = Directory::new();
    let path = directory.file("notify");
    let options = BrokerOptions::embedded().environment("NOTIFY_SOCKET", path.to_str().unwrap());
    let broker = Broker::start_ready(options.environment("WATCHDOG_USEC", "400000")).await;
    for _ in 0..2 {
        let manager = Manager {
            socket: UnixDatagram::bind(&path).unwrap(),
            path: String::new(),
            _directory: Directory::new(),
        };
        manager.message_with("WATCHDOG=1").await;
        std::fs::remove_file(&path).unwrap();
    }
    drop(broker);
}

#[tokio::test]
async fn watchdog_is_fed_while_the_process_runs() {
    let manager = Manager::new();
    let options = manager.of(BrokerOptions::embedded()).environment("WATCHDOG_USEC", "400000");
    let broker = Broker::start_ready(options).await;
    for _ in 0..5 {
        manager.message_with("WATCHDOG=1").await;
    }
    broker.signal(Signal::SIGSTOP);
    eventually("the process is stopped", DEADLINE, async || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", broker.pid())).unwrap();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    })
    .await;
    manager.waiting();
    // Eight times the interval of its messages.
    let silent = tokio::time::timeout(Duration::from_millis(800), manager.message()).await;
    assert!(silent.is_err(), "{silent:?}");
    broker.signal(Signal::SIGCONT);
    manager.message_with("WATCHDOG=1").await;
}

#[tokio::test]
async fn lost_bus_does_not_stop_the_watchdog() {
    let manager = Manager::new();
    let mut server = RedisServer::start().await;
    let options = manager.of(BrokerOptions::redis(&server)).environment("WATCHDOG_USEC", "400000");
    let broker = Broker::start_ready(options).await;
    server.stop();
    eventually("the node is not ready", DEADLINE, async || !broker.is_ready().await).await;
    manager.waiting();
    for _ in 0..8 {
        manager.message_with("WATCHDOG=1").await;
    }
    assert!(!broker.is_ready().await);
}

#[tokio::test]
async fn connection_between_two_processes_waits_for_the_next_one() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut broker = Broker::start_ready(BrokerOptions::embedded().passing("http", listener)).await;
    let request = head("POST", TARGET, &[("Content-Length", "1")]) + "1";
    let mut before = RawConnection::open(address).await;
    assert_eq!(before.exchange(&request).await.status, 200);
    broker.logged(&format!("listen=\"{address}\"")).await;

    broker.kill();
    let mut between = RawConnection::open(address).await;
    between.send(&request).await;
    broker.restart().await;
    assert_eq!(between.answer().await.status, 200);
}

#[tokio::test]
async fn passed_admin_socket_replaces_the_admin_address() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // The harness waits at the configured address, which must be the passed one.
    let options = BrokerOptions::embedded().passing("admin", listener);
    let (_broker, log) = Broker::start_until(options, "listening").await;
    assert!(log.contains(&format!("admin=\"{address}\"")), "{log}");
    let live = crate::support::http::get(address, "/live").await;
    assert_eq!(live.status, 200);
}

#[tokio::test]
async fn sockets_of_another_process_are_ignored() {
    for variables in [&[("LISTEN_FDS", "1")][..], &[("LISTEN_FDS", "1"), ("LISTEN_PID", "1")]] {
        let options = variables
            .iter()
            .fold(BrokerOptions::embedded(), |options, (name, value)| options.environment(name, value));
        Broker::start_ready(options).await;
    }
}

#[tokio::test]
async fn passed_socket_has_to_keep_the_rules_of_addresses() {
    for (name, address, reason) in [
        ("http", "0.0.0.0:0", "LISTEN_FDS: server.listen is 0.0.0.0:"),
        ("bus", "0.0.0.0:0", "LISTEN_FDS: embedded.listen is \"0.0.0.0:"),
        ("htpp", "127.0.0.1:0", "FileDescriptorName= has to be http, admin or bus"),
    ] {
        let listener = TcpListener::bind(address).unwrap();
        let options = BrokerOptions::embedded().passing(name, listener);
        let (mut broker, log) = Broker::start_until(options, "tidings: ").await;
        assert!(log.contains(reason), "{log}");
        assert_ne!(broker.ended(DEADLINE).await.code(), Some(0));
    }
}

#[test]
fn units_are_valid_for_systemd() {
    let directory = Directory::new();
    let mut unit = crate::support::directory::repository_file("deploy/tidings.service");
    let command = "/usr/local/bin/tidings serve";
    assert!(unit.contains(command));
    // The secrets too, which the operator enables by the line.
    assert_eq!(unit.matches("\n#LoadCredential=").count(), 3);
    unit =
        unit.replace("\n#LoadCredential=", "\nLoadCredential=").replace("\n#Environment=", "\nEnvironment=");
    // Systemd wants the program to be there.
    unit = unit.replace(command, &format!("{} serve", crate::support::executable::executable().display()));
    let units = [
        directory.write("tidings.service", unit),
        directory
            .write("tidings.socket", crate::support::directory::repository_file("deploy/tidings.socket")),
    ];
    let mut verify = std::process::Command::new("systemd-analyze");
    let output = match verify.args(["verify", "--man=no"]).args(&units).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("systemd-analyze is not installed: the units are not verified");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{}: {said}", output.status);
}
