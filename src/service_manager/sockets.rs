//! Listening sockets that a service manager has opened (`sd_listen_fds(3)`). They stay open over a
//! restart, so that connections wait for the next process.

use std::collections::VecDeque;
use std::io;

use listenfd::ListenFd;

use crate::http::PassedSocket;
use tidings_settings::ListenAddress;

/// The variable with the names of the sockets, with colons between them.
const NAMES_VARIABLE: &str = "LISTEN_FDNAMES";

/// The variable with the process that the sockets are for.
const PROCESS_VARIABLE: &str = "LISTEN_PID";

/// The variable with the number of the sockets. Messages name it as their source.
const SOCKETS_VARIABLE: &str = "LISTEN_FDS";

/// The listener that a passed socket is for, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PassedFor {
    /// The public listener: `http`, or no name of its own.
    Public,
    /// The admin listener: `admin`.
    Admin,
    /// The embedded bus: `bus`.
    Bus,
}

/// The sockets that the service manager has passed to this process.
#[derive(Debug, Default)]
pub struct PassedSockets(Vec<(PassedFor, ListenAddress, PassedSocket)>);

/// A passed socket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PassedSocketError {
    /// It has a name of nothing that listens here.
    #[error(
        "the service manager passed a socket with the name {0:?}: FileDescriptorName= has to be http, admin or bus"
    )]
    Name(String),
    /// It is no listening socket of a usable kind.
    #[error("the service manager passed a socket that cannot be used ({name}): {source}")]
    Kind {
        /// Its name.
        name: String,
        /// What the system says.
        source: io::Error,
    },
}

impl PassedFor {
    /// The key of the address that a passed socket replaces.
    fn key(self) -> &'static str {
        match self {
            Self::Public => "server.listen",
            Self::Admin => "admin.listen",
            Self::Bus => "embedded.listen",
        }
    }

    /// Reads a name. `unknown` and the names of units are those of sockets without a
    /// `FileDescriptorName=`.
    fn parse(name: &str) -> Option<Self> {
        match name {
            "http" | "" | "unknown" => Some(Self::Public),
            "admin" => Some(Self::Admin),
            "bus" => Some(Self::Bus),
            unit if unit.ends_with(".socket") => Some(Self::Public),
            _ => None,
        }
    }
}

impl PassedSockets {
    /// Takes the sockets out of the environment. Call it once, before the process has threads,
    /// because it removes variables.
    ///
    /// # Errors
    ///
    /// [`PassedSocketError`], if a socket has another name, or is of another kind.
    pub fn take() -> Result<Self, PassedSocketError> {
        // `listenfd` also takes sockets without a process, for tools of developers.
        if std::env::var_os(PROCESS_VARIABLE).is_none() {
            return Ok(Self::default());
        }
        let names = std::env::var(NAMES_VARIABLE).unwrap_or_default();
        let mut sockets = ListenFd::from_env();
        let mut names: VecDeque<&str> = names.split(':').collect();
        let mut taken = Vec::new();
        for number in 0..sockets.len() {
            let name = names.pop_front().unwrap_or_default();
            let listener = PassedFor::parse(name).ok_or_else(|| PassedSocketError::Name(name.to_owned()))?;
            let (address, socket) = socket(&mut sockets, number)
                .map_err(|source| PassedSocketError::Kind { name: name.to_owned(), source })?;
            taken.push((listener, address, socket));
        }
        Ok(Self(taken))
    }

    /// The addresses of the listeners as settings, with their source: the rules of a configuration
    /// hold for them too.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String, &'static str)> {
        let setting = |listener: PassedFor| {
            Some((listener.key(), self.address(listener)?.to_string(), SOCKETS_VARIABLE))
        };
        [PassedFor::Public, PassedFor::Admin, PassedFor::Bus].into_iter().filter_map(setting).collect()
    }

    /// The most exposed address for a listener; `None` if no socket was passed for it.
    fn address(&self, listener: PassedFor) -> Option<&ListenAddress> {
        let addresses = || self.0.iter().filter(|(of, ..)| *of == listener).map(|(_, address, _)| address);
        addresses().find(|address| !address.is_local()).or_else(|| addresses().next())
    }

    /// Takes the sockets for a listener.
    pub(crate) fn take_for(&mut self, listener: PassedFor) -> Vec<PassedSocket> {
        let (taken, rest) = std::mem::take(&mut self.0).into_iter().partition(|(of, ..)| *of == listener);
        self.0 = rest;
        let taken: Vec<_> = taken;
        taken.into_iter().map(|(_, _, socket)| socket).collect()
    }
}

/// Takes a socket by its number, with its address.
fn socket(sockets: &mut ListenFd, number: usize) -> io::Result<(ListenAddress, PassedSocket)> {
    match sockets.take_tcp_listener(number) {
        Ok(Some(socket)) => {
            let address = socket.local_addr()?;
            Ok((ListenAddress::Socket(address), PassedSocket::Tcp(socket)))
        }
        // The number is below the count, so this is a socket of another kind.
        Ok(None) => Err(io::ErrorKind::NotFound.into()),
        Err(_) => {
            let socket = sockets.take_unix_listener(number)?.ok_or(io::ErrorKind::NotFound)?;
            let address = socket.local_addr()?;
            let path = address.as_pathname().ok_or(io::ErrorKind::AddrNotAvailable)?;
            Ok((ListenAddress::Unix(path.to_owned()), PassedSocket::Unix(socket)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(address: &str) -> (ListenAddress, PassedSocket) {
        let socket = std::net::TcpListener::bind(address).unwrap();
        (ListenAddress::Socket(socket.local_addr().unwrap()), PassedSocket::Tcp(socket))
    }

    #[test]
    fn name_selects_the_listener() {
        for (name, expected) in [
            ("http", Some(PassedFor::Public)),
            ("", Some(PassedFor::Public)),
            ("unknown", Some(PassedFor::Public)),
            ("tidings.socket", Some(PassedFor::Public)),
            ("admin", Some(PassedFor::Admin)),
            ("bus", Some(PassedFor::Bus)),
            ("htpp", None),
        ] {
            assert_eq!(PassedFor::parse(name), expected, "{name:?}");
        }
    }

    #[test]
    fn most_exposed_address_counts_and_each_socket_is_taken_once() {
        let mut sockets = PassedSockets::default();
        for (of, address) in [
            (PassedFor::Public, "127.0.0.1:0"),
            (PassedFor::Public, "0.0.0.0:0"),
            (PassedFor::Admin, "127.0.0.1:0"),
        ] {
            let (address, socket) = tcp(address);
            sockets.0.push((of, address, socket));
        }
        assert!(!sockets.address(PassedFor::Public).unwrap().is_local());
        assert!(sockets.address(PassedFor::Admin).unwrap().is_local());
        assert_eq!(sockets.address(PassedFor::Bus), None);
        assert_eq!(sockets.take_for(PassedFor::Public).len(), 2);
        assert_eq!(sockets.take_for(PassedFor::Public).len(), 0);
        assert_eq!(sockets.take_for(PassedFor::Admin).len(), 1);
    }
}
