//! The PROXY protocol, versions 1 and 2: a header before all other bytes, in which a load balancer
//! for TCP names the client. The specification is "The PROXY protocol" of HAProxy Technologies,
//! sections 2.1 and 2.2.
//!
//! The bytes behind the header are HTTP or TLS and stay in the socket: not one of them is read.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// The first bytes of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The first bytes of version 1.
const WORD: &[u8] = b"PROXY ";

/// The longest line of version 1, with its end (section 2.1).
const LINE_BYTES_MAX: usize = 107;

/// The most bytes behind the fixed part of version 2. Addresses take 36 of them; the rest are
/// extensions, such as a client's certificate, which are skipped.
const BLOCK_BYTES_MAX: usize = 4096;

/// Why there is no address of a client.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    /// The connection begins with something else.
    #[error("the connection does not begin with a PROXY protocol header")]
    Missing,
    /// It begins with a header that breaks the rules.
    #[error("the PROXY protocol header is malformed: {0}")]
    Malformed(&'static str),
    /// The socket failed, or ended within the header.
    #[error("the PROXY protocol header cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Reads the header and returns the client's address; `None` for a connection of the proxy itself,
/// as in its health checks.
///
/// Has no deadline of its own. Not cancellation safe: part of the header may have been read.
pub(super) async fn read(stream: &mut TcpStream) -> Result<Option<SocketAddr>, HeaderError> {
    // The shortest header of either version is longer.
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    if &start == SIGNATURE {
        let mut fixed = [0; 4];
        stream.read_exact(&mut fixed).await?;
        let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
        if length > BLOCK_BYTES_MAX {
            return Err(HeaderError::Malformed("it is too long"));
        }
        let mut block = vec![0; length];
        stream.read_exact(&mut block).await?;
        return version_2(fixed[0], fixed[1], &block);
    }
    if !start.starts_with(WORD) {
        return Err(HeaderError::Missing);
    }
    let mut line = start.to_vec();
    while !line.ends_with(b"\n") {
        let mut ahead = [0; LINE_BYTES_MAX];
        let left = LINE_BYTES_MAX.saturating_sub(line.len());
        let seen = stream.peek(&mut ahead[..left]).await?;
        if seen == 0 {
            return Err(HeaderError::Malformed("its line has no end"));
        }
        let end = ahead[..seen].iter().position(|&byte| byte == b'\n').map_or(seen, |at| at + 1);
        let read = stream.read_exact(&mut ahead[..end]).await?;
        line.extend_from_slice(&ahead[..read]);
    }
    version_1(&line)
}

/// A line such as `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443`, with its end.
fn version_1(line: &[u8]) -> Result<Option<SocketAddr>, HeaderError> {
    let line = line.strip_suffix(b"\r\n").and_then(|line| std::str::from_utf8(line).ok());
    let line = line.ok_or(HeaderError::Malformed("its line is not text with CR and LF at its end"))?;
    let parts: Vec<&str> = line.split(' ').collect();
    let port = |port: &str| {
        let plain = port.bytes().all(|byte| byte.is_ascii_digit()) && (port == "0" || !port.starts_with('0'));
        plain.then(|| port.parse::<u16>().ok()).flatten().ok_or(HeaderError::Malformed("a port is none"))
    };
    let bad_address = |_| HeaderError::Malformed("an address is none");
    match parts[..] {
        // The rest is to be ignored.
        ["PROXY", "UNKNOWN", ..] => Ok(None),
        ["PROXY", "TCP4", source, destination, source_port, destination_port] => {
            let source: Ipv4Addr = source.parse().map_err(bad_address)?;
            destination.parse::<Ipv4Addr>().map_err(bad_address)?;
            port(destination_port)?;
            Ok(Some(SocketAddr::from((source, port(source_port)?))))
        }
        ["PROXY", "TCP6", source, destination, source_port, destination_port] => {
            let source: Ipv6Addr = source.parse().map_err(bad_address)?;
            destination.parse::<Ipv6Addr>().map_err(bad_address)?;
            port(destination_port)?;
            Ok(Some(SocketAddr::new(IpAddr::from(source).to_canonical(), port(source_port)?)))
        }
        _ => Err(HeaderError::Malformed("it is neither TCP4, TCP6 nor UNKNOWN")),
    }
}

/// Parses the bytes of version 2 behind the signature.
fn version_2(command: u8, family: u8, block: &[u8]) -> Result<Option<SocketAddr>, HeaderError> {
    match command {
        // LOCAL: whatever the block says is to be ignored.
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err(HeaderError::Malformed("its version or command is unknown")),
    }
    let port = |at: usize| block.get(at..at + 2).map(|port| u16::from_be_bytes([port[0], port[1]]));
    let short = HeaderError::Malformed("its addresses are incomplete");
    match family {
        // TCP over IPv4: source, destination, source port, destination port.
        0x11 => match (block.first_chunk::<4>(), port(8), port(10)) {
            (Some(source), Some(port), Some(_)) => {
                Ok(Some(SocketAddr::from((Ipv4Addr::from(*source), port))))
            }
            _ => Err(short),
        },
        // TCP over IPv6.
        0x21 => match (block.first_chunk::<16>(), port(32), port(34)) {
            (Some(source), Some(port), Some(_)) => {
                Ok(Some(SocketAddr::new(IpAddr::from(*source).to_canonical(), port)))
            }
            _ => Err(short),
        },
        // Unspecified, datagrams and sockets of the machine: a client without an address of ours.
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    fn as_version_1(source: SocketAddr) -> Vec<u8> {
        let (family, destination) =
            if source.is_ipv4() { ("TCP4", "198.51.100.1") } else { ("TCP6", "2001:db8::1") };
        format!("PROXY {family} {} {destination} {} 443\r\n", source.ip(), source.port()).into_bytes()
    }

    fn as_version_2(source: SocketAddr, extensions: &[u8]) -> Vec<u8> {
        let (family, mut block) = match source.ip() {
            IpAddr::V4(address) => (0x11, [address.octets(), [198, 51, 100, 1]].concat()),
            IpAddr::V6(address) => (0x21, [address.octets(), [0x20; 16]].concat()),
        };
        block.extend(source.port().to_be_bytes());
        block.extend(443_u16.to_be_bytes());
        block.extend(extensions);
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[0x21, family], &length, &block].concat()
    }

    /// Reads a header that arrives in two pieces, and the bytes behind it.
    async fn arrive(bytes: &[u8], cut: usize) -> (Result<Option<SocketAddr>, HeaderError>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        sender.set_nodelay(true).unwrap();
        let (first, second) = (bytes[..cut].to_vec(), bytes[cut..].to_vec());
        let sending = async move {
            sender.write_all(&first).await.unwrap();
            tokio::task::yield_now().await;
            sender.write_all(&second).await.unwrap();
        };
        let (outcome, ()) = tokio::join!(read(&mut stream), sending);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        (outcome, rest)
    }

    #[tokio::test]
    async fn both_versions_leave_the_bytes_behind_them() {
        for source in ["192.0.2.1:56324", "[2001:db8::7]:1"] {
            let source = source.parse().unwrap();
            for header in [as_version_1(source), as_version_2(source, b""), as_version_2(source, &[7; 300])] {
                let bytes = [&header[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
                for abort in [0, 1, 12, 13, header.len() - 1, header.len()] {
                    let (outcome, rest) = arrive(&bytes, abort).await;
                    assert_eq!(outcome.unwrap(), Some(source));
                    assert_eq!(rest, b"GET / HTTP/1.1\r\n\r\n");
                }
            }
        }
    }

    #[tokio::test]
    async fn any_other_form_is_rejected() {
        let endless = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 200]].concat();
        let long = [&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff], &[0; 16]].concat();
        for bytes in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &endless, &long, b"PROXY TCP4 1.1.1.1", b""]
        {
            assert!(arrive(bytes, 0).await.0.is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn the_forms_of_version_1() {
        let parsed = |line: &str| version_1(line.as_bytes());
        assert_eq!(parsed("PROXY UNKNOWN\r\n").unwrap(), None);
        assert_eq!(parsed("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n").unwrap(), None);
        for bad in [
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n",
            "PROXY TCP4  192.0.2.1 198.51.100.1 56324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 056324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 +1 443\r\n",
            "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.1 1 2\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.1 1 2\r\n",
        ] {
            assert!(parsed(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_forms_of_version_2() {
        assert_eq!(version_2(0x20, 0x11, &[1; 12]).unwrap(), None, "LOCAL");
        assert_eq!(version_2(0x21, 0x00, &[]).unwrap(), None, "unspecified");
        assert_eq!(version_2(0x21, 0x31, &[1; 216]).unwrap(), None, "a socket of the machine");
        assert!(version_2(0x21, 0x11, &[1; 11]).is_err());
        assert!(version_2(0x21, 0x21, &[1; 35]).is_err());
        assert!(version_2(0x11, 0x11, &[1; 12]).is_err(), "version 1 in the form of version 2");
        assert!(version_2(0x22, 0x11, &[1; 12]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(line in proptest::collection::vec(any::<u8>(), 0..120), command: u8, family: u8) {
            let _ = version_1(&line);
            let _ = version_2(command, family, &line);
        }

        #[test]
        fn address_is_free_again_after_its_connections(address: u128, v4: bool, port: u16) {
            let ip = if v4 { IpAddr::from(Ipv4Addr::from(address as u32)) } else { Ipv6Addr::from(address).into() };
            prop_assume!(ip.to_canonical() == ip);
            let source = SocketAddr::new(ip, port);
            prop_assert_eq!(version_1(&as_version_1(source)).unwrap(), Some(source));
            let header = as_version_2(source, b"");
            prop_assert_eq!(version_2(header[12], header[13], &header[16..]).unwrap(), Some(source));
        }
    }
}
