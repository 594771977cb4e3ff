//! Writes the marks of live events that the hub wants: takes the workspaces, and has the bus mark each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bus::{Bus, LogError};
use crate::hub::{Hub, MARK_SLACK};
use crate::telemetry::Throttle;
use crate::workspace::WorkspaceId;

/// Marks that are written at a time.
const CONCURRENT: usize = 16;

/// The first pause before a mark that was not written is tried again; it doubles.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Writes marks until `stop`. A mark that cannot be written is tried for as long as `patience`; then the next live event of its
/// workspace wants it anew.
pub async fn run(hub: Arc<Hub>, bus: Arc<dyn Bus>, patience: Duration, stop: CancellationToken) {
    let permits = Arc::new(Semaphore::new(CONCURRENT));
    let log = Arc::new(Throttle::default());
    let writings = TaskTracker::new();
    loop {
        // The permit first: workspaces that wait stand once each in the hub.
        let permit = tokio::select! {
            permit = Arc::clone(&permits).acquire_owned() => permit,
            () = stop.cancelled() => break,
        };
        let workspace = tokio::select! {
            workspace = hub.marks().next() => workspace,
            () = stop.cancelled() => break,
        };
        let (hub, bus, log, stop) = (Arc::clone(&hub), Arc::clone(&bus), Arc::clone(&log), stop.clone());
        writings.spawn(async move {
            tokio::select! {
                outcome = write(&*bus, &workspace, patience) => {
                    if let Err(error) = outcome {
                        hub.mark_failed(&workspace);
                        if let Some(silenced) = log.pass() {
                            tracing::warn!(
                                %workspace, %error, silenced,
                                "cannot mark a workspace as one that carries live events; `tidings check` tells more"
                            );
                        }
                    }
                }
                () = stop.cancelled() => {}
            }
            drop(permit);
        });
    }
    writings.close();
    writings.wait().await;
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
