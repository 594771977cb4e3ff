//! What an idle connection takes of the program's memory.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::ALONE;

const CLIENTS: usize = 10_000;

/// The most that an idle connection may take, in bytes of user space. The kernel's part comes on top, for any server.
const BUDGET_BYTES: usize = 512;

const DEADLINE: Duration = Duration::from_secs(120);

/// A broker, ended with the value.
struct Broker {
    child: Child,
    address: SocketAddr,
}

impl Broker {
    fn start() -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let address = free();
        let child = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .arg("serve")
            .env("TIDINGS__SERVER__LISTEN", address.to_string())
            .env("TIDINGS__ADMIN__LISTEN", free().to_string())
            .env("TIDINGS__EMBEDDED__LISTEN", "")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let broker = Self { child, address };
        let deadline = Instant::now() + DEADLINE;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "the broker does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        broker
    }

    /// Opens a stream, and waits for its hello.
    fn client(&self) -> TcpStream {
        let mut socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket
            .write_all(b"GET /api/workspaces/acme/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
            .unwrap();
        let mut come = Vec::new();
        let mut buffer = [0; 2048];
        while !come.windows(11).any(|window| window == b"\"connected\"") {
            let count = socket.read(&mut buffer).unwrap();
            assert_ne!(count, 0, "cut: {}", String::from_utf8_lossy(&come));
            come.extend_from_slice(&buffer[..count]);
        }
        socket
    }

    /// What the program has in memory of its own, in bytes (`Pss` of `proc(5)`).
    fn memory_bytes(&self) -> usize {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id())).unwrap();
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_idle_connection_takes_little() {
    let _alone = ALONE.lock();
    let broker = Broker::start();
    // What the first connections bring along for all that follow.
    let mut clients: Vec<_> = (0..200).map(|_| broker.client()).collect();
    let before = broker.memory_bytes();
    clients.extend((0..CLIENTS).map(|_| broker.client()));
    let each = broker.memory_bytes().saturating_sub(before) / CLIENTS;
    assert!(each <= BUDGET_BYTES, "{each} bytes each");
    println!("{each} bytes each");
}
