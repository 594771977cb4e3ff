//! An EventSource with a trace. Each time it reconnects it goes to another broker, as a load
//! balancer may send it.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::records::{ClientTrace, Moment, Place, Seen, Sighting, Tag};
use crate::{Connect, DEADLINE, Event, SseClient, eventually};

/// How long an EventSource waits before it reconnects as long as the stream says nothing of it.
const RETRY_DEFAULT: Duration = Duration::from_millis(500);

/// Small, so that a client that does not read is felt.
const RECEIVE_BUFFER_BYTES: u32 = 32 * 1024;

/// Which of the brokers a client goes to.
#[derive(Debug, Clone)]
pub(super) enum Route {
    /// First to this one, and to the next one each time.
    Next(usize),
    /// To any.
    Random,
    /// To the one that this names. All clients of a workspace share it, and whichever loses its
    /// connection first moves them all to the next one.
    Together(Arc<AtomicUsize>),
    /// Always to this one.
    Only(usize),
}

/// How a client behaves.
#[derive(Debug, Clone)]
pub(super) struct Habits {
    pub route: Route,
    /// It leaves a connection without bytes after this time, and waits no longer for a response.
    pub patience: Option<Duration>,
    /// It leaves by itself after a time between these.
    pub stay: Option<Range<Duration>>,
}

/// What a client is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    /// Stay connected and read.
    Read,
    /// Stay connected and take nothing more.
    Hang,
    /// Leave, as a closed laptop does, and reconnect on request.
    StayAway,
}

/// A client.
#[derive(Debug)]
pub struct LedgerClient {
    workspace: String,
    trace: Arc<Mutex<ClientTrace>>,
    command: watch::Sender<Command>,
    task: JoinHandle<()>,
}

impl LedgerClient {
    /// Begins to connect.
    pub(super) fn open(
        client: &str,
        workspace: &str,
        brokers: Vec<SocketAddr>,
        habits: Habits,
        opened: Instant,
    ) -> Self {
        let trace = ClientTrace { client: format!("{client} of {workspace}"), sightings: Vec::new() };
        let trace = Arc::new(Mutex::new(trace));
        let (command, commands) = watch::channel(Command::Read);
        let workspace = workspace.to_owned();
        let source =
            Source { workspace: workspace.clone(), brokers, habits, opened, trace: trace.clone(), commands };
        Self { workspace, trace, command, task: tokio::spawn(source.run()) }
    }

    /// The workspace whose stream the client reads.
    pub(super) fn workspace(&self) -> &str {
        &self.workspace
    }

    /// Waits until it was greeted.
    pub(super) async fn greeted(&self) {
        eventually("a connected event", DEADLINE, async || {
            self.has_seen(|seen| matches!(seen, Seen::Connected { .. }))
        })
        .await;
    }

    /// Whether it has this event or a later one of the same publisher.
    pub(super) fn is_at(&self, wanted: Tag) -> bool {
        let is_wanted = |tag: &Tag| tag.publisher == wanted.publisher && tag.number >= wanted.number;
        self.has_seen(|seen| matches!(seen, Seen::Event { tag, .. } if is_wanted(tag)))
    }

    /// Takes nothing more from its connection, and keeps it.
    pub fn hang(&self) {
        self.command.send_replace(Command::Hang);
    }

    /// Closes its connection until `come_back`.
    pub fn leave(&self) {
        self.command.send_replace(Command::StayAway);
    }

    /// Reads on, or reconnects.
    pub fn come_back(&self) {
        self.command.send_replace(Command::Read);
    }

    /// What it has seen so far.
    pub(super) fn trace(&self) -> ClientTrace {
        self.trace.lock().clone()
    }

    fn has_seen(&self, what: impl Fn(&Seen) -> bool) -> bool {
        // What is waited for is among the last.
        self.trace.lock().sightings.iter().rev().any(|sighting| what(&sighting.what))
    }
}

impl Drop for LedgerClient {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Source {
    workspace: String,
    brokers: Vec<SocketAddr>,
    habits: Habits,
    opened: Instant,
    trace: Arc<Mutex<ClientTrace>>,
    commands: watch::Receiver<Command>,
}

impl Source {
    async fn run(mut self) {
        let mut retry = RETRY_DEFAULT;
        let mut last_event_id = None;
        for turn in 0.. {
            if self.commands.wait_for(|command| *command != Command::StayAway).await.is_err() {
                return;
            }
            let broker = self.broker(turn);
            let options = Connect {
                last_event_id: last_event_id.clone(),
                receive_buffer: Some(RECEIVE_BUFFER_BYTES),
                ..Connect::default()
            };
            let after = last_event_id.as_deref().and_then(|id: &str| id.parse().ok());
            self.write(self.opened.elapsed(), Seen::Connecting { after });
            if let Some(mut client) = self.connect(self.brokers[broker], &options).await {
                if let Some(refusal) = refusal(&client) {
                    self.write(self.opened.elapsed(), Seen::GaveUp(refusal));
                    return;
                }
                self.listen(&mut client, &mut last_event_id).await;
                retry = client.retries().last().map_or(retry, |&ms| Duration::from_millis(ms));
                self.write(self.opened.elapsed(), Seen::Disconnected);
            }
            if let Route::Together(current) = &self.habits.route {
                let next = (broker + 1) % self.brokers.len();
                // Where another client has moved them all, this fails, and it goes along.
                let _ = current.compare_exchange(broker, next, Ordering::Relaxed, Ordering::Relaxed);
            }
            tokio::time::sleep(retry).await;
        }
    }

    fn broker(&self, turn: usize) -> usize {
        match &self.habits.route {
            Route::Next(first) => (first + turn) % self.brokers.len(),
            Route::Random => fastrand::usize(..self.brokers.len()),
            Route::Together(current) => current.load(Ordering::Relaxed),
            Route::Only(broker) => *broker,
        }
    }

    async fn connect(&self, address: SocketAddr, options: &Connect) -> Option<SseClient> {
        let connecting = SseClient::try_open(address, &self.workspace, options);
        tokio::time::timeout(self.habits.patience.unwrap_or(Duration::MAX), connecting).await.ok()?.ok()
    }

    /// Reads one connection to its end.
    async fn listen(&mut self, client: &mut SseClient, last_event_id: &mut Option<String>) {
        let stay = self.habits.stay.clone().map(|stay| {
            let milliseconds = stay.start.as_millis()..stay.end.as_millis();
            Duration::from_millis(fastrand::u64(milliseconds.start as u64..milliseconds.end as u64))
        });
        let leaving = tokio::time::sleep(stay.unwrap_or(Duration::MAX));
        tokio::pin!(leaving);
        loop {
            let next = tokio::select! {
                next = tokio::time::timeout(self.patience_now(), client.next()) => next,
                () = &mut leaving => return,
                changed = self.commands.changed() => {
                    let command = *self.commands.borrow_and_update();
                    match command {
                        _ if changed.is_err() => return,
                        Command::Read => client.resume_reading(),
                        Command::Hang => client.stop_reading(),
                        Command::StayAway => return,
                    }
                    continue;
                }
            };
            let Ok(Ok((at, event))) = next else { return };
            if !event.id.is_empty() {
                *last_event_id = Some(event.id.clone());
            }
            if let Some(seen) = seen(&event) {
                self.write(at.saturating_duration_since(self.opened), seen);
            }
        }
    }

    /// How long nothing may come. A client that hangs does not look at its watch.
    fn patience_now(&self) -> Duration {
        let patience = if *self.commands.borrow() == Command::Hang { None } else { self.habits.patience };
        patience.unwrap_or(Duration::MAX)
    }

    fn write(&self, at: Moment, what: Seen) {
        self.trace.lock().sightings.push(Sighting { at, what });
    }
}

/// The reason for which an EventSource gives up for good after a response.
fn refusal(client: &SseClient) -> Option<String> {
    let is_stream = client.header("content-type").split(';').next() == Some("text/event-stream");
    (client.status() != 200 || !is_stream)
        .then(|| format!("{} {}", client.status(), client.header("content-type")))
}

fn seen(event: &Event) -> Option<Seen> {
    let position: Option<Place> = event.id.parse().ok();
    let data = || event.json();
    Some(match event.kind.as_str() {
        "tidings.heartbeat" => Seen::Heartbeat { position },
        "tidings.reconnect" => Seen::Reconnect,
        "tidings.reset" => {
            let data = data();
            Seen::Reset {
                reason: data["reason"].as_str().expect("a reason").to_owned(),
                from: data["from"].as_str().and_then(|from| from.parse().ok()),
                head: data["head"].as_str().expect("a head").parse().expect("a position"),
            }
        }
        "message" => {
            let data: serde_json::Value = serde_json::from_str(&event.data).ok()?;
            match (data["publisher"].as_u64(), data["number"].as_u64()) {
                (Some(publisher), Some(number)) => {
                    let publisher = usize::try_from(publisher).expect("a publisher's number");
                    Seen::Event { place: position.expect("an event's id"), tag: Tag { publisher, number } }
                }
                _ if data["type"] == "connected" => Seen::Connected { position },
                _ => return None,
            }
        }
        _ => return None,
    })
}
