//! A TCP proxy that behaves like networks: it is slow, swallows one direction or both, closes
//! connections, or loses the tail.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::ports::Port;

/// The most bytes that wait in one direction of a connection; the sender has to wait then.
const PENDING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toward {
    Server,
    Client,
}

/// What happens to bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    Pass,
    /// They are taken, and arrive nowhere. The connection stays open.
    Swallow,
    /// They arrive this much later, in order.
    Delay(Duration),
}

/// A running proxy in front of one server. Its connections end with the value.
#[derive(Debug)]
pub struct ChaosProxy {
    port: Port,
    shared: Arc<ChaosState>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct ChaosState {
    target: SocketAddr,
    /// How connections begin.
    transfers: Mutex<[Transfer; 2]>,
    connections: Mutex<Vec<Connection>>,
}

/// An open connection, or one that has ended meanwhile.
#[derive(Debug)]
struct Connection {
    transfers: [watch::Sender<Transfer>; 2],
    pumps: [JoinHandle<()>; 2],
    swallowed: bool,
}

impl ChaosProxy {
    /// Starts a proxy that passes everything on.
    pub async fn start(target: SocketAddr) -> Self {
        let port = Port::claim();
        let listener = TcpListener::bind(port.address()).await.expect("listen on a port of its own");
        let transfers = Mutex::new([Transfer::Pass; 2]);
        let shared = Arc::new(ChaosState { target, transfers, connections: Mutex::default() });
        let task = tokio::spawn(accept(listener, shared.clone()));
        Self { port, shared, task }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Sets what happens in one direction, for the open connections and for those to come.
    pub fn set(&self, toward: Toward, transfer: Transfer) {
        self.shared.transfers.lock()[toward as usize] = transfer;
        self.set_open(toward, transfer);
    }

    /// The same for the connections that are open now; those that are made later work.
    pub fn set_open(&self, toward: Toward, transfer: Transfer) {
        for connection in &mut *self.shared.connections.lock() {
            connection.swallowed |= transfer == Transfer::Swallow;
            connection.transfers[toward as usize].send_replace(transfer);
        }
    }

    /// Passes everything on again. A connection of which something was swallowed ends, since what
    /// follows would make no sense.
    pub fn heal(&self) {
        *self.shared.transfers.lock() = [Transfer::Pass; 2];
        self.shared.connections.lock().retain(|connection| {
            for transfer in &connection.transfers {
                transfer.send_replace(Transfer::Pass);
            }
            !connection.swallowed
        });
    }

    /// Ends all connections. What has not arrived is lost.
    pub fn cut(&self) {
        self.shared.connections.lock().clear();
    }

    /// Ends all connections after taking, and losing, what the server sends for a while.
    pub async fn close_losing_tail(&self, during: Duration) {
        self.set_open(Toward::Client, Transfer::Swallow);
        tokio::time::sleep(during).await;
        self.cut();
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        let mut connections = self.shared.connections.lock();
        connections.retain(|connection| connection.pumps.iter().all(|pump| !pump.is_finished()));
        connections.len()
    }
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.pumps.iter().for_each(JoinHandle::abort);
    }
}

async fn accept(listener: TcpListener, shared: Arc<ChaosState>) {
    while let Ok((client, _)) = listener.accept().await {
        // A server that is away is away for the client too.
        let Ok(server) = TcpStream::connect(shared.target).await else { continue };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let [to_server, to_client] = *shared.transfers.lock();
        let (to_server, to_server_set) = watch::channel(to_server);
        let (to_client, to_client_set) = watch::channel(to_client);
        let (client_reads, client_writes) = client.into_split();
        let (server_reads, server_writes) = server.into_split();
        let pumps = [
            tokio::spawn(pump(client_reads, server_writes, to_server_set)),
            tokio::spawn(pump(server_reads, client_writes, to_client_set)),
        ];
        let swallowed =
            [&to_server, &to_client].iter().any(|transfer| *transfer.borrow() == Transfer::Swallow);
        let connection = Connection { transfers: [to_server, to_client], pumps, swallowed };
        let mut connections = shared.connections.lock();
        connections.retain(|connection| connection.pumps.iter().any(|pump| !pump.is_finished()));
        connections.push(connection);
    }
}

/// Moves bytes from one side to the other until either ends.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut transfer: watch::Receiver<Transfer>) {
    let mut pending: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut pending_bytes = 0;
    let mut buffer = vec![0; 64 * 1024];
    let mut ended = false;
    // What is on its way arrives before the end does.
    while !(ended && pending.is_empty()) {
        let due = pending.front().map(|(came, _)| match *transfer.borrow() {
            Transfer::Delay(delay) => *came + delay,
            Transfer::Pass | Transfer::Swallow => *came,
        });
        tokio::select! {
            biased;
            changed = transfer.changed() => {
                if changed.is_err() {
                    return;
                }
                if *transfer.borrow_and_update() == Transfer::Swallow {
                    pending.clear();
                    pending_bytes = 0;
                }
            }
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let bytes = pending.pop_front().map(|(_, bytes)| bytes).unwrap_or_default();
                pending_bytes -= bytes.len();
                if to.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            read = from.read(&mut buffer), if !ended && pending_bytes < PENDING_BYTES_MAX => {
                let count = read.unwrap_or_default();
                ended = count == 0;
                if *transfer.borrow() != Transfer::Swallow {
                    pending.push_back((Instant::now(), buffer[..count].to_vec()));
                    pending_bytes += count;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
