//! Pages of a log for clients that resume. All clients that resume at one position share one read
//! and its frames, which are encoded once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::budget::RingShare;
use super::read_queue::ReaderId;
use super::resumption;
use super::ring::cost;
use super::shared::HubShared;
use tidings_event::control::ResetReason;
use tidings_event::log::{LiveMark, LogEntry, LogError, LogPage, Span};
use tidings_event::{EntryId, Epoch, EpochRecord, Frame, Position, epoch};

/// The most pages that a workspace keeps for later clients.
const KEPT_MAX: usize = 8;

/// The most pages of a workspace that are being read at a time. Clients choose their positions, and
/// each position costs a read. Further clients request a page when one has been read.
const WAITING_MAX: usize = 64;

/// The same for one client, so that its many positions delay no other client.
const WAITING_EACH_MAX: usize = 8;

/// The time for which a failed read counts for all clients at its position.
const FAILURE_KEPT: Duration = Duration::from_secs(10);

/// A part of a log as encoded frames.
#[derive(Debug)]
pub(super) struct ReplayPage {
    /// The events in order.
    frames: Vec<Frame>,
    /// The same with live positions; encoded when the first subscriber needs them. See
    /// [`Self::frame`].
    beside: OnceLock<(Vec<Frame>, RingShare)>,
    /// Whether the events connect to the requested position.
    pub(super) proven: bool,
    /// The last entry of the page; the requested one if the page is empty.
    pub(super) last: Option<EntryId>,
    /// The newest entry of the log; see [`LogPage::head`].
    pub(super) head: EntryId,
    /// The record of the log's epoch, if it is known.
    record: Option<EpochRecord>,
    /// The mark of live events.
    pub(super) live: LiveMark,
    /// The state of the workspace at the request of the page.
    pub(super) request: PageRequest,
    /// The memory of the frames, as a share of the budget of all pages.
    share: RingShare,
    since: Instant,
    /// The time of the last read, in milliseconds after `since` and at least 1; 0 before the first.
    used: AtomicU64,
}

/// The state of a workspace at the request of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageRequest {
    /// The end of the ring: events after the page are in the ring from here on.
    pub(super) at: u64,
    /// The generation; in another one, the log may be another.
    pub(super) generation: u64,
}

impl ReplayPage {
    /// Encodes a page of the log, at most as many bytes as a ring may hold. An entry that cannot be
    /// delivered becomes a reset at its position.
    pub(super) fn encode(shared: &HubShared, span: Span, page: &LogPage, request: PageRequest) -> Self {
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
        // Entries beyond the limit come with the next read; of the newest entries, the oldest are
        // omitted.
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
        Self { frames, beside, proven, last: place, head, record, live, request, share, since, used }
    }

    /// The memory of the frames in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.share.bytes() + self.beside.get().map_or(0, |(_, share)| share.bytes())
    }

    /// Records that a subscriber reads from the page.
    pub(super) fn touch(&self) {
        let used = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.used.store(used.max(1), Ordering::Relaxed);
    }

    /// Whether a subscriber has read from the page.
    pub(super) fn was_read(&self) -> bool {
        self.used.load(Ordering::Relaxed) > 0
    }

    /// The time since the last read.
    pub(super) fn idle(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since + Duration::from_millis(self.used.load(Ordering::Relaxed)))
    }

    /// Whether the page has no event.
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Returns a frame of the page. `is_beside`: the client may have missed live events and has no
    /// reset yet. Its frames carry live positions, so any node sends the reset if the connection
    /// breaks before the end of the replay.
    pub(super) fn frame(&self, index: usize, shared: &HubShared, is_beside: bool) -> Option<&Frame> {
        if !is_beside {
            return self.frames.get(index);
        }
        let beside = self.beside.get_or_init(|| {
            let at = |frame: &Frame| {
                frame.with_position(shared.next_live(Position { live: None, ..*frame.position() }))
            };
            let frames: Vec<_> = self.frames.iter().map(at).collect();
            let mut share = RingShare::new(shared.page_budget());
            share.grow(frames.iter().map(page_cost).sum());
            (frames, share)
        });
        beside.0.get(index)
    }

    /// The epoch of the log, if it is known.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.record.map(|record| record.epoch)
    }

    /// The position of an entry of this log.
    pub(super) fn position(&self, entry: EntryId) -> Position {
        epoch::position(self.record.as_ref(), entry)
    }

    /// Whether the page is empty and the ring has dropped events that came after its request.
    /// `oldest` is the cursor of the ring's oldest frame. A subscriber that went on from such a
    /// page would lag at once.
    pub(super) fn is_outrun(&self, oldest: u64) -> bool {
        self.frames.is_empty() && self.request.at < oldest
    }

    /// The reason for which the page does not connect to `after`.
    pub(super) fn reason(&self, after: Option<EntryId>) -> ResetReason {
        resumption::unproven(after, self.head)
    }
}

/// The memory of a frame of a page in bytes, including its form with `event:`.
fn page_cost(frame: &Frame) -> usize {
    let named = frame.event_type().map_or(0, |_| frame.plain().len());
    cost(frame) + named
}

/// The reads of one workspace that subscribers have requested.
#[derive(Debug, Default)]
pub(super) struct Replays(HashMap<Span, PageRead>);

#[derive(Debug)]
enum PageRead {
    /// Requested, for a client.
    Waiting(PageRequest, Option<ReaderId>),
    /// Read. A page that was freed counts as not requested.
    Done(Weak<ReplayPage>),
    /// Failed at this time.
    Failed(ReplayFailure, Instant),
}

/// The reason for which a page could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReplayFailure {
    /// The bus is away; a later attempt may succeed.
    Unavailable,
    /// The log cannot be read.
    Unreadable,
}

/// The state of a page.
pub(super) enum Page {
    /// Not requested: the caller has to request it.
    Unrequested,
    /// Requested, or too many others are. A result that wakes all waiting subscribers follows
    /// either way.
    Waiting,
    /// Read or failed.
    Ready(Result<Arc<ReplayPage>, ReplayFailure>),
}

impl Replays {
    /// Returns the state of a page. A page that was not requested in this generation, or that the
    /// ring has outrun, counts as requested from now on. `oldest` is the cursor of the ring's
    /// oldest frame.
    pub(super) fn get(
        &mut self,
        span: Span,
        reader: Option<ReaderId>,
        now: PageRequest,
        oldest: u64,
    ) -> Page {
        let is_stale =
            |page: &ReplayPage| page.request.generation != now.generation || page.is_outrun(oldest);
        match self.0.get(&span) {
            // A request of an earlier generation is under way; its page will not count.
            Some(PageRead::Waiting(..)) => return Page::Waiting,
            Some(PageRead::Failed(failure, _)) => return Page::Ready(Err(*failure)),
            Some(PageRead::Done(page)) => {
                if let Some(page) = page.upgrade().filter(|page| !is_stale(page)) {
                    return Page::Ready(Ok(page));
                }
            }
            None => {}
        }
        let of_reader = |read: &&PageRead| matches!(read, PageRead::Waiting(_, other) if *other == reader);
        if self.waiting() >= WAITING_MAX || self.0.values().filter(of_reader).count() >= WAITING_EACH_MAX {
            return Page::Waiting;
        }
        self.0.insert(span, PageRead::Waiting(now, reader));
        Page::Unrequested
    }

    /// The state at the request of a page that is still being read; `None` if no subscriber waits
    /// for it.
    pub(super) fn request(&self, span: Span) -> Option<PageRequest> {
        match self.0.get(&span) {
            Some(PageRead::Waiting(request, _)) => Some(*request),
            _ => None,
        }
    }

    /// Stores the result of a read.
    pub(super) fn store(&mut self, span: Span, page: Result<&Arc<ReplayPage>, ReplayFailure>, now: Instant) {
        self.sweep(now);
        if self.0.len() - self.waiting() >= KEPT_MAX {
            // Readers of these pages keep their references; only later clients have to request them
            // again.
            self.forget_results();
        }
        let read = match page {
            Ok(page) => PageRead::Done(Arc::downgrade(page)),
            Err(failure) => PageRead::Failed(failure, now),
        };
        self.0.insert(span, read);
    }

    /// Forgets all results: the log may have become another one.
    pub(super) fn forget_results(&mut self) {
        self.0.retain(|_, read| matches!(read, PageRead::Waiting(..)));
    }

    fn waiting(&self) -> usize {
        self.0.values().filter(|read| matches!(read, PageRead::Waiting(..))).count()
    }

    /// Forgets pages that were freed and failures that have expired.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.0.retain(|_, read| match read {
            PageRead::Waiting(..) => true,
            PageRead::Done(page) => page.strong_count() > 0,
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
