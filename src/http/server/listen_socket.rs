//! The sockets of a listener: bound by the node, or passed by a service manager; TCP, or in the
//! file system.

use std::fs::{self, File, TryLockError};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use tidings_settings::ListenAddress;

/// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Whether an accepted socket has the options of the one that accepted it. Linux copies that one
/// when the connection is made, which saves seven calls for each connection.
const INHERITED: bool = cfg!(target_os = "linux");

/// Limits the wait for another process that binds a socket in the same directory, which takes it
/// microseconds.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// The time between two attempts to lock a directory.
const LOCK_INTERVAL: Duration = Duration::from_millis(5);

/// The address of a peer at a socket in the file system, which has none. So `trusted_proxies`
/// decides about it as about every other program on this machine.
const UNIX_PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Socket options of accepted connections.
#[derive(Debug, Clone, Copy)]
pub struct SocketSettings {
    /// Idle time after which the peer is probed.
    pub keepalive: Duration,
    /// The time for which sent bytes may stay unacknowledged (`TCP_USER_TIMEOUT`).
    pub user_timeout: Duration,
    /// The kernel's send buffer, in bytes.
    pub send_buffer: usize,
    /// The permissions of a socket in the file system.
    pub unix_mode: u32,
}

/// A listening socket that a service manager has opened for this process.
#[derive(Debug)]
pub enum PassedSocket {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// In the file system.
    Unix(std::os::unix::net::UnixListener),
}

/// A socket that listens.
#[derive(Debug)]
pub struct ListenSocket {
    kind: ListenKind,
    options: SocketSettings,
}

#[derive(Debug)]
enum ListenKind {
    Tcp {
        listener: TcpListener,
        /// Whether accepted connections have the options already.
        is_prepared: bool,
    },
    Unix {
        /// In front of the listener, so that the file is removed before the socket closes. Another
        /// node never finds a file without a listener and replaces it in between.
        _file: Option<SocketFile>,
        listener: UnixListener,
    },
}

impl ListenSocket {
    /// Binds a TCP socket.
    ///
    /// # Errors
    ///
    /// The address is in use, is not one of this machine, or needs a right that the process lacks.
    pub fn bind_tcp(address: SocketAddr, options: &SocketSettings) -> io::Result<Self> {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        // A restart must not wait for the connections of the former process to be forgotten.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        if INHERITED {
            // Before it listens, since connections are made from then on.
            options.apply(&SockRef::from(&socket))?;
        }
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from_std(socket.into())?;
        Ok(Self { kind: ListenKind::Tcp { listener, is_prepared: INHERITED }, options: *options })
    }

    /// Binds a socket in the file system, and removes its file at the end. Replaces a file that a
    /// process left behind. Of several processes that bind one path at a time, one succeeds.
    ///
    /// Cancellation safe: nothing is bound.
    ///
    /// # Errors
    ///
    /// A process listens there, the file is no socket, or the directory is missing, protected or
    /// locked.
    pub async fn bind_unix(path: &Path, options: &SocketSettings) -> io::Result<Self> {
        // Until this socket listens, another process would take its file for one that was left
        // behind.
        let _lock = lock_directory(path).await?;
        remove_stale(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let file = SocketFile::new(path)?;
        // Before it listens, so that no other user can connect in between.
        fs::set_permissions(path, fs::Permissions::from_mode(options.unix_mode))?;
        socket.listen(BACKLOG)?;
        let listener = UnixListener::from_std(socket.into())?;
        Ok(Self { kind: ListenKind::Unix { listener, _file: Some(file) }, options: *options })
    }

    /// Uses a socket that a service manager has opened. Its file, if it has one, remains.
    ///
    /// # Errors
    ///
    /// The socket cannot be used.
    pub fn passed(socket: PassedSocket, options: &SocketSettings) -> io::Result<Self> {
        let kind = match socket {
            PassedSocket::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                SockRef::from(&listener).listen(BACKLOG)?;
                // Connections that wait already do not have the options.
                ListenKind::Tcp { listener: TcpListener::from_std(listener)?, is_prepared: false }
            }
            PassedSocket::Unix(listener) => {
                listener.set_nonblocking(true)?;
                SockRef::from(&listener).listen(BACKLOG)?;
                ListenKind::Unix { listener: UnixListener::from_std(listener)?, _file: None }
            }
        };
        Ok(Self { kind, options: *options })
    }

    /// The address, with the port that the system gave.
    ///
    /// # Errors
    ///
    /// The system does not report it.
    pub fn address(&self) -> io::Result<ListenAddress> {
        match &self.kind {
            ListenKind::Tcp { listener, .. } => listener.local_addr().map(ListenAddress::Socket),
            ListenKind::Unix { listener, .. } => {
                let address = listener.local_addr()?;
                Ok(ListenAddress::Unix(address.as_pathname().map(Path::to_owned).unwrap_or_default()))
            }
        }
    }

    /// Accepts a connection, which has the options. One whose peer is gone already is
    /// [`io::ErrorKind::ConnectionAborted`].
    pub(super) fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        Poll::Ready(match &self.kind {
            ListenKind::Tcp { listener, is_prepared } => {
                let (stream, peer) = ready!(listener.poll_accept(context))?;
                if !is_prepared && self.options.apply(&SockRef::from(&stream)).is_err() {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                }
                Ok((stream, peer))
            }
            ListenKind::Unix { listener, .. } => {
                let (stream, _) = ready!(listener.poll_accept(context))?;
                // The type says TCP. A connection is read, written, peeked at and shut down, which
                // are the same calls for each kind of stream socket. So both writers serve it.
                let stream = std::net::TcpStream::from(OwnedFd::from(stream.into_std()?));
                SockRef::from(&stream).set_send_buffer_size(self.options.send_buffer)?;
                Ok((TcpStream::from_std(stream)?, UNIX_PEER))
            }
        })
    }
}

impl SocketSettings {
    fn apply(&self, socket: &SockRef<'_>) -> io::Result<()> {
        socket.set_tcp_nodelay(true)?;
        let keepalive =
            TcpKeepalive::new().with_time(self.keepalive).with_interval(self.keepalive / 3).with_retries(3);
        socket.set_tcp_keepalive(&keepalive)?;
        // With it, a peer that vanished is found also while bytes are under way to it; keepalive
        // alone waits for silence.
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(self.user_timeout))?;
        socket.set_send_buffer_size(self.send_buffer)
    }
}

/// Locks the directory of a file until the value is dropped. The lock ends with the process, and
/// leaves no file behind.
async fn lock_directory(path: &Path) -> io::Result<File> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = File::open(parent.unwrap_or(Path::new(".")))?;
    let locked = async {
        loop {
            match directory.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_INTERVAL).await,
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    };
    let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "another process locks the directory"));
    tokio::time::timeout(LOCK_TIMEOUT, locked).await.unwrap_or_else(late)?;
    Ok(directory)
}

/// Removes the socket of a process that is gone.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file is no socket"));
        }
        Ok(_) => {}
    }
    // A listener that accepts nothing, with a full queue, would hold a blocking connect for ever.
    let probe = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Ok(()) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::AddrInUse.into()),
        // One that another user owns, for example.
        Err(error) => Err(error),
    }
}

/// The file of a socket, which its value removes unless another socket has replaced it.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // One that cannot be removed is replaced by the next process.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Device and number of a file.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

#[cfg(test)]
mod tests;
