//! Reads logs for the hub: takes its requests, reads from the bus, returns the pages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use tidings_bus::Bus;
use tidings_event::log::{LogError, LogPage};
use tidings_hub::{Hub, LogRead};
use tidings_schemas::SchemaCheck;

/// How a log reader works.
#[derive(Debug, Clone, Copy)]
pub struct LogReaderSettings {
    /// Reads at a time.
    pub concurrent: usize,
    /// Entries in one read.
    pub page_events: usize,
    /// How long a read that fails because the bus is away is tried again.
    pub patience: Duration,
}

/// The first pause before a failed read is tried again; it doubles.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Reads until `stop`, then drops what is under way.
pub async fn run(
    hub: Arc<Hub>,
    bus: Arc<dyn Bus>,
    schemas: Option<Arc<SchemaCheck>>,
    settings: LogReaderSettings,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(settings.concurrent));
    let readings = TaskTracker::new();
    loop {
        // The permit first: wishes that wait are kept in order by the hub, the urgent ones in
        // front.
        let permit = tokio::select! {
            permit = Arc::clone(&permits).acquire_owned() => permit,
            () = stop.cancelled() => break,
        };
        let read = tokio::select! {
            read = hub.read_queue().next() => read,
            () = stop.cancelled() => break,
        };
        let (bus, stop, permits) = (Arc::clone(&bus), stop.clone(), Arc::clone(&permits));
        let schemas = schemas.clone();
        let pause = read.pause;
        let owed = Owed { hub: Arc::clone(&hub), read: Some(read) };
        readings.spawn(async move {
            tokio::select! {
                () = async {
                    let _permit = if pause.is_zero() { permit } else {
                        // A read that waits before it begins holds up no other. There are no more
                        // of them than workspaces want one.
                        drop(permit);
                        tokio::time::sleep(pause).await;
                        permits.acquire_owned().await
                    };
                    owed.pay(&*bus, schemas.as_deref(), settings).await;
                } => {}
                () = stop.cancelled() => {}
            }
        });
    }
    readings.close();
    readings.wait().await;
}

/// A reply that the hub waits for. However the read ends, the hub gets one: without it, a workspace
/// waits forever.
struct Owed {
    hub: Arc<Hub>,
    read: Option<LogRead>,
}

impl Owed {
    async fn pay(mut self, bus: &dyn Bus, schemas: Option<&SchemaCheck>, settings: LogReaderSettings) {
        if let Some(read) = &self.read {
            let page = fetch(bus, read, settings).await;
            // A replay has no events that are new to the node.
            if let (Some(schemas), Ok(page), true) = (schemas, &page, read.brings_new_events()) {
                schemas.entries(&read.workspace, &page.entries);
            }
            self.hub.answer(read, page);
            self.read = None;
        }
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        if let Some(read) = &self.read {
            self.hub.answer(read, Err(LogError::Unavailable("the reading was broken off".to_owned())));
        }
    }
}

/// Reads one page, with some patience for a bus that is just being linked again.
async fn fetch(bus: &dyn Bus, read: &LogRead, settings: LogReaderSettings) -> Result<LogPage, LogError> {
    let began = Instant::now();
    let mut pause = RETRY_PAUSE;
    loop {
        match bus.read_log(&read.workspace, read.span, settings.page_events).await {
            Err(LogError::Unavailable(_)) if began.elapsed() + pause < settings.patience => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            outcome => return outcome,
        }
    }
}
