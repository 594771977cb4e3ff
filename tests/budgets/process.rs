//! The program whose memory is measured.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::support::{Broker, BrokerOptions};

/// How long anything may take before a test is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// A broker that sends nothing by itself.
pub(crate) fn quiet() -> BrokerOptions {
    BrokerOptions::embedded()
        .set("sse.heartbeat_seconds", 3600)
        .set("http2.ping_seconds", 3600)
        .set("log.level", "warn")
}

/// Starts a broker, and waits until it is ready.
pub(crate) fn start(options: BrokerOptions) -> Broker {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(Broker::start_ready(options))
}

/// What a broker has in memory of its own, in bytes (`Anonymous` of `proc(5)`). What the kernel
/// holds for its sockets comes on top, for any server. `Pss` would jump when another process of the
/// same program ends, as the pages of its file are shared.
pub(crate) fn memory_bytes(broker: &Broker) -> usize {
    let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", broker.pid())).unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}

/// A connection to a broker.
pub(crate) fn connect(broker: &Broker) -> TcpStream {
    let socket = TcpStream::connect(broker.address()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Sends a request, and reads until so many streams have their `connected` event.
pub(crate) fn ask(wire: &mut (impl Read + Write), request: &[u8], streams: usize) {
    const CONNECTED: &[u8] = b"\"connected\"";
    wire.write_all(request).unwrap();
    let mut come = Vec::new();
    let mut buffer = [0; 4096];
    while come.windows(CONNECTED.len()).filter(|window| *window == CONNECTED).count() < streams {
        let count = wire.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "cut: {}", String::from_utf8_lossy(&come));
        come.extend_from_slice(&buffer[..count]);
    }
}

/// The head of a request for a stream over HTTP/1.1.
pub(crate) const REQUEST: &[u8] =
    b"GET /api/workspaces/acme/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
