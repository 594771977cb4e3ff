//! Parts of a log that returning subscribers need. Everyone who comes back to the same place shares one read, and its
//! frames, encoded once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::shared::Shared;
use crate::bus::{LogError, LogPage, Span};
use crate::event::control::{self, ResetReason};
use crate::event::{EntryId, Frame, Position};
use crate::workspace::WorkspaceId;

/// How long a page is kept for others who come back to the same place: a crowd that reconnects arrives within seconds.
const KEPT: Duration = Duration::from_secs(3);

/// The most pages that a workspace keeps for others.
const KEPT_MAX: usize = 32;

/// A part of a log, encoded.
#[derive(Debug)]
pub(super) struct ReplayPage {
    /// The events, in order.
    pub(super) frames: Vec<Frame>,
    /// Whether they connect to the place that was asked for.
    pub(super) proven: bool,
    /// The last entry that the page covers; the place asked for where it is empty.
    pub(super) last: Option<EntryId>,
    /// Whether there may be more.
    pub(super) more: bool,
    /// The newest entry of the log; see [`LogPage::head`].
    pub(super) head: EntryId,
    /// The life of the subscription in which it was asked for.
    pub(super) life: u64,
}

impl ReplayPage {
    /// Encodes what was read. An entry that cannot be delivered becomes a reset at its place.
    pub(super) fn encode(
        shared: &Shared,
        workspace: &WorkspaceId,
        span: Span,
        page: &LogPage,
        life: u64,
    ) -> Self {
        let mut place = match span {
            Span::After { after, .. } => Some(after),
            Span::Head | Span::Since { .. } | Span::Newest { .. } => None,
        };
        let mut frames = Vec::with_capacity(page.entries.len());
        for entry in &page.entries {
            frames.push(shared.frame(entry).unwrap_or_else(|reason| {
                shared.note_dropped(workspace, reason, entry.payload.as_ref().map_or(0, bytes::Bytes::len));
                let head = Position::logged(entry.id);
                let from = place.map(|place| Position::logged(place).to_string());
                shared.metrics.count_reset(reason);
                Frame::broker(head, control::reset(reason, from.as_deref(), &head))
            }));
            place = Some(entry.id);
        }
        Self { frames, proven: page.proven, last: place, more: page.more, head: page.head, life }
    }
}

/// The reads of one workspace that subscribers wait for or have waited for.
#[derive(Debug, Default)]
pub(super) struct Replays(HashMap<Span, Flight>);

#[derive(Debug)]
enum Flight {
    /// Asked for, in this life of the subscription.
    Waiting { life: u64 },
    /// Here, since a moment.
    Landed(Result<Arc<ReplayPage>, Failure>, Instant),
}

/// Why a page did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The bus is away; coming back later may help.
    Unavailable,
    /// The log cannot be read.
    Unreadable,
}

/// What is known of a page.
pub(super) enum Page {
    /// Nobody has asked for it: whoever finds this has to.
    Unasked,
    /// It is under way.
    Waiting,
    /// It is here, or it failed.
    Landed(Result<Arc<ReplayPage>, Failure>),
}

impl Replays {
    /// Looks for a page; one that nobody asked for in this life of the subscription counts as asked for from now on.
    pub(super) fn get(&mut self, span: Span, life: u64) -> Page {
        match self.0.get(&span) {
            // One that was asked for earlier is on its way; see `asked_in`.
            Some(Flight::Waiting { .. }) => Page::Waiting,
            Some(Flight::Landed(page, _)) if page.as_ref().is_ok_and(|page| page.life != life) => {
                self.0.insert(span, Flight::Waiting { life });
                Page::Unasked
            }
            Some(Flight::Landed(page, _)) => Page::Landed(page.clone()),
            None => {
                self.0.insert(span, Flight::Waiting { life });
                Page::Unasked
            }
        }
    }

    /// In which life of the subscription a page was asked for that is still under way.
    pub(super) fn asked_in(&self, span: Span) -> Option<u64> {
        match self.0.get(&span) {
            Some(Flight::Waiting { life }) => Some(*life),
            Some(Flight::Landed(..)) | None => None,
        }
    }

    /// A page has come, or will not.
    pub(super) fn land(&mut self, span: Span, page: Result<Arc<ReplayPage>, Failure>, now: Instant) {
        self.sweep(now);
        let landed = |flight: &Flight| matches!(flight, Flight::Landed(..));
        if self.0.values().filter(|flight| landed(flight)).count() >= KEPT_MAX {
            // Whoever reads one of these holds it; only latecomers have to ask again.
            self.0.retain(|_, flight| !landed(flight));
        }
        self.0.insert(span, Flight::Landed(page, now));
    }

    /// Forgets pages that have been kept long enough.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.0.retain(|_, flight| match flight {
            Flight::Waiting { .. } => true,
            Flight::Landed(_, since) => now.saturating_duration_since(*since) < KEPT,
        });
        if self.0.is_empty() {
            self.0 = HashMap::new();
        }
    }
}

impl From<&LogError> for Failure {
    fn from(error: &LogError) -> Self {
        match error {
            LogError::Unavailable(_) => Self::Unavailable,
            LogError::Unreadable(_) => Self::Unreadable,
        }
    }
}

impl ReplayPage {
    /// Why the page does not connect to `after`.
    pub(super) fn reason(&self, after: Option<EntryId>) -> ResetReason {
        if after.is_some_and(|after| self.head < after) {
            ResetReason::RolledBack
        } else {
            ResetReason::Trimmed
        }
    }
}
