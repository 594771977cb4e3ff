//! The results of reads of the log. Missing entries enter the order, repetitions are dropped, and
//! so are announced events that the log does not hold. A log that began again is distinguished from
//! its predecessor.

use std::time::Duration;

use bytes::Bytes;

use super::{Announced, ReadReason, ReadRequest, Sequencer, SequencerOutcome};
use crate::LiveEvents;
use tidings_event::control::ResetReason;
use tidings_event::envelope::Message;
use tidings_event::log::{LiveMark, LogError, LogPage, Span, proves};
use tidings_event::{EntryId, EpochRecord};

impl Sequencer {
    /// Applies a page to the order.
    pub(super) fn apply_page(&mut self, why: ReadReason, page: &LogPage) -> SequencerOutcome {
        self.is_mixed |= self.shared.settings.live == LiveEvents::Auto && page.live != LiveMark::Absent;
        match why {
            ReadReason::Head => {
                (self.last, self.record) = (Some(page.head), page.record);
                let position = self.position(page.head);
                self.ring.begin_at(position);
                SequencerOutcome::Complete
            }
            ReadReason::LateHead => self.restart_at(page.head, page.record, ResetReason::LogUnreadable),
            ReadReason::Recovery | ReadReason::Gap(_) | ReadReason::Look
                if page.proven && !self.is_from_another_log(page) =>
            {
                self.record = page.record;
                self.append_page(why, page)
            }
            // A log that began again without a subscription may have had events before.
            ReadReason::Recovery => {
                self.note_loss(page);
                let knows_none = self.last == Some(EntryId::ZERO);
                let reason = if knows_none { ResetReason::Interrupted } else { self.reason(page) };
                self.restart_at(page.head, page.record, reason)
            }
            ReadReason::Gap(announced) => SequencerOutcome::Read(self.verify(announced)),
            ReadReason::Look => {
                SequencerOutcome::Read(self.read(ReadReason::NewLog { resume: None }, Span::Oldest))
            }
            ReadReason::Verify(announced) => self.verified(announced, page),
            ReadReason::NewLog { resume } => self.apply_new_log(resume, page),
        }
    }

    /// Whether a page belongs to another log than the last event. That is so if the epoch of the
    /// page has begun, and the known log had no epoch or one that had not begun.
    fn is_from_another_log(&self, page: &LogPage) -> bool {
        self.record.is_none_or(|known| !known.has_begun())
            && self.last.is_some_and(|last| last != EntryId::ZERO)
            && page.record.is_some_and(|record| record.first != EntryId::ZERO)
    }

    /// Appends a page that connects to the last event.
    fn append_page(&mut self, why: ReadReason, page: &LogPage) -> SequencerOutcome {
        // Events missed for a time may come at once.
        let is_paced = why == ReadReason::Look;
        let until = if let ReadReason::Gap(announced) = why { Some(announced.id) } else { None };
        // Of a gap, every entry up to the announced one is needed. Elsewhere messages that wait
        // keep their place.
        let end =
            if until.is_some() { None } else { self.queue.announced_after(self.last.unwrap_or_default()) };
        let entries = page.entries.iter().take_while(|entry| end.is_none_or(|end| entry.id < end));
        let mut count = 0;
        for entry in entries {
            let bytes = entry.payload.as_ref().map_or(0, Bytes::len);
            let position = self.position(entry.id);
            self.append_logged(entry.id, bytes, is_paced, entry.trace, |shared| {
                shared.frame(entry, position)
            });
            count += 1;
        }
        self.fruitless = if count > 0 { 0 } else { self.fruitless.saturating_add(1) };
        if page.more && count == page.entries.len() {
            let after = self.last.unwrap_or_default();
            return SequencerOutcome::Read(self.read(why, Span::After { after, epoch: self.epoch(), until }));
        }
        match why {
            ReadReason::Gap(announced) if self.last != Some(announced.id) => self.refute(announced),
            _ => SequencerOutcome::Complete,
        }
    }

    /// Requests a read of an announced entry and of the last one of the order.
    pub(super) fn verify(&mut self, announced: Announced) -> ReadRequest {
        let entries = [announced.id, self.last.unwrap_or_default()];
        self.read(ReadReason::Verify(announced), Span::Held { entries })
    }

    /// Handles the proof of an announced event that does not follow the last one.
    fn verified(&mut self, announced: Announced, page: &LogPage) -> SequencerOutcome {
        let Announced { id, previous } = announced;
        let last = self.last.unwrap_or_default();
        let holds = |entry| page.entries.iter().any(|held| held.id == entry);
        if !holds(id) {
            return self.refute(announced);
        }
        let is_last_proven = proves(page.record.as_ref(), last, self.epoch(), holds(last).then_some(last));
        let is_same_epoch = self.record.zip(page.record).is_some_and(|(known, now)| known.epoch == now.epoch);
        if id <= last && is_last_proven && !self.is_from_another_log(page) {
            // A read brought it before its announcement, or it is announced twice.
            self.queue.pop_announcement(id);
            self.fruitless = self.fruitless.saturating_add(1);
            return SequencerOutcome::Complete;
        }
        if id <= last && is_same_epoch {
            // The log has lost its end, or an announcement named an event that the log never held.
            self.fruitless = self.fruitless.saturating_add(1);
            self.shared.metrics.log_losses.inc();
            return self.restart_at(previous, page.record, ResetReason::RolledBack);
        }
        if previous > last || !self.queue.begins_with(id) {
            let resume = (previous > last).then_some(previous);
            return SequencerOutcome::Read(self.read(ReadReason::NewLog { resume }, Span::Oldest));
        }
        // The subscription was never lost, and the log held nothing between the last event and this
        // one.
        self.fruitless = 0;
        if !is_same_epoch {
            self.note_loss(page);
        }
        self.record = page.record;
        if id <= last || !is_same_epoch {
            self.generations += 1;
        }
        if let Some(Message::Logged { payload, to, trace, .. }) = self.queue.pop_announcement(id) {
            self.append_announced(id, &payload, to, trace);
        }
        SequencerOutcome::Complete
    }

    /// Handles the log from its beginning, after it no longer held the last event.
    fn apply_new_log(&mut self, resume: Option<EntryId>, page: &LogPage) -> SequencerOutcome {
        self.note_loss(page);
        let last = self.last.unwrap_or_default();
        let is_new = page.proven && !self.unproven && page.entries.iter().all(|entry| entry.id != last);
        if !is_new || page.entries.is_empty() {
            let reason = self.reason(page);
            self.fruitless = self.fruitless.saturating_add(1);
            return self.restart_at(resume.unwrap_or(page.head), page.record, reason);
        }
        // The page holds all entries that the log ever had, and the subscription was never lost.
        self.generations += 1;
        (self.last, self.record) = (Some(EntryId::ZERO), page.record);
        self.append_page(ReadReason::Look, page)
    }

    /// Counts the log if it has lost events of the order.
    fn note_loss(&self, page: &LogPage) {
        if self.has_lost_events(page) {
            self.shared.metrics.log_losses.inc();
        }
    }

    /// Whether the log has lost events of the order. A trim, an expiry or a deletion loses none.
    fn has_lost_events(&self, page: &LogPage) -> bool {
        let last = self.last.unwrap_or_default();
        if last == EntryId::ZERO || page.entries.iter().any(|entry| entry.id == last) {
            return false;
        }
        let may_have_expired = || {
            let age = self.shared.clock.since_1970().saturating_sub(Duration::from_millis(last.milliseconds));
            age >= self.shared.settings.retention
        };
        match (self.record.filter(EpochRecord::has_begun), page.record) {
            (Some(known), Some(now)) if known.epoch == now.epoch => page.head < last,
            // The record outlives a log that expires or is deleted, so the next epoch knows it.
            (Some(known), Some(now)) if !now.has_begun() || now.first != EntryId::ZERO => {
                now.earlier < known.last && !may_have_expired()
            }
            (Some(_), None) => !may_have_expired(),
            _ => page.head < last && !may_have_expired(),
        }
    }

    /// The reason for which a log does not connect to the last event.
    fn reason(&self, page: &LogPage) -> ResetReason {
        let is_same_log = self.record.zip(page.record).is_none_or(|(known, now)| known.epoch == now.epoch);
        if is_same_log && self.last.is_some_and(|last| page.head < last) {
            ResetReason::RolledBack
        } else {
            ResetReason::Trimmed
        }
    }

    /// Drops an announced event that the log does not hold: the announcement is wrong, or the log
    /// no longer holds the event.
    fn refute(&mut self, announced: Announced) -> SequencerOutcome {
        self.fruitless = self.fruitless.saturating_add(1);
        if let Some(Message::Logged { payload, .. }) = self.queue.pop_announcement(announced.id) {
            self.drop_event(ResetReason::BadEnvelope, payload.len(), None);
        }
        SequencerOutcome::ResetSent
    }

    /// Handles a failed read of the log.
    pub(super) fn unreadable(&mut self, why: ReadReason, error: &LogError) -> SequencerOutcome {
        self.fruitless = self.fruitless.saturating_add(1);
        if let Some(silenced) = self.shared.read_warnings.pass() {
            tracing::warn!(workspace = %self.workspace, %error, silenced, "cannot read a workspace's log");
        }
        let announced = match why {
            // No subscriber has joined yet: the events announced from here on are complete.
            ReadReason::Head => return SequencerOutcome::Complete,
            // It is the last event itself, repeated.
            ReadReason::Verify(announced) if self.last == Some(announced.id) => {
                self.queue.pop_announcement(announced.id);
                return SequencerOutcome::Complete;
            }
            ReadReason::Gap(announced) | ReadReason::Verify(announced) => Some(announced.previous),
            ReadReason::NewLog { resume } => resume,
            ReadReason::LateHead | ReadReason::Recovery | ReadReason::Look => None,
        };
        // The announced event comes next, so everything before it may be missing.
        let head =
            announced.filter(|previous| self.is_behind(*previous)).map(|previous| self.position(previous));
        self.push_reset_at(ResetReason::LogUnreadable, head.unwrap_or_else(|| self.ring.head_position()));
        // A second read for it would fail too.
        self.last = announced.or(self.last);
        SequencerOutcome::ResetSent
    }
}
