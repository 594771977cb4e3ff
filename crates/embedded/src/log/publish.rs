//! Publishing, as `scripts/publish.lua` does it: log events, announce each, bound the log.

use bytes::Bytes;

use super::change::BesideKind;
use super::entry::{Fields, RequestedId};
use super::idempotency_cache::{self, KeysFull, REMEMBERED_MILLISECONDS};
use super::logs::{Logs, NoId};
use super::stream::Excess;
use tidings_bus::Item;
use tidings_event::log::{AUDIENCE_FIELD, PAYLOAD_FIELD, TRACE_FIELD};
use tidings_event::{EntryId, Epoch, EpochRecord, TraceParent, envelope};

/// The field of an entry that holds the sum of all payload bytes up to it, by which the script
/// counts.
const SUM_FIELD: &[u8] = b"sum";

/// A publication to one log, and the bounds of the log after it; `None` is the configured bound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Publish {
    /// The events, in order.
    pub(crate) items: Vec<Item>,
    /// The log keeps this many events,
    pub(crate) events: Option<usize>,
    /// each of them, and itself after the last, for so many milliseconds,
    pub(crate) age: Option<u64>,
    /// and this many bytes of them.
    pub(crate) bytes: Option<usize>,
    /// Published with the same key within five minutes, it is published once.
    pub(crate) idempotency_key: Option<Bytes>,
    /// The trace of all events.
    pub(crate) trace: Option<TraceParent>,
}

/// The result of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublishTransaction {
    /// The events' ids, in order.
    pub(crate) ids: Vec<EntryId>,
    /// The announcements on the channel of the log; none if all was published before.
    pub(crate) messages: Vec<Bytes>,
}

/// Why nothing was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotPublished {
    /// The log has no ids left.
    #[error(transparent)]
    NoId(#[from] NoId),
    /// The idempotency key cannot be remembered.
    #[error(transparent)]
    KeysFull(#[from] KeysFull),
}

impl Logs {
    /// Adds events to a log next to each other: all of them, or none if ids or the memory for
    /// idempotency keys have run out.
    pub(crate) fn publish(
        &mut self,
        log: &Bytes,
        publish: &Publish,
    ) -> Result<PublishTransaction, NotPublished> {
        let idempotency_cache = publish.idempotency_key.as_ref().map(|key| idempotency_cache::name(log, key));
        if let Some(name) = &idempotency_cache {
            if let Some(ids) = self.idempotency_cache.recall(name) {
                return Ok(PublishTransaction { ids: ids.to_vec(), messages: Vec::new() });
            }
            self.idempotency_cache.room_for(name, publish.items.len())?;
        }
        let ids = self.ids(log, publish.items.len())?;
        let newest = self.get(log).and_then(|stream| stream.newest());
        let newest_id = newest.map(|entry| entry.id);
        let mut previous = newest_id.unwrap_or_default();
        let mut sum = newest.and_then(|entry| sum(&entry.fields)).unwrap_or(0);
        let mut messages = Vec::with_capacity(ids.len());
        let trace_text = publish.trace.map(|trace| trace.to_string());
        for (&id, Item { payload, to }) in ids.iter().zip(&publish.items) {
            sum = sum.saturating_add(payload.len() as u64);
            let sum_text = sum.to_string();
            let mut fields = vec![PAYLOAD_FIELD, payload, SUM_FIELD, sum_text.as_bytes()];
            if let Some(to) = to {
                fields.extend([AUDIENCE_FIELD, to.as_json().as_bytes()]);
            }
            if let Some(trace) = &trace_text {
                fields.extend([TRACE_FIELD, trace.as_bytes()]);
            }
            self.append(log, RequestedId::Exactly(id), Fields::new(&fields))?;
            messages.push(envelope::encode_traced(id, previous, payload, to.as_deref(), publish.trace));
            previous = id;
        }
        let age = publish.age.unwrap_or(self.idle());
        let record = self.epoch_of_publication(log, newest_id, &ids);
        self.keep_epoch(log, record, age.saturating_mul(2));
        let oldest = EntryId { milliseconds: previous.milliseconds.saturating_sub(age), sequence: 0 };
        self.trim(log, Excess::Entries(publish.events.unwrap_or(self.settings().events)));
        self.trim(log, Excess::Before(oldest));
        self.trim(log, Excess::Bytes(publish.bytes.unwrap_or(self.settings().bytes)));
        self.expire(log, self.now().saturating_add(age));
        if let Some(key) = idempotency_cache {
            let until = self.now().saturating_add(REMEMBERED_MILLISECONDS);
            self.idempotency_cache.remember(&key, ids.clone(), until);
            let text = ids.iter().map(|id| format!("{id} ")).collect::<String>();
            self.record_beside(BesideKind::Once, key, Some((&text, until)));
        }
        Ok(PublishTransaction { ids, messages })
    }

    /// The record of a log's epoch behind `newest`. If it belongs to another log, which has ended
    /// or which another command began, another epoch begins.
    fn epoch_of_publication(&self, log: &[u8], newest: Option<EntryId>, ids: &[EntryId]) -> EpochRecord {
        let (first, last) =
            (ids.first().copied().unwrap_or_default(), ids.last().copied().unwrap_or_default());
        let is_of_another = |record: &EpochRecord| {
            record.has_begun() != newest.is_some() || newest.is_some_and(|newest| record.last > newest)
        };
        let known = self.epoch(log);
        let record = match known.filter(|known| !is_of_another(known)) {
            Some(known) => known,
            None => {
                let earlier = known.map_or(EntryId::ZERO, |known| known.last.max(known.earlier));
                EpochRecord::not_begun(Epoch::random(), earlier)
            }
        };
        let first = if newest.is_none() { first } else { record.first };
        EpochRecord { first, last, ..record }
    }

    /// The next ids of a log.
    fn ids(&self, log: &Bytes, count: usize) -> Result<Vec<EntryId>, NoId> {
        let mut ids: Vec<EntryId> = Vec::with_capacity(count);
        for _ in 0..count {
            ids.push(match ids.last() {
                None => self.id(log, RequestedId::Any)?,
                Some(&last) => RequestedId::Any.behind(last, self.now()).ok_or(NoId)?,
            });
        }
        Ok(ids)
    }
}

fn sum(fields: &Fields) -> Option<u64> {
    std::str::from_utf8(&fields.get(SUM_FIELD)?).ok()?.parse().ok()
}
