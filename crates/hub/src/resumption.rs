//! Whether a client that sends a position gets everything after it. A subscriber decides by these
//! rules, and so does the explanation for operators.

use super::ring::Ring;
use super::start::Resume;
use super::{Hub, LiveEvents};
use tidings_event::control::ResetReason;
use tidings_event::log::{LiveMark, LogPage, Span};
use tidings_event::workspace::WorkspaceId;
use tidings_event::{EntryId, Position};

/// The place from which a client continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResumePlace {
    /// The ring.
    Ring {
        /// The cursor of the next frame.
        cursor: u64,
        /// The position of the client.
        position: Position,
    },
    /// The log, if it proves this span.
    Log(Span),
    /// Nowhere: no node knows the events after the position.
    Unknown,
}

impl ResumePlace {
    /// Finds the place of a position; `None` is a text that is no position. `ring` is `None` if the
    /// node does not hold the workspace.
    pub(super) fn of(ring: Option<&Ring>, position: Option<Position>) -> Self {
        let Some(position) = position else { return Self::Unknown };
        if let Some(cursor) = ring.and_then(|ring| ring.resumes_after(&position)) {
            return Self::Ring { cursor, position };
        }
        // A position before the first entry of a log without a known epoch is valid only on the
        // node that gave it.
        if is_bound_to_node(&position) {
            return Self::Unknown;
        }
        Self::Log(Span::after(position.entry, position.epoch))
    }
}

/// Whether only the node that gave a position can resume it: it is before the first entry of a log
/// without a known epoch.
fn is_bound_to_node(position: &Position) -> bool {
    position.live.is_some() && position.entry == EntryId::ZERO && position.epoch.is_none()
}

/// Whether a client that reads the log from `began` on may miss live events. `is_beside`: its
/// position is one among live events. Only the node that gave such a position knows the events
/// after it, while its ring holds the position.
pub(super) fn misses_live(
    live: LiveEvents,
    mark: LiveMark,
    began: EntryId,
    is_beside: bool,
    is_mixed: bool,
) -> bool {
    match live {
        LiveEvents::Auto if is_beside => mark != LiveMark::Absent || is_mixed,
        LiveEvents::Auto => mark.is_after(began),
        LiveEvents::Never => false,
        LiveEvents::Always => true,
    }
}

/// The reason for which a log with this head does not connect to `after`.
pub(super) fn unproven(after: Option<EntryId>, head: EntryId) -> ResetReason {
    if after.is_some_and(|after| head < after) { ResetReason::RolledBack } else { ResetReason::Trimmed }
}

/// What a client gets that resumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumption {
    /// Every later event, from the memory of the node.
    Ring,
    /// Every later event, from the log.
    Log,
    /// A reset with this reason.
    Reset(ResetReason),
}

impl Hub {
    /// Decides what a client gets that resumes now, without a subscriber. Changes nothing.
    ///
    /// # Errors
    ///
    /// Returns the span of the log that decides. Read its first entry, and pass the page to
    /// [`resumption_by_log`](Self::resumption_by_log).
    pub fn resumption(&self, workspace: &WorkspaceId, resume: &Resume) -> Result<Resumption, Span> {
        let cell = self.cell(workspace);
        let state = cell.as_ref().map(|cell| cell.lock());
        let ring = state.as_ref().map(|state| state.sequencer.ring());
        match ResumePlace::of(ring, resume.position()) {
            ResumePlace::Ring { .. } => Ok(Resumption::Ring),
            ResumePlace::Unknown => Ok(Resumption::Reset(ResetReason::UnknownPosition)),
            ResumePlace::Log(span) => Err(span),
        }
    }

    /// Decides what a client gets that resumes in the log with this page.
    #[must_use]
    pub fn resumption_by_log(&self, workspace: &WorkspaceId, resume: &Resume, page: &LogPage) -> Resumption {
        let Some(position) = resume.position() else {
            return Resumption::Reset(ResetReason::UnknownPosition);
        };
        if !page.proven {
            return Resumption::Reset(unproven(Some(position.entry), page.head));
        }
        let is_mixed = self.cell(workspace).is_some_and(|cell| cell.lock().sequencer.is_mixed());
        let (live, is_beside) = (self.shared.settings.live, position.live.is_some());
        if misses_live(live, page.live, position.entry, is_beside, is_mixed) {
            return Resumption::Reset(ResetReason::LiveEvents);
        }
        Resumption::Log
    }
}
