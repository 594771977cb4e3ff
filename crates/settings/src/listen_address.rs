//! Addresses of listeners.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// The scheme of a socket in the file system.
const UNIX: &str = "unix:";

/// The longest path of a socket, in bytes: `sun_path` of `unix(7)` without its last byte.
const PATH_BYTES_MAX: usize = 107;

/// The longest name of a host, in bytes (RFC 1035 section 2.3.4).
const NAME_BYTES_MAX: usize = 253;

/// Holds an address to listen on, as a setting has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IP address and a port.
    Socket(SocketAddr),
    /// The name of a host and a port: all addresses of the name.
    Host {
        /// The name.
        name: String,
        /// The port.
        port: u16,
    },
    /// A socket in the file system, `unix:/run/tidings/http.sock`.
    Unix(PathBuf),
}

/// The text is no address of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAListenAddress;

impl ListenAddress {
    /// Returns whether only programs on this machine can connect. A name is local if it is
    /// `localhost` or ends in `.localhost` (RFC 6761 section 6.3).
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Socket(address) => address.ip().to_canonical().is_loopback(),
            Self::Host { name, .. } => is_localhost(name),
            Self::Unix(_) => true,
        }
    }

    /// Returns whether two listeners request the same address. With port 0 the system gives each a
    /// port of its own.
    #[must_use]
    pub fn collides(&self, other: &Self) -> bool {
        let has_fixed_port = !matches!(self, Self::Socket(address) if address.port() == 0)
            && !matches!(self, Self::Host { port: 0, .. });
        self == other && has_fixed_port
    }

    /// Returns an address for clients on this machine: loopback in place of "all addresses".
    #[must_use]
    pub fn reachable(&self) -> Self {
        use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
        let Self::Socket(address) = self else { return self.clone() };
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Self::Socket((ip, address.port()).into())
    }

    /// Returns the host and the port of a URL. A socket in the file system has `localhost`, since
    /// its clients name the path elsewhere.
    #[must_use]
    pub fn authority(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Socket(_) | Self::Host { .. } => self.to_string(),
        }
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Socket(address)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Host { name, port } => write!(f, "{name}:{port}"),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = NotAListenAddress;

    fn from_str(text: &str) -> Result<Self, NotAListenAddress> {
        if let Some(path) = text.strip_prefix(UNIX) {
            let fits = path.len() <= PATH_BYTES_MAX && !path.contains('\0') && !path.ends_with('/');
            return if path.starts_with('/') && fits {
                Ok(Self::Unix(path.into()))
            } else {
                Err(NotAListenAddress)
            };
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Socket(address));
        }
        let (name, port) = text.rsplit_once(':').ok_or(NotAListenAddress)?;
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits).ok_or(NotAListenAddress)?;
        if is_name(name) { Ok(Self::Host { name: name.to_owned(), port }) } else { Err(NotAListenAddress) }
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer).ok();
        text.and_then(|text| text.parse().ok()).ok_or_else(|| {
            D::Error::custom(
                "expected an address or a name and a port such as 127.0.0.1:8080 or localhost:8080, or \
                 unix: and an absolute path of at most 107 bytes",
            )
        })
    }
}

/// Whether a text is the name of a host: labels of letters, digits, `-` and `_`. One whose last
/// label is a number is a mistyped IPv4 address.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= NAME_BYTES_MAX
        && name.split('.').all(label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_localhost(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    last.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_an_address_a_name_or_a_path() {
        for (text, is_local) in [
            ("127.0.0.1:8080", true),
            ("[::1]:0", true),
            ("[::ffff:127.0.0.1]:80", true),
            ("0.0.0.0:80", false),
            ("localhost:8080", true),
            ("app.localhost:8080", true),
            ("localhost.example.com:8080", false),
            ("node_1.example.com:65535", false),
            ("unix:/run/tidings/http.sock", true),
        ] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!((address.to_string().as_str(), address.is_local()), (text, is_local));
        }
        let long = format!("unix:/{}", "x".repeat(107));
        for text in [
            "",
            "8080",
            "localhost",
            ":8080",
            "localhost:",
            "localhost:+1",
            "localhost:65536",
            "127.0.0.1.5:80",
            "256.0.0.1:80",
            "::1:80",
            "a b:80",
            "a..b:80",
            "unix:",
            "unix:relative",
            "unix:/run/",
            &long,
        ] {
            assert_eq!(text.parse::<ListenAddress>(), Err(NotAListenAddress), "{text}");
        }
        assert!(long[..long.len() - 1].parse::<ListenAddress>().is_ok());
    }

    #[test]
    fn same_address_collides_unless_the_system_gives_the_port() {
        let collide = |one: &str, other: &str| {
            let [one, other]: [ListenAddress; 2] = [one, other].map(|text| text.parse().unwrap());
            one.collides(&other)
        };
        assert!(collide("127.0.0.1:1", "127.0.0.1:1") && collide("unix:/a", "unix:/a"));
        assert!(collide("localhost:1", "localhost:1"));
        assert!(!collide("127.0.0.1:0", "127.0.0.1:0") && !collide("localhost:0", "localhost:0"));
        assert!(!collide("127.0.0.1:1", "127.0.0.1:2") && !collide("unix:/a", "unix:/b"));
    }
}
