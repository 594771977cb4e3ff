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
mod tests;
