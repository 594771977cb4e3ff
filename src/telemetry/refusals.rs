//! The last rejected requests of the log, for the explanation of a client.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use tracing::Event;
use tracing::field::{Field, Visit};

/// Limits the remembered requests.
const REFUSALS_MAX: usize = 200;

/// The last rejected requests. A clone has the same ones.
#[derive(Debug, Clone, Default)]
pub(super) struct RecentRefusals(Arc<Mutex<VecDeque<RecentRefusal>>>);

/// A rejected request, as its log line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentRefusal {
    /// Its time.
    pub at: SystemTime,
    /// Its kind.
    pub request: String,
    /// The reason.
    pub reason: String,
    /// The check that failed, or the limit.
    pub check: Option<String>,
    /// The status of the response.
    pub status: u16,
    /// The workspace, if the request names a valid one.
    pub workspace: Option<String>,
    /// The user, if authentication found one.
    pub user: Option<String>,
    /// The client address.
    pub client: String,
}

impl RecentRefusals {
    /// Returns the requests, the newest first.
    pub(super) fn list(&self) -> Vec<RecentRefusal> {
        self.0.lock().iter().rev().cloned().collect()
    }

    /// Adds the request of a log line.
    pub(super) fn add(&self, event: &Event<'_>) {
        let mut refusal = RecentRefusal {
            at: SystemTime::now(),
            request: String::new(),
            reason: String::new(),
            check: None,
            status: 0,
            workspace: None,
            user: None,
            client: String::new(),
        };
        event.record(&mut refusal);
        let mut refusals = self.0.lock();
        if refusals.len() >= REFUSALS_MAX {
            refusals.pop_front();
        }
        refusals.push_back(refusal);
    }
}

impl Visit for RecentRefusal {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "status" {
            self.status = u16::try_from(value).unwrap_or_default();
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let value = value.to_owned();
        match field.name() {
            "request" => self.request = value,
            "reason" => self.reason = value,
            "check" => self.check = Some(value),
            "workspace" => self.workspace = Some(value),
            "user" => self.user = Some(value),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "forwarded_for" {
            self.client = format!("{value:?}");
        }
    }
}
