//! Writes the marks of live events that the hub wants: takes the workspaces, and has the bus mark
//! each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use tidings_bus::Bus;
use tidings_event::log::LogError;
use tidings_event::workspace::WorkspaceId;
use tidings_hub::{Hub, MARK_SLACK};
use tidings_metrics::Throttle;

/// Marks that are written at a time.
const CONCURRENT: usize = 16;

/// The first pause before a mark that was not written is tried again; it doubles.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// How long the last marks may take at the end. Without them the next node does not know of the
/// last live events. With a whole drain it stays within the 10 seconds of `docker stop`.
const LAST_MARKS: Duration = Duration::from_millis(400);

/// Writes marks until `stop`, and then the remaining ones. It retries a failed mark for `patience`;
/// then the next live event of its workspace wants it again.
pub async fn run(hub: Arc<Hub>, bus: Arc<dyn Bus>, patience: Duration, stop: CancellationToken) {
    let writer = MarkWriter { hub, bus, patience, log: Throttle::default() };
    let writer = Arc::new(writer);
    let permits = Arc::new(Semaphore::new(CONCURRENT));
    let mut writings = JoinSet::new();
    let begin = |writings: &mut JoinSet<()>, permit, workspace| {
        let writer = Arc::clone(&writer);
        writings.spawn(async move {
            writer.write(workspace).await;
            drop(permit);
        });
    };
    loop {
        // The permit first: a waiting workspace is in the hub once.
        let permit = tokio::select! {
            permit = Arc::clone(&permits).acquire_owned() => permit,
            () = stop.cancelled() => break,
        };
        let workspace = tokio::select! {
            workspace = writer.hub.marks().next() => workspace,
            () = stop.cancelled() => break,
        };
        begin(&mut writings, permit, workspace);
        while writings.try_join_next().is_some() {}
    }
    // What is not written in time is given up when the set is dropped.
    let _ = tokio::time::timeout(LAST_MARKS, async {
        while let Some(workspace) = writer.hub.marks().take() {
            let permit = Arc::clone(&permits).acquire_owned().await;
            begin(&mut writings, permit, workspace);
        }
        while writings.join_next().await.is_some() {}
    })
    .await;
}

struct MarkWriter {
    hub: Arc<Hub>,
    bus: Arc<dyn Bus>,
    patience: Duration,
    log: Throttle,
}

impl MarkWriter {
    async fn write(&self, workspace: WorkspaceId) {
        let Err(error) = write(&*self.bus, &workspace, self.patience).await else { return };
        self.hub.mark_failed(&workspace);
        if let Some(silenced) = self.log.pass() {
            tracing::warn!(
                %workspace, %error, silenced,
                "cannot mark a workspace as one that carries live events; run `tidings check`"
            );
        }
    }
}

async fn write(bus: &dyn Bus, workspace: &WorkspaceId, patience: Duration) -> Result<u64, LogError> {
    let began = Instant::now();
    let mut pause = RETRY_PAUSE;
    loop {
        match bus.mark_live(workspace, MARK_SLACK).await {
            Err(LogError::Unavailable(_)) if began.elapsed() + pause < patience => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            outcome => return outcome,
        }
    }
}
