//! A client that reconnects by itself, as the HTML standard, section 9.2.3, has browsers do.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::client::{Connect, SseClient};
use super::parser::Event;
use super::record::{End, Record};
use crate::wait::DEADLINE;

/// How long a browser waits before it reconnects as long as the stream says nothing of it.
const RETRY_DEFAULT: Duration = Duration::from_secs(3);

/// A stream that is opened again whenever it ends, with the last event id, until a response forbids
/// it. Any status but 200, or another content type, ends it for good.
#[derive(Debug)]
pub struct EventSource {
    record: Record,
    task: JoinHandle<()>,
}

impl EventSource {
    /// Begins to connect.
    pub fn open(address: SocketAddr, workspace: &str, options: Connect) -> Self {
        let record = Record::default();
        let task = tokio::spawn(run(address, workspace.to_owned(), options, record.clone()));
        Self { record, task }
    }

    /// The next event that fulfils the condition, over all connections; those before it are
    /// skipped.
    pub async fn wait_for(&mut self, within: Duration, wanted: impl FnMut(&Event) -> bool) -> Event {
        self.record.wait_for(within, "a certain event", wanted).await
    }

    /// The next greeting of the broker.
    pub async fn connected(&mut self) -> Event {
        self.record.wait_for(DEADLINE, "the connected event", Event::is_connected).await
    }

    /// All events so far, over all connections.
    pub fn events(&self) -> Vec<Event> {
        self.record.look(|seen| seen.events.iter().map(|(_, event)| event.clone()).collect())
    }

    /// The data of all events of the application so far.
    pub fn application_data(&self) -> Vec<String> {
        self.events().into_iter().filter(Event::is_from_application).map(|event| event.data).collect()
    }

    /// How often a connection was opened.
    pub fn opened(&self) -> u64 {
        self.record.look(|seen| seen.opened)
    }

    /// Why the source gave up for good, if it has (`readyState` is `CLOSED`).
    pub fn closed(&self) -> Option<End> {
        self.record.look(|seen| seen.end.clone())
    }
}

impl Drop for EventSource {
    fn drop(&mut self) {
        self.task.abort();
        if !std::thread::panicking() {
            self.record.check();
        }
    }
}

async fn run(address: SocketAddr, workspace: String, mut options: Connect, record: Record) {
    let mut retry = RETRY_DEFAULT;
    loop {
        // Each connection has a record of its own, whose end is not the end of the source.
        let connection = Record::default();
        if let Ok(client) = SseClient::try_connect(address, &workspace, &options, connection.clone()).await {
            if let Some(failure) = failure_for_good(&client) {
                record.update(|seen| seen.end = Some(failure));
                return;
            }
            record.update(|seen| seen.opened += 1);
            forward(&connection, &record).await;
            retry =
                client.retries().last().map_or(retry, |&milliseconds| Duration::from_millis(milliseconds));
            let id = client.last_event_id();
            if !id.is_empty() {
                options.last_event_id = Some(id);
            }
        }
        tokio::time::sleep(retry).await;
    }
}

fn failure_for_good(client: &SseClient) -> Option<End> {
    let is_stream = client.header("content-type").split(';').next() == Some("text/event-stream");
    let goes_on = client.status() == 200 && is_stream;
    (!goes_on).then(|| End::Aborted(format!("{} {}", client.status(), client.header("content-type"))))
}

/// Passes the events of a connection on until it ends.
async fn forward(connection: &Record, record: &Record) {
    let mut passed = 0;
    loop {
        let news = connection.wait(Duration::MAX, |seen| {
            let (news, fault) = (seen.events[passed..].to_vec(), seen.fault.clone());
            let is_over = seen.end.is_some() || fault.is_some();
            (is_over || !news.is_empty()).then_some((news, fault, is_over))
        });
        let Some((news, fault, is_over)) = news.await else { return };
        passed += news.len();
        record.update(|seen| {
            seen.events.extend(news);
            seen.fault = seen.fault.take().or(fault);
        });
        if is_over {
            return;
        }
    }
}
