//! A TCP proxy between a broker and Redis, for faults that no server shows by itself.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What happens to the bytes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// They are passed on.
    Pass,
    /// They are taken, so that the kernel acknowledges them, and go nowhere.
    Swallow,
    /// They are passed on, published messages apart.
    Deafen,
    /// The connection is closed.
    Cut,
    /// The client gets this without end.
    Flood(Flood),
}

/// What a flooded client gets without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// One reply.
    Reply,
    /// Confirmations of subscriptions, each of another channel.
    Confirmations,
}

/// A connection that a client made.
#[derive(Debug)]
struct ProxiedConnection {
    mode: watch::Sender<Mode>,
    /// Whether the client sent a `SUBSCRIBE`.
    subscribes: bool,
}

#[derive(Debug)]
struct ProxyState {
    upstream: SocketAddr,
    /// Where the next connection goes, if it goes elsewhere.
    next: Option<SocketAddr>,
    connections: Vec<ProxiedConnection>,
}

/// A proxy on a port of its own. It ends with the value, and its connections with it.
#[derive(Debug)]
pub struct TcpProxy {
    address: SocketAddr,
    shared: Arc<Mutex<ProxyState>>,
    accepting: JoinHandle<()>,
}

impl TcpProxy {
    /// Starts a proxy to a port of this machine.
    pub async fn start(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a listener");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Mutex::new(ProxyState {
            upstream: upstream(port),
            next: None,
            connections: Vec::new(),
        }));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, accepting }
    }

    /// The proxy as `redis.url`, for a user such as `"broker:secret@"`, or without one.
    pub fn url(&self, user: &str) -> String {
        format!("redis://{user}{}", self.address)
    }

    /// The port of the proxy.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Leads new connections to another port. Open ones stay where they are.
    pub fn point_to(&self, port: u16) {
        self.shared.lock().upstream = upstream(port);
    }

    /// Leads the next connection, and no other, to another port.
    pub fn point_once_to(&self, port: u16) {
        self.shared.lock().next = Some(upstream(port));
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> usize {
        self.shared.lock().connections.len()
    }

    /// From now on the open connections that subscribe to nothing get no response any more.
    pub fn swallow_commands(&self) {
        self.set(Mode::Swallow, |connection| !connection.subscribes);
    }

    /// From now on no published message comes out of the connections that are open. Replies do.
    pub fn deafen(&self) {
        self.set(Mode::Deafen, |_| true);
    }

    /// Floods the open connections that subscribe to nothing.
    pub fn flood_commands(&self, flood: Flood) {
        self.set(Mode::Flood(flood), |connection| !connection.subscribes);
    }

    /// Floods the open connections that subscribe.
    pub fn flood_events(&self, flood: Flood) {
        self.set(Mode::Flood(flood), |connection| connection.subscribes);
    }

    /// Closes the open connections that subscribe to nothing.
    pub fn close_commands(&self) {
        self.set(Mode::Cut, |connection| !connection.subscribes);
    }

    /// Closes all open connections.
    fn close_all(&self) {
        self.set(Mode::Cut, |_| true);
    }

    fn set(&self, mode: Mode, meant: impl Fn(&ProxiedConnection) -> bool) {
        for connection in self.shared.lock().connections.iter().filter(|connection| meant(connection)) {
            connection.mode.send_replace(mode);
        }
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.close_all();
    }
}

fn upstream(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

async fn accept(listener: TcpListener, shared: Arc<Mutex<ProxyState>>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let (mode, modes) = watch::channel(Mode::Pass);
        let (number, upstream) = {
            let mut shared = shared.lock();
            shared.connections.push(ProxiedConnection { mode, subscribes: false });
            let upstream = shared.next.take().unwrap_or(shared.upstream);
            (shared.connections.len() - 1, upstream)
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(upstream).await else { return };
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            let note = |bytes: &[u8]| {
                if contains(bytes, b"\r\nSUBSCRIBE\r\n") {
                    shared.lock().connections[number].subscribes = true;
                }
            };
            tokio::select! {
                () = pump(from_client, to_server, modes.clone(), note, false) => {}
                () = pump(from_server, to_client, modes, |_| {}, true) => {}
            }
        });
    }
}

/// Passes bytes on until one side ends or the connection is closed.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut modes: watch::Receiver<Mode>,
    note: impl Fn(&[u8]),
    is_answering: bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = tokio::select! {
            count = from.read(&mut buffer) => count.unwrap_or(0),
            changed = modes.changed() => {
                let mode = *modes.borrow();
                if changed.is_err() || mode == Mode::Cut {
                    return;
                }
                if let Mode::Flood(flood) = mode && is_answering {
                    return flood.send(&mut to).await;
                }
                continue;
            }
        };
        if count == 0 {
            return;
        }
        let bytes = &buffer[..count];
        note(bytes);
        let passed = match *modes.borrow() {
            Mode::Pass | Mode::Flood(_) => bytes.to_vec(),
            Mode::Deafen => without_messages(bytes),
            Mode::Swallow | Mode::Cut => Vec::new(),
        };
        if to.write_all(&passed).await.is_err() {
            return;
        }
    }
}

impl Flood {
    /// Sends until the client closes the connection.
    async fn send(self, to: &mut OwnedWriteHalf) {
        let mut bytes = match self {
            Self::Reply => b"$2000000000\r\n".to_vec(),
            Self::Confirmations => Vec::new(),
        };
        let mut confirmations = 0..;
        while to.write_all(&bytes).await.is_ok() {
            bytes = match self {
                Self::Reply => vec![b'x'; 64 * 1024],
                Self::Confirmations => (&mut confirmations)
                    .take(1000)
                    .flat_map(|number: u64| {
                        format!(">3\r\n$9\r\nsubscribe\r\n$50\r\n{number:050}\r\n:1\r\n").into_bytes()
                    })
                    .collect(),
            };
        }
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|part| part == wanted)
}

/// What a server sent, without the messages of channels. Small ones come whole.
fn without_messages(bytes: &[u8]) -> Vec<u8> {
    let kinds = [&b">3\r\n$7\r\nmessage\r\n"[..], b">3\r\n$8\r\nsmessage\r\n"];
    kinds.into_iter().fold(bytes.to_vec(), |bytes, kind| without_pushes(&bytes, kind))
}

fn without_pushes(mut bytes: &[u8], kind: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    while let Some(at) = bytes.windows(kind.len()).position(|part| part == kind) {
        kept.extend_from_slice(&bytes[..at]);
        bytes = &bytes[at + kind.len()..];
        // The channel and the payload, each as its length, its text, and a line end.
        for _ in 0..4 {
            let line = bytes.windows(2).position(|end| end == b"\r\n").map_or(bytes.len(), |end| end + 2);
            bytes = &bytes[line..];
        }
    }
    kept.extend_from_slice(bytes);
    kept
}
