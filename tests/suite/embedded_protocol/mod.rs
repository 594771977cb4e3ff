//! The embedded bus as its Redis clients see it. A command that exists in Redis too returns the
//! same values and the same codes of errors.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails by that")]

mod differential;
mod differential_logs;
mod hostile;
mod libraries;
mod node;
mod password;
mod redis_server;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tidings_bus::Bus;
use tidings_bus::settings::RetentionConfig;
use tidings_embedded::settings::{EmbeddedConfig, LogSync};
use tidings_embedded::{ChannelNames, EmbeddedBus, bind};
use tidings_event::workspace::WorkspaceId;
use tidings_event::{BusHandler, DesiredSubscriptions};
use tidings_settings::{Seconds, SecretText};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Far longer than anything here takes, also on a busy machine.
const DEADLINE: Duration = Duration::from_secs(40);

/// A running embedded bus on a port of its own. It stops when this is dropped.
struct Embedded {
    address: SocketAddr,
    bus: Arc<EmbeddedBus>,
    feed: Arc<Recorder>,
    interest: Arc<DesiredSubscriptions>,
    stop: CancellationToken,
    running: Option<JoinHandle<()>>,
}

impl Embedded {
    async fn start() -> Self {
        Self::with(1000, 8 << 20).await
    }

    async fn with(clients: usize, output_bytes: usize) -> Self {
        Self::with_password(clients, output_bytes, "").await
    }

    async fn with_password(clients: usize, output_bytes: usize, password: &str) -> Self {
        let password = SecretText::new(password);
        let listener = bind("127.0.0.1:0".parse().unwrap(), &password).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (path, sync, log_bytes) = (None, LogSync::Always, 64 << 20);
        let listen = Some(address);
        let config = EmbeddedConfig {
            listen,
            password,
            clients,
            output_bytes,
            clients_bytes: 128 << 20,
            path,
            sync,
            log_bytes,
            idempotency_bytes: 64 << 20,
            idempotency_workspace_bytes: 16 << 20,
        };
        let seconds = Seconds::new(Duration::from_secs(86_400));
        let retention = RetentionConfig { events: 1000, seconds, bytes: 16 << 20 };
        let interest = Arc::new(DesiredSubscriptions::default());
        let bus = EmbeddedBus::open(
            &config,
            &retention,
            ChannelNames { prefix: "workspace:", control: "tidings:control" },
            1 << 18,
            Arc::clone(&interest),
            Some(listener),
        );
        let bus = Arc::new(bus.await.unwrap());
        let feed = Arc::new(Recorder::default());
        let stop = CancellationToken::new();
        let run = Arc::clone(&bus).run(Arc::clone(&feed) as Arc<dyn BusHandler>, stop.clone());
        Self { address, bus, feed, interest, stop, running: Some(tokio::spawn(run)) }
    }

    /// Stops the bus and waits until it has stopped.
    async fn stop(&mut self) {
        self.stop.cancel();
        if let Some(running) = self.running.take() {
            timeout(DEADLINE, running).await.unwrap().unwrap();
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A feed that writes down what it gets.
#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl Recorder {
    fn seen(&self) -> Vec<String> {
        self.0.lock().clone()
    }

    fn note(&self, line: String) {
        self.0.lock().push(line);
    }
}

impl BusHandler for Recorder {
    fn confirmed(&self, workspace: &WorkspaceId) {
        self.note(format!("confirmed {workspace}"));
    }

    fn refused(&self, workspace: &WorkspaceId, reason: &str) {
        self.note(format!("refused {workspace} {reason}"));
    }

    fn message(&self, workspace: &WorkspaceId, message: Bytes) {
        self.note(format!("{workspace} {}", String::from_utf8_lossy(&message)));
    }

    fn control_confirmed(&self) {}

    fn control(&self, message: Bytes) {
        self.note(format!("order {}", String::from_utf8_lossy(&message)));
    }

    fn lost(&self, _workspace: &WorkspaceId) {}

    fn interrupted(&self) {
        self.note("interrupted".to_owned());
    }
}

/// Waits until the condition holds.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}
