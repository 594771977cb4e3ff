//! One workspace: its recent events, its log, its streams.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use warp::reply::Response;

use super::Console;
use super::reply;
use crate::http::Problem;
use crate::nodes::StreamRow;
use tidings_delivery::StreamList;
use tidings_event::log::{LogEntry, LogFigures, Span};
use tidings_event::workspace::WorkspaceId;
use tidings_event::{Audience, EntryId, Frame, frame};

/// The events of a response.
pub(super) const EVENTS_MAX: usize = 50;

/// The streams of a response.
const STREAMS_MAX: usize = 100;

/// The bytes of a payload in a response. Fifty of them keep the response small.
const PAYLOAD_BYTES_MAX: usize = 4 * 1024;

/// An event in the list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EventRow {
    id: String,
    /// Milliseconds since 1970, for a durable event.
    #[serde(skip_serializing_if = "Option::is_none")]
    at_ms: Option<u64>,
    /// `durable`, `live` or `reset`.
    kind: &'static str,
    private: bool,
    bytes: usize,
    /// Of an event that the response shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    truncated: bool,
    /// Whether the response leaves a payload out.
    hidden: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    users: Option<Value>,
}

/// The parts of events that a response shows.
#[derive(Debug, Clone, Copy)]
struct Shown {
    payloads: bool,
    private: bool,
}

impl EventRow {
    fn new(id: String, payload: Option<&str>, to: Option<&Audience>, shown: Shown) -> Self {
        let is_shown = shown.payloads && (to.is_none() || shown.private);
        let text = payload.filter(|_| is_shown);
        let cut = text.map(|text| &text[..text.floor_char_boundary(PAYLOAD_BYTES_MAX)]);
        Self {
            id,
            at_ms: None,
            kind: "durable",
            private: to.is_some(),
            bytes: payload.map_or(0, str::len),
            event_type: text.and_then(frame::event_type).map(String::from),
            truncated: text.map(str::len) != cut.map(str::len),
            hidden: payload.is_some() && !is_shown,
            payload: cut.map(str::to_owned),
            users: to.filter(|_| is_shown).and_then(|to| serde_json::from_str(to.as_json()).ok()),
        }
    }

    fn of_frame(frame: &Frame, shown: Shown) -> Self {
        let position = frame.position();
        let payload = frame.payload();
        let row = Self::new(position.to_string(), payload.as_deref(), frame.audience(), shown);
        match (frame.reset_reason(), position.live) {
            (Some(reason), _) => Self { kind: "reset", event_type: Some(reason.as_str().to_owned()), ..row },
            (None, Some(_)) => Self { kind: "live", ..row },
            (None, None) => Self { at_ms: Some(position.entry.milliseconds), ..row },
        }
    }

    fn of_entry(entry: &LogEntry, shown: Shown) -> Self {
        let payload = entry.payload.as_deref().and_then(|payload| std::str::from_utf8(payload).ok());
        // An audience that cannot be read is one all the same, and the event is private.
        let to = entry.to.as_ref().map(|to| Audience::parse(to));
        let row = match &to {
            Some(Err(_)) => {
                let hidden = Shown { payloads: false, ..shown };
                Self { private: true, ..Self::new(entry.id.to_string(), payload, None, hidden) }
            }
            Some(Ok(to)) => Self::new(entry.id.to_string(), payload, Some(to), shown),
            None => Self::new(entry.id.to_string(), payload, None, shown),
        };
        Self { at_ms: Some(entry.id.milliseconds), ..row }
    }
}

/// Joins the events of a log with those in memory, which may be newer and may be live; the newest
/// first.
fn join(entries: &[LogEntry], frames: &[Arc<Frame>], shown: Shown) -> Vec<EventRow> {
    // The log has the entries before the first frame. A live frame has the position of the entry
    // before it.
    let is_before = |id: EntryId| match frames.first() {
        None => true,
        Some(first) => {
            let (position, is_durable) = (first.position(), first.is_application());
            id < position.entry || id == position.entry && !(is_durable && position.live.is_none())
        }
    };
    let older =
        entries.iter().filter(|entry| is_before(entry.id)).map(|entry| EventRow::of_entry(entry, shown));
    let newer = frames.iter().map(|frame| EventRow::of_frame(frame, shown));
    let mut rows: Vec<_> = older.chain(newer).collect();
    rows.drain(..rows.len().saturating_sub(EVENTS_MAX));
    rows.reverse();
    rows
}

impl Console {
    /// Returns one workspace. `query` may ask for the payloads of private events.
    pub(super) async fn workspace(&self, workspace: &WorkspaceId, query: &str) -> Result<Response, Problem> {
        let mut private = false;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if name == "private" {
                private = match &*value {
                    "true" => true,
                    "false" => false,
                    _ => return Err(Problem::bad_query("`private` is true or false")),
                };
            }
        }
        let patience = self.settings.patience;
        let Ok(Ok(_permit)) = tokio::time::timeout(patience, self.reads.acquire()).await else {
            let detail = "too many workspaces are read at a time: try again later";
            return Err(Problem::unavailable(detail, self.parts.streams.retry));
        };
        let shown = Shown { payloads: self.settings.payloads, private };
        let frames = self.parts.hub.recent(workspace, EVENTS_MAX);
        let (log, streams) = tokio::join!(self.log(workspace, patience), self.streams(workspace, patience));
        let (log, entries) = match log {
            Ok((figures, entries)) => (log_document(figures), entries),
            Err(error) => (json!({ "error": error }), Vec::new()),
        };
        let figures = self.parts.hub.figures(workspace);
        Ok(reply::json(&json!({
            "workspace": workspace.as_str(),
            "onNode": figures.map(|figures| json!({
                "streams": figures.streams,
                "events": figures.events,
                "eventBytes": figures.event_bytes,
                "ringBytes": figures.ring_bytes,
                "confirmed": figures.is_confirmed,
                "head": figures.head.to_string(),
            })),
            "log": log,
            "payloads": self.settings.payloads,
            "events": join(&entries, &frames, shown),
            "streamCount": streams.count,
            "streams": streams.streams.iter().map(|stream| StreamRow::new(stream, shown.payloads)).collect::<Vec<_>>(),
        })))
    }

    /// Reads the size of a log, and its newest entries.
    async fn log(
        &self,
        workspace: &WorkspaceId,
        patience: Duration,
    ) -> Result<(LogFigures, Vec<LogEntry>), String> {
        let bus = &self.parts.bus;
        let read = async {
            let figures = bus.log_figures(workspace).await?;
            let count = EVENTS_MAX.min(self.settings.page_events);
            let page = bus.read_log(workspace, Span::Newest { count }, count).await?;
            Ok::<_, tidings_event::log::LogError>((figures, page.entries))
        };
        match tokio::time::timeout(patience, read).await {
            Ok(read) => read.map_err(|error| error.to_string()),
            Err(_) => Err("the bus did not reply in time".to_owned()),
        }
    }

    /// Asks all writers for the streams of a workspace.
    async fn streams(&self, workspace: &WorkspaceId, patience: Duration) -> StreamList {
        let figures = self.parts.hub.figures(workspace);
        let (head, at) = figures.map_or((0, None), |figures| (figures.events, Some(figures.head)));
        let mut all = self.parts.streams.bodies.list(workspace, head, at, STREAMS_MAX);
        if let Some(engine) = &self.parts.engine {
            let listed = tokio::time::timeout(patience, engine.list(workspace, STREAMS_MAX)).await;
            all.join(listed.unwrap_or_default(), STREAMS_MAX);
        }
        // Streams that lack events are the ones that an operator looks for.
        all.streams.sort_by_key(|stream| {
            (std::cmp::Reverse(stream.events_behind.unwrap_or_default()), std::cmp::Reverse(stream.age))
        });
        all
    }
}

fn log_document(figures: LogFigures) -> Value {
    let LogFigures { length, oldest, newest } = figures;
    let id = |entry: Option<EntryId>| entry.map(|entry| entry.to_string());
    let at = |entry: Option<EntryId>| entry.map(|entry| entry.milliseconds);
    json!({
        "length": length,
        "oldest": id(oldest),
        "oldestMs": at(oldest),
        "newest": id(newest),
        "newestMs": at(newest),
    })
}

#[cfg(test)]
mod tests;
