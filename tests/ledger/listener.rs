//! An EventSource with a diary. Each time it reconnects it goes to the next broker, as a load balancer may send it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::book::{Diary, EntryId, Moment, Seen, Sighting};
use super::support::{Connect, DEADLINE, Event, SseClient, eventually};

/// How long an EventSource waits before it reconnects as long as the stream says nothing of it.
const RETRY_DEFAULT: Duration = Duration::from_millis(500);

/// Small, so that a client that does not read is felt.
const RECEIVE_BUFFER_BYTES: u32 = 32 * 1024;

/// What a client is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// Stay connected and read.
    Read,
    /// Stay connected and take nothing more.
    Hang,
    /// Leave, as a closed laptop does, and come back when told.
    StayAway,
}

/// A client.
#[derive(Debug)]
pub struct Listener {
    workspace: String,
    diary: Arc<Mutex<Diary>>,
    wish: watch::Sender<Wish>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Begins to connect, to the first of the brokers.
    pub fn open(client: &str, workspace: &str, brokers: Vec<SocketAddr>, opened: Instant) -> Self {
        let diary = Diary { client: format!("{client} of {workspace}"), sightings: Vec::new() };
        let diary = Arc::new(Mutex::new(diary));
        let (wish, wished) = watch::channel(Wish::Read);
        let source =
            Source { workspace: workspace.to_owned(), brokers, opened, diary: diary.clone(), wished };
        Self { workspace: workspace.to_owned(), diary, wish, task: tokio::spawn(source.run()) }
    }

    pub fn workspace(&self) -> &str {
        &self.workspace
    }

    /// Waits until it was greeted.
    pub async fn greeted(&self) {
        eventually("a hello", DEADLINE, async || self.has_seen(|seen| matches!(seen, Seen::Hello { .. })))
            .await;
    }

    /// Whether it has an event of this number or a later one.
    pub fn is_at(&self, number: u64) -> bool {
        self.has_seen(|seen| matches!(seen, Seen::Event { number: got, .. } if *got >= number))
    }

    /// Takes nothing more from its connection, and keeps it.
    pub fn hang(&self) {
        self.wish.send_replace(Wish::Hang);
    }

    /// Closes its connection and stays away.
    pub fn leave(&self) {
        self.wish.send_replace(Wish::StayAway);
    }

    /// Reads on, or comes back.
    pub fn come_back(&self) {
        self.wish.send_replace(Wish::Read);
    }

    /// What it has seen so far.
    pub fn diary(&self) -> Diary {
        self.diary.lock().clone()
    }

    fn has_seen(&self, what: impl Fn(&Seen) -> bool) -> bool {
        // What is waited for is among the last.
        self.diary.lock().sightings.iter().rev().any(|sighting| what(&sighting.what))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Source {
    workspace: String,
    brokers: Vec<SocketAddr>,
    opened: Instant,
    diary: Arc<Mutex<Diary>>,
    wished: watch::Receiver<Wish>,
}

impl Source {
    async fn run(mut self) {
        let mut retry = RETRY_DEFAULT;
        let mut last_event_id = None;
        for address in self.brokers.clone().into_iter().cycle() {
            if self.wished.wait_for(|wish| *wish != Wish::StayAway).await.is_err() {
                return;
            }
            let options = Connect {
                last_event_id: last_event_id.clone(),
                receive_buffer: Some(RECEIVE_BUFFER_BYTES),
                ..Connect::default()
            };
            let after = last_event_id.as_deref().and_then(|id: &str| id.parse().ok());
            self.write(self.opened.elapsed(), Seen::Connecting { after });
            if let Ok(mut client) = SseClient::try_open(address, &self.workspace, &options).await {
                if let Some(refusal) = refusal(&client) {
                    self.write(self.opened.elapsed(), Seen::GaveUp(refusal));
                    return;
                }
                self.listen(&mut client, &mut last_event_id).await;
                retry = client.retries().last().map_or(retry, |&ms| Duration::from_millis(ms));
            }
            tokio::time::sleep(retry).await;
        }
    }

    /// Reads one connection to its end.
    async fn listen(&mut self, client: &mut SseClient, last_event_id: &mut Option<String>) {
        loop {
            let next = tokio::select! {
                next = client.next() => next,
                changed = self.wished.changed() => {
                    let wish = *self.wished.borrow_and_update();
                    match wish {
                        _ if changed.is_err() => return,
                        Wish::Read => client.resume_reading(),
                        Wish::Hang => client.stop_reading(),
                        Wish::StayAway => return,
                    }
                    continue;
                }
            };
            let Ok((at, event)) = next else { return };
            if !event.id.is_empty() {
                *last_event_id = Some(event.id.clone());
            }
            if let Some(seen) = seen(&event) {
                self.write(at.saturating_duration_since(self.opened), seen);
            }
        }
    }

    fn write(&self, at: Moment, what: Seen) {
        self.diary.lock().sightings.push(Sighting { at, what });
    }
}

/// Why an EventSource would give up for good on an answer.
fn refusal(client: &SseClient) -> Option<String> {
    let is_stream = client.header("content-type").split(';').next() == Some("text/event-stream");
    (client.status() != 200 || !is_stream)
        .then(|| format!("{} {}", client.status(), client.header("content-type")))
}

fn seen(event: &Event) -> Option<Seen> {
    let position: Option<EntryId> = event.id.parse().ok();
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
            let data = data();
            match data["number"].as_u64() {
                Some(number) => Seen::Event { id: position.expect("an event's id"), number },
                None if data["type"] == "connected" => Seen::Hello { position },
                None => return None,
            }
        }
        _ => return None,
    })
}
