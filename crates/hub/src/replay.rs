//! Parts of a log that returning subscribers need. Everyone who comes back to the same place shares one read, and its
//! frames, encoded once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::budget::RingShare;
use super::read_queue::ReaderId;
use super::ring::cost;
use super::shared::HubShared;
use tidings_event::control::ResetReason;
use tidings_event::log::{LiveMark, LogEntry, LogError, LogPage, Span};
use tidings_event::{EntryId, Epoch, EpochRecord, Frame, Position, epoch};

/// The most pages that a workspace keeps for others.
const KEPT_MAX: usize = 8;

/// The most pages of a workspace that are waited for at a time. Clients decide which places they come back to, and each other place
/// costs a read. Those that want a further one ask when one has come.
const WAITING_MAX: usize = 64;

/// The same for one client, so that its many places keep nobody else waiting.
const WAITING_EACH_MAX: usize = 8;

/// How long a read that failed counts for all who come back to its place.
const FAILURE_KEPT: Duration = Duration::from_secs(10);

/// A part of a log, encoded.
#[derive(Debug)]
pub(super) struct ReplayPage {
    /// The events, in order.
    frames: Vec<Frame>,
    /// The same at positions beside the log; made when the first subscriber needs them. See [`Self::frame`].
    beside: OnceLock<(Vec<Frame>, RingShare)>,
    /// Whether they connect to the place that was asked for.
    pub(super) proven: bool,
    /// The last entry that the page covers; the place asked for where it is empty.
    pub(super) last: Option<EntryId>,
    /// The newest entry of the log; see [`LogPage::head`].
    pub(super) head: EntryId,
    /// What is known of the log's epoch.
    record: Option<EpochRecord>,
    /// What is known of live events.
    pub(super) live: LiveMark,
    /// When it was asked for.
    pub(super) asked: Asked,
    /// What the frames take, out of what all pages may take.
    share: RingShare,
    since: Instant,
    /// When it was last read from, in milliseconds since then, and at least 1; 0 before that.
    used: AtomicU64,
}

/// How the workspace stood when a page was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    /// Where the ring ended: what the page does not have stands from here on.
    pub(super) at: u64,
    /// The life of the subscription. In another one the log may be another.
    pub(super) generation: u64,
}

impl ReplayPage {
    /// Encodes what was read, as much as a ring may hold. An entry that cannot be delivered becomes a reset at its place.
    pub(super) fn encode(shared: &HubShared, span: Span, page: &LogPage, asked: Asked) -> Self {
        let bytes_max = shared.settings.ring_bytes;
        let size = |text: &Option<Bytes>| text.as_ref().map_or(0, Bytes::len);
        let fitting = |entries: &mut dyn Iterator<Item = &LogEntry>| {
            let mut bytes = 0;
            entries
                .take_while(|entry| {
                    let first = bytes == 0;
                    bytes += size(&entry.payload) + size(&entry.to) + 1;
                    first || bytes <= bytes_max
                })
                .count()
        };
        let all = &page.entries;
        // What does not fit is read next, from the last that did; of the newest, the older ones are left out.
        let entries = if let Span::Newest { .. } = span {
            &all[all.len() - fitting(&mut all.iter().rev())..]
        } else {
            &all[..fitting(&mut all.iter())]
        };
        let mut place = if let Span::After { after, .. } = span { Some(after) } else { None };
        let position = |entry| epoch::position(page.record.as_ref(), entry);
        let mut frames = Vec::with_capacity(entries.len());
        for entry in entries {
            frames.push(shared.frame(entry, position(entry.id)).unwrap_or_else(|reason| {
                let head = position(entry.id);
                let from = place.map(|place| position(place).to_string());
                Frame::reset(reason, from.as_deref(), head)
            }));
            place = Some(entry.id);
        }
        let mut share = RingShare::new(shared.page_budget());
        share.grow(frames.iter().map(page_cost).sum());
        let (since, used) = (Instant::now(), AtomicU64::new(0));
        let (LogPage { proven, head, record, live, .. }, beside) = (page, OnceLock::new());
        let (proven, head, record, live) = (*proven, *head, *record, *live);
        Self { frames, beside, proven, last: place, head, record, live, asked, share, since, used }
    }

    /// What its frames take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.share.bytes() + self.beside.get().map_or(0, |(_, share)| share.bytes())
    }

    /// It is read from.
    pub(super) fn touch(&self) {
        let used = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.used.store(used.max(1), Ordering::Relaxed);
    }

    /// Whether anybody has read from it.
    pub(super) fn was_read(&self) -> bool {
        self.used.load(Ordering::Relaxed) > 0
    }

    /// For how long nobody has read from it.
    pub(super) fn idle(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since + Duration::from_millis(self.used.load(Ordering::Relaxed)))
    }

    /// Whether it holds no event.
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// An event of it. `is_beside`: for a client that may have missed live events and was not told yet. Its event's position
    /// stands beside the log, so that a client which loses its connection with it is told wherever it comes back.
    pub(super) fn frame(&self, index: usize, shared: &HubShared, is_beside: bool) -> Option<&Frame> {
        if !is_beside {
            return self.frames.get(index);
        }
        let beside = self.beside.get_or_init(|| {
            let at = |frame: &Frame| frame.at(shared.next_live(Position { live: None, ..*frame.position() }));
            let frames: Vec<_> = self.frames.iter().map(at).collect();
            let mut share = RingShare::new(shared.page_budget());
            share.grow(frames.iter().map(page_cost).sum());
            (frames, share)
        });
        beside.0.get(index)
    }

    /// The epoch of the log, where it is known.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.record.map(|record| record.epoch)
    }

    /// The position of an entry of this log.
    pub(super) fn position(&self, entry: EntryId) -> Position {
        epoch::position(self.record.as_ref(), entry)
    }

    /// Whether the page holds nothing, and what came after it was asked for has left the ring meanwhile, whose oldest frame has
    /// this cursor. Whoever went on from it would have fallen out at once.
    pub(super) fn is_outrun(&self, oldest: u64) -> bool {
        self.frames.is_empty() && self.asked.at < oldest
    }

    /// Why the page does not connect to `after`.
    pub(super) fn reason(&self, after: Option<EntryId>) -> ResetReason {
        if after.is_some_and(|after| self.head < after) {
            ResetReason::RolledBack
        } else {
            ResetReason::Trimmed
        }
    }
}

/// What a frame of a page takes in memory, in bytes, with its form that carries `event:`.
fn page_cost(frame: &Frame) -> usize {
    let named = frame.event_type().map_or(0, |_| frame.plain().len());
    cost(frame) + named
}

/// The reads of one workspace that subscribers wait for or have waited for.
#[derive(Debug, Default)]
pub(super) struct Replays(HashMap<Span, PageRead>);

#[derive(Debug)]
enum PageRead {
    /// Asked for, by a client.
    Waiting(Asked, Option<ReaderId>),
    /// Here. A page that is gone meanwhile counts as not asked for.
    Landed(Weak<ReplayPage>),
    /// It did not come, at this moment.
    Failed(ReplayFailure, Instant),
}

/// Why a page did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReplayFailure {
    /// The bus is away; coming back later may help.
    Unavailable,
    /// The log cannot be read.
    Unreadable,
}

/// What is known of a page.
pub(super) enum Page {
    /// Nobody has asked for it: whoever finds this has to.
    Unasked,
    /// It is under way, or as many others are as may be. Either way something comes that wakes all who wait.
    Waiting,
    /// It is here, or it failed.
    Landed(Result<Arc<ReplayPage>, ReplayFailure>),
}

impl Replays {
    /// Looks for a page; one that nobody asked for in this life of the subscription, or that the ring has outrun, counts as
    /// asked for from `now` on. `oldest` is the cursor of the ring's oldest frame.
    pub(super) fn get(&mut self, span: Span, reader: Option<ReaderId>, now: Asked, oldest: u64) -> Page {
        let is_stale = |page: &ReplayPage| page.asked.generation != now.generation || page.is_outrun(oldest);
        match self.0.get(&span) {
            // One that was asked for in an earlier life is on its way; when it is here it does not count.
            Some(PageRead::Waiting(..)) => return Page::Waiting,
            Some(PageRead::Failed(failure, _)) => return Page::Landed(Err(*failure)),
            Some(PageRead::Landed(page)) => {
                if let Some(page) = page.upgrade().filter(|page| !is_stale(page)) {
                    return Page::Landed(Ok(page));
                }
            }
            None => {}
        }
        let of_reader =
            |flight: &&PageRead| matches!(flight, PageRead::Waiting(_, other) if *other == reader);
        if self.waiting() >= WAITING_MAX || self.0.values().filter(of_reader).count() >= WAITING_EACH_MAX {
            return Page::Waiting;
        }
        self.0.insert(span, PageRead::Waiting(now, reader));
        Page::Unasked
    }

    /// When a page was asked for that is still under way; `None` if nobody waits for it.
    pub(super) fn asked(&self, span: Span) -> Option<Asked> {
        match self.0.get(&span) {
            Some(PageRead::Waiting(asked, _)) => Some(*asked),
            _ => None,
        }
    }

    /// A page has come, or will not.
    pub(super) fn land(&mut self, span: Span, page: Result<&Arc<ReplayPage>, ReplayFailure>, now: Instant) {
        self.sweep(now);
        if self.0.len() - self.waiting() >= KEPT_MAX {
            // Whoever reads one of these knows it; only latecomers have to ask again.
            self.forget_landed();
        }
        let flight = match page {
            Ok(page) => PageRead::Landed(Arc::downgrade(page)),
            Err(failure) => PageRead::Failed(failure, now),
        };
        self.0.insert(span, flight);
    }

    /// Forgets what was read: the log may have become another one.
    pub(super) fn forget_landed(&mut self) {
        self.0.retain(|_, flight| matches!(flight, PageRead::Waiting(..)));
    }

    fn waiting(&self) -> usize {
        self.0.values().filter(|flight| matches!(flight, PageRead::Waiting(..))).count()
    }

    /// Forgets pages that are gone, and failures that were kept for long enough.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.0.retain(|_, flight| match flight {
            PageRead::Waiting(..) => true,
            PageRead::Landed(page) => page.strong_count() > 0,
            PageRead::Failed(_, since) => now.saturating_duration_since(*since) < FAILURE_KEPT,
        });
        if self.0.is_empty() {
            self.0 = HashMap::new();
        }
    }
}

impl From<&LogError> for ReplayFailure {
    fn from(error: &LogError) -> Self {
        match error {
            LogError::Unavailable(_) => Self::Unavailable,
            LogError::Unreadable(_) => Self::Unreadable,
        }
    }
}
