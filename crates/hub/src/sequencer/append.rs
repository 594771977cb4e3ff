//! The end of the order: appends events, and watches those that are sampled.

use std::sync::Arc;

use bytes::Bytes;

use super::Sequencer;
use crate::shared::HubShared;
use tidings_event::control::ResetReason;
use tidings_event::{Audience, EntryId, Frame, TraceParent};
use tidings_metrics::EventKind;

impl Sequencer {
    /// Appends an announced event to the order. The first event of a log begins the epoch that its
    /// record names.
    pub(super) fn append_announced(
        &mut self,
        id: EntryId,
        payload: &Bytes,
        to: Option<Arc<Audience>>,
        trace: Option<TraceParent>,
    ) {
        if self.last == Some(EntryId::ZERO)
            && let Some(record) = self.record.as_mut().filter(|record| !record.has_begun())
        {
            (record.first, record.last) = (id, id);
        }
        let position = self.position(id);
        let frame = |shared: &HubShared| shared.logged(position, payload, to, trace);
        self.append_logged(id, payload.len(), true, trace, frame);
    }

    /// Appends a logged event to the order, unless `is_paced` and it exceeds the rate limit.
    pub(super) fn append_logged(
        &mut self,
        id: EntryId,
        bytes: usize,
        is_paced: bool,
        trace: Option<TraceParent>,
        frame: impl FnOnce(&HubShared) -> Result<Frame, ResetReason>,
    ) {
        self.last = Some(id);
        self.seen_logged = true;
        let position = self.position(id);
        if is_paced && !self.admit(bytes, Some(position)) {
            return;
        }
        match frame(&self.shared) {
            Ok(frame) => {
                self.push(frame, trace);
                self.shared.metrics.count_event(EventKind::Logged);
            }
            Err(reason) => self.drop_event(reason, bytes, Some(position)),
        }
    }

    /// Appends an event, after the resets for events that were dropped before it. Watches its
    /// deliveries if it is sampled.
    pub(super) fn push(&mut self, frame: Frame, trace: Option<TraceParent>) {
        self.send_drop_resets();
        let (number, readers) = (self.ring.head(), self.ring.readers());
        self.ring.push(match &self.shared.watch_list {
            Some(list) => list.watched(frame, trace, &self.workspace, number, readers),
            None => frame,
        });
    }
}
