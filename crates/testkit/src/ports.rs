//! Ports that no other test takes.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

use socket2::{Domain, Socket, Type};

/// Claimed ports are in this range, below 32,768. From there on Linux picks ports for outgoing
/// connections, which could take the port of a server that is just being restarted.
const FIRST: u32 = 10_000;
const COUNT: u32 = 22_000;

/// A TCP port on 127.0.0.1 that is claimed for as long as this value lives.
///
/// The claim is the UDP port of the same number. It is exclusive among all test processes of a
/// machine, and does not block the server on the TCP port. The kernel releases it when a process
/// dies.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _claim: UdpSocket,
}

impl Port {
    /// Claims a port on which nothing listens.
    pub fn claim() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Test processes that run at the same time begin at different places, so that they seldom
        // meet.
        let start = std::process::id().wrapping_mul(7_919);
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let number = u16::try_from(FIRST + start.wrapping_add(step) % COUNT).expect("within the range");
            let Ok(claim) = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)) else { continue };
            if is_free(number) {
                return Self { number, _claim: claim };
            }
        }
        panic!("no free port from {FIRST} to {}", FIRST + COUNT);
    }

    /// The port's number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The port on 127.0.0.1.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

/// Whether nothing listens on a port. Bound on all addresses: a server on 0.0.0.0 listens on
/// loopback too. Bound without listening: a program that another test starts now holds the socket
/// too until it runs, and would block the server.
fn is_free(number: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, number));
    let probe = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    probe.set_reuse_address(true).expect("set an option of a socket");
    probe.bind(&address.into()).is_ok()
}
