//! Messages to the service manager about the state of the process (`sd_notify(3)`).

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::SocketAddr;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use tokio::net::UnixDatagram;

/// The variable with the address of the service manager's socket.
const SOCKET_VARIABLE: &str = "NOTIFY_SOCKET";

/// The variables of the watchdog: its time in microseconds, and the process that it is for.
const WATCHDOG_VARIABLE: &str = "WATCHDOG_USEC";
const WATCHDOG_PROCESS_VARIABLE: &str = "WATCHDOG_PID";

/// Bound on sending one message. A service manager that reads nothing for longer gets the next one.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// Limits the text about a failed reload, in bytes. A message has to fit into a datagram.
const FAILURE_BYTES_MAX: usize = 1024;

/// The state of the process, for the service manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProcessState {
    /// The listeners accept connections, or a reload is over.
    Ready,
    /// It reads its configuration again.
    Reloading,
    /// It drains.
    Stopping,
    /// It makes progress.
    Watchdog,
}

/// Sends messages to the service manager, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    /// The address. Each message has a socket of its own, since a service manager may come late or
    /// make its socket anew.
    address: Option<OsString>,
    /// The reason for which the last reload failed. It is part of each status until a reload
    /// succeeds.
    reload_failure: Mutex<Option<String>>,
}

impl Notifier {
    /// Finds the service manager in the environment.
    pub(crate) fn of_environment() -> Self {
        Self::at(std::env::var_os(SOCKET_VARIABLE).filter(|address| !address.is_empty()))
    }

    fn at(address: Option<OsString>) -> Self {
        Self { address, reload_failure: Mutex::default() }
    }

    /// Reports the end of a reload, with the reason if it failed. Cancellation safe.
    pub(crate) async fn reloaded(&self, failure: Option<String>) {
        let status = match &failure {
            Some(_) => "the node runs with the settings before",
            None => "the configuration was read again",
        };
        *self.reload_failure.lock() = failure;
        self.send(Some(ProcessState::Ready), Some(status)).await;
    }

    /// Sends a state, with a status for people if one is given. A message that cannot be sent
    /// within a second is dropped, and logged. Cancellation safe.
    pub(crate) async fn send(&self, state: Option<ProcessState>, status: Option<&str>) {
        let Some(address) = &self.address else { return };
        let status = status.map(|status| self.with_reload_failure(status));
        let message = message(state, status.as_deref());
        let send = async { connect(address)?.send(message.as_bytes()).await };
        let sent = tokio::time::timeout(SEND_TIMEOUT, send).await;
        let sent = sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if let Err(error) = sent {
            tracing::warn!(%error, "cannot send a message to the service manager");
        }
    }

    fn with_reload_failure(&self, status: &str) -> String {
        match &*self.reload_failure.lock() {
            None => status.to_owned(),
            Some(failure) => {
                let failure = &failure[..failure.floor_char_boundary(FAILURE_BYTES_MAX)];
                format!("{status}; the last reload failed: {failure}")
            }
        }
    }
}

/// The text of a message: one assignment a line.
fn message(state: Option<ProcessState>, status: Option<&str>) -> String {
    let mut message = String::new();
    let line = match state {
        None => "",
        Some(ProcessState::Ready) => "READY=1\n",
        Some(ProcessState::Reloading) => "RELOADING=1\n",
        Some(ProcessState::Stopping) => "STOPPING=1\n",
        Some(ProcessState::Watchdog) => "WATCHDOG=1\n",
    };
    message.push_str(line);
    if state == Some(ProcessState::Reloading) {
        // Type=notify-reload compares it with the time of its signal; Type=notify ignores it.
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds =
            i128::from(now.tv_sec).saturating_mul(1_000_000).saturating_add(i128::from(now.tv_nsec / 1_000));
        // Writing to a string cannot fail.
        let _ = writeln!(message, "MONOTONIC_USEC={microseconds}");
    }
    if let Some(status) = status {
        let _ = writeln!(message, "STATUS={}", status.replace('\n', " "));
    }
    message
}

/// The time within which the service manager wants a proof of progress, if it wants one of this
/// process.
pub(crate) fn watchdog_timeout() -> Option<Duration> {
    let variable = |name| std::env::var(name).ok();
    let of = variable(WATCHDOG_PROCESS_VARIABLE);
    timeout(&variable(WATCHDOG_VARIABLE)?, of.as_deref(), std::process::id())
}

fn timeout(microseconds: &str, of: Option<&str>, process: u32) -> Option<Duration> {
    if of.is_some_and(|of| of.parse() != Ok(process)) {
        return None;
    }
    microseconds.parse().ok().filter(|&microseconds| microseconds > 0).map(Duration::from_micros)
}

/// A socket to an address in the file system, or in the abstract namespace of Linux (`@`).
fn connect(address: &OsStr) -> io::Result<UnixDatagram> {
    let address = match address.as_bytes().strip_prefix(b"@") {
        Some(name) => abstract_address(name)?,
        None => SocketAddr::from_pathname(OsString::from(address))?,
    };
    let socket = std::os::unix::net::UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    UnixDatagram::from_std(socket)
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_name: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_has_one_assignment_a_line() {
        assert_eq!(message(Some(ProcessState::Ready), Some("a\nb")), "READY=1\nSTATUS=a b\n");
        assert_eq!(message(None, Some("x")), "STATUS=x\n");
        assert_eq!(message(Some(ProcessState::Watchdog), None), "WATCHDOG=1\n");
        let reloading = message(Some(ProcessState::Reloading), None);
        let microseconds = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(microseconds.trim_end().parse::<u64>().unwrap() > 0, "{reloading}");
    }

    #[test]
    fn watchdog_is_for_its_process_alone() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(timeout("1000000", None, 7), second);
        assert_eq!(timeout("1000000", Some("7"), 7), second);
        for (microseconds, of) in [("1000000", "8"), ("1000000", ""), ("0", "7"), ("soon", "7")] {
            assert_eq!(timeout(microseconds, Some(of), 7), None, "{microseconds} {of}");
        }
    }

    #[tokio::test]
    async fn abstract_and_named_sockets_are_reached() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let named = UnixDatagram::bind(&path).unwrap();
        let mut received = [0; 64];
        let notifier = Notifier::at(Some(path.clone().into_os_string()));
        notifier.send(Some(ProcessState::Stopping), None).await;
        let length = named.recv(&mut received).await.unwrap();
        assert_eq!(&received[..length], b"STOPPING=1\n");
        // The service manager makes its socket anew.
        drop(named);
        std::fs::remove_file(&path).unwrap();
        notifier.send(Some(ProcessState::Watchdog), None).await;
        let named = UnixDatagram::bind(&path).unwrap();
        notifier.reloaded(Some("é".repeat(1024))).await;
        let mut received = [0; 4096];
        let length = named.recv(&mut received).await.unwrap();
        let text = std::str::from_utf8(&received[..length]).unwrap();
        let status = "READY=1\nSTATUS=the node runs with the settings before; the last reload failed: é";
        assert!(text.starts_with(status) && text.len() < 1200, "{text}");
        #[cfg(target_os = "linux")]
        {
            let name = format!("tidings-test-{}", std::process::id());
            let address = abstract_address(name.as_bytes()).unwrap();
            let socket = std::os::unix::net::UnixDatagram::bind_addr(&address).unwrap();
            let notifier = Notifier::at(Some(format!("@{name}").into()));
            notifier.send(Some(ProcessState::Ready), None).await;
            let length = socket.recv(&mut received).unwrap();
            assert_eq!(&received[..length], b"READY=1\n");
        }
    }
}
