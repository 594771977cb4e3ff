//! Live events, which are in no log. This part gives them their place in the order, writes the mark
//! that announces them to other nodes, and detects interruptions that may lose some.

use bytes::Bytes;

use super::Sequencer;
use crate::LiveEvents;
use crate::marks::MARK_SLACK;
use tidings_event::control::ResetReason;
use tidings_event::log::LiveMark;
use tidings_event::{EntryId, Frame, epoch};
use tidings_metrics::EventKind;

impl Sequencer {
    /// Whether an interruption may have lost events that no log holds. It may not if logged events
    /// came and no live ones, here or on another node.
    pub(super) fn may_have_lost_live(&self) -> bool {
        self.shared.settings.live != LiveEvents::Never && (self.is_mixed || !self.seen_logged)
    }

    /// Handles the arrival of a live event: other nodes have to know that the workspace carries
    /// some.
    pub(super) fn note_live(&mut self) {
        self.is_mixed = true;
        self.last_live = Some(self.last.unwrap_or_default());
        self.want_mark();
    }

    /// Requests a new mark of live events, unless the current one reaches far enough. It is renewed
    /// in the middle of its reach, so that a busy workspace is never without one.
    fn want_mark(&mut self) {
        let now = self.shared.clock.now();
        if self.shared.settings.live == LiveEvents::Auto && self.mark_due.is_none_or(|due| now >= due) {
            self.mark_due = Some(now + MARK_SLACK / 2);
            self.shared.marks.push(&self.workspace);
        }
    }

    /// The mark of live events was not written: the next live event requests it again.
    pub(crate) fn mark_failed(&mut self) {
        self.mark_due = None;
    }

    /// Handles the mark that was read again after the confirmation of the subscription.
    pub(crate) fn looked(&mut self, mark: LiveMark) {
        self.is_mixed |= mark != LiveMark::Absent;
        if std::mem::take(&mut self.awaits_look) && mark != LiveMark::Absent {
            self.push_reset(ResetReason::Interrupted);
        }
    }

    /// Whether this node received live events after an entry, also if its ring no longer holds
    /// them.
    pub(crate) fn has_live_after(&self, entry: EntryId) -> bool {
        self.last_live.is_some_and(|last_live| last_live >= entry)
    }

    /// Whether the workspace carries live events, as far as this node knows.
    pub(crate) fn is_mixed(&self) -> bool {
        self.is_mixed
    }

    pub(super) fn append_live(&mut self, payload: &Bytes) {
        self.last_live = Some(self.last.unwrap_or_default());
        if !self.admit(payload.len(), None) {
            return;
        }
        match self.shared.check(payload) {
            Ok(text) => {
                let last = self.last.unwrap_or_default();
                let position = self.shared.next_live(epoch::position(self.record.as_ref(), last));
                self.push(Frame::application(position, text), None);
                self.shared.metrics.count_event(EventKind::Live);
            }
            Err(reason) => self.drop_event(reason, payload.len(), None),
        }
    }
}
