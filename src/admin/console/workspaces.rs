//! The list of workspaces.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::json;
use warp::reply::Response;

use super::Console;
use super::reply;
use crate::http::Problem;
use tidings_hub::WorkspaceFigures;

/// The least time between two passes through all workspaces. All pages share one.
const PASS_INTERVAL: Duration = Duration::from_secs(2);

/// The time after which the figures of an unused list are freed.
const IDLE: Duration = Duration::from_secs(60);

/// Limits the rows of a response.
const ROWS_MAX: usize = 1_000;

/// The rows of a response, unless the request names another number.
const ROWS_DEFAULT: usize = 100;

/// The last pass through all workspaces.
#[derive(Debug, Default)]
pub(super) struct WorkspaceSurvey(Mutex<Option<SurveyPass>>);

#[derive(Debug)]
struct SurveyPass {
    at: Instant,
    read_at: Instant,
    rows: Arc<Vec<WorkspaceRow>>,
}

/// A workspace in the list.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkspaceRow {
    id: String,
    streams: usize,
    events: u64,
    event_bytes: u64,
    events_per_second: f64,
    bytes_per_second: f64,
    ring_bytes: usize,
    confirmed: bool,
}

/// The order of the list, the largest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WorkspaceOrder {
    Connections,
    Events,
    Bytes,
}

/// The request for a part of the list.
#[derive(Debug)]
struct WorkspaceQuery {
    search: String,
    order: WorkspaceOrder,
    limit: usize,
}

impl WorkspaceQuery {
    fn parse(query: &str) -> Result<Self, Problem> {
        let mut parsed =
            Self { search: String::new(), order: WorkspaceOrder::Connections, limit: ROWS_DEFAULT };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "search" => parsed.search = value.trim().to_owned(),
                "sort" => {
                    parsed.order = match &*value {
                        "connections" => WorkspaceOrder::Connections,
                        "events" => WorkspaceOrder::Events,
                        "bytes" => WorkspaceOrder::Bytes,
                        _ => return Err(Problem::bad_query("`sort` is connections, events or bytes")),
                    }
                }
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=ROWS_MAX).contains(limit));
                    let bad = || Problem::bad_query(format!("`limit` is a number from 1 to {ROWS_MAX}"));
                    parsed.limit = limit.ok_or_else(bad)?;
                }
                _ => {}
            }
        }
        Ok(parsed)
    }
}

impl WorkspaceSurvey {
    /// Returns the rows of the last pass, or of a new one if that is too old.
    fn rows(&self, now: Instant, survey: impl FnOnce() -> Vec<WorkspaceFigures>) -> Arc<Vec<WorkspaceRow>> {
        let mut state = self.0.lock();
        if let Some(pass) =
            state.as_mut().filter(|pass| now.saturating_duration_since(pass.at) < PASS_INTERVAL)
        {
            pass.read_at = now;
            return Arc::clone(&pass.rows);
        }
        let before = state.take();
        let seconds =
            before.as_ref().map_or(0.0, |pass| now.saturating_duration_since(pass.at).as_secs_f64());
        let known: HashMap<&str, &WorkspaceRow> = before
            .as_ref()
            .map(|pass| pass.rows.iter().map(|row| (&*row.id, row)).collect())
            .unwrap_or_default();
        let rows: Vec<_> = survey()
            .iter()
            .map(|figures| {
                let row = row(figures);
                match known.get(&*row.id) {
                    // The node may have given the workspace up and taken it again.
                    Some(known) if known.events <= row.events && seconds > 0.0 => WorkspaceRow {
                        events_per_second: (row.events - known.events) as f64 / seconds,
                        bytes_per_second: row.event_bytes.saturating_sub(known.event_bytes) as f64 / seconds,
                        ..row
                    },
                    _ => row,
                }
            })
            .collect();
        drop(known);
        let rows = Arc::new(rows);
        *state = Some(SurveyPass { at: now, read_at: now, rows: Arc::clone(&rows) });
        rows
    }

    /// Frees the figures if no page has read them for a while.
    pub(super) fn forget_idle(&self, now: Instant) {
        self.0.lock().take_if(|pass| now.saturating_duration_since(pass.read_at) > IDLE);
    }
}

fn row(figures: &WorkspaceFigures) -> WorkspaceRow {
    WorkspaceRow {
        id: figures.id.as_str().to_owned(),
        streams: figures.streams,
        events: figures.events,
        event_bytes: figures.event_bytes,
        events_per_second: 0.0,
        bytes_per_second: 0.0,
        ring_bytes: figures.ring_bytes,
        confirmed: figures.is_confirmed,
    }
}

/// Returns the number of rows that match, and the first of them in an order.
fn select(rows: &[WorkspaceRow], query: &WorkspaceQuery) -> (usize, Vec<WorkspaceRow>) {
    let mut found: Vec<&WorkspaceRow> = rows.iter().filter(|row| row.id.contains(&query.search)).collect();
    let matched = found.len();
    // A tie goes by the size of the others, and at last by the name, so that rows keep their place.
    let key = |row: &WorkspaceRow| {
        let (streams, events, bytes) = (row.streams as f64, row.events_per_second, row.bytes_per_second);
        match query.order {
            WorkspaceOrder::Connections => [streams, events, bytes],
            WorkspaceOrder::Events => [events, row.events as f64, streams],
            WorkspaceOrder::Bytes => [bytes, row.ring_bytes as f64, streams],
        }
    };
    let compare = |one: &&WorkspaceRow, other: &&WorkspaceRow| {
        let (a, b) = (key(one), key(other));
        b.iter()
            .zip(&a)
            .map(|(b, a)| b.total_cmp(a))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| one.id.cmp(&other.id))
    };
    if matched > query.limit {
        found.select_nth_unstable_by(query.limit, compare);
        found.truncate(query.limit);
    }
    found.sort_unstable_by(compare);
    (matched, found.into_iter().cloned().collect())
}

impl Console {
    /// Returns a part of the list of workspaces.
    pub(super) async fn workspaces(self: &Arc<Self>, query: &str) -> Result<Response, Problem> {
        let query = WorkspaceQuery::parse(query)?;
        let console = Arc::clone(self);
        // A pass takes milliseconds for ten thousand workspaces, in which no stream may wait.
        let selected = tokio::task::spawn_blocking(move || {
            let rows = console.survey.rows(Instant::now(), || console.parts.hub.survey());
            let (matched, selected) = select(&rows, &query);
            (rows.len(), matched, selected)
        });
        let Ok((count, matched, workspaces)) = selected.await else {
            return Err(Problem::unavailable("the node stops", self.parts.streams.retry));
        };
        Ok(reply::json(&json!({ "count": count, "matched": matched, "workspaces": workspaces })))
    }
}

#[cfg(test)]
mod tests;
