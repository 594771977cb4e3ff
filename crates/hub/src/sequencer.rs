//! A workspace's events in order: what came from the channel and what was read from the log, put together without loss and
//! without repetition, or with a word in the stream that something may be missing.
//!
//! A message that shows that the log holds something unseen is kept back, with all that come after it, until the log has
//! been read; so the order stays that of the bus.

mod answers;
mod live;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::drops::Drops;
use super::pace::Pace;
use super::queue::MessageQueue;
use super::replay::Asked;
use super::ring::Ring;
use super::shared::HubShared;
use super::{LiveEvents, drops};
use tidings_event::control::ResetReason;
use tidings_event::envelope;
use tidings_event::envelope::Message;
use tidings_event::log::{LogError, LogPage, Span};
use tidings_event::workspace::WorkspaceId;
use tidings_event::{EntryId, Epoch, EpochRecord, Frame, Position, epoch};
use tidings_metrics::EventKind;

/// The first pause before a read after some that brought nothing; it doubles.
const FRUITLESS_PAUSE: Duration = Duration::from_millis(20);

/// The longest such pause.
const FRUITLESS_PAUSE_MAX: Duration = Duration::from_secs(1);

/// The order of a workspace's events on this node.
#[derive(Debug)]
pub(super) struct Sequencer {
    workspace: WorkspaceId,
    shared: Arc<HubShared>,
    ring: Ring,
    /// How fast events may come; `None` where they may at any rate.
    pace: Option<Pace>,
    /// Events that were dropped for another reason, and not told of yet.
    drops: Drops,
    log: LogState,
    /// The last logged event that stands in the order, [`EntryId::ZERO`] where the log was empty; `None` while nothing is
    /// known of the log.
    last: Option<EntryId>,
    /// What is known of the log's epoch.
    record: Option<EpochRecord>,
    /// Messages that wait for the log to be read, bounded as the ring is.
    queue: MessageQueue,
    /// Live messages were lost because the queue was full.
    overflowed: bool,
    /// The workspace carries events that are not logged: some came, or a mark says that some came to another node.
    is_mixed: bool,
    /// Events came that are logged.
    seen_logged: bool,
    /// When the mark of live events has to be written again, by the hub's clock; `None` where it was not written.
    mark_due: Option<Duration>,
    /// Subscribers may have joined before the subscription was lost: what comes next may not connect to what they have.
    unproven: bool,
    /// Tells the answer to the latest read from those to earlier ones.
    ticket: u64,
    /// How often the subscription was confirmed after it had not stood, and the log was begun anew.
    generations: u64,
    /// How many reads in a row brought nothing.
    fruitless: u32,
    /// The read under way waits for a while before it begins.
    is_paused: bool,
    /// Nothing was told after an interruption, since no node had marked live events by then: the look that is under way decides.
    awaits_look: bool,
    /// The last logged event before the latest live one.
    last_live: Option<EntryId>,
}

/// How the order stands with the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LogState {
    /// The subscription does not stand: nothing is read before it does.
    Adrift,
    /// The log is being read.
    Reading(Why),
    /// Nothing is missing: messages go straight into the order.
    Followed,
}

/// Why the log is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// To learn where it ends, before the first subscriber is told anything.
    Head,
    /// To learn where it ends, after it could not be read.
    LateHead,
    /// The subscription was lost for a while.
    Recovery,
    /// An event was announced whose predecessor is not the last one seen: what lies between is read.
    Gap(Announced),
    /// The log does not hold the last event any more, or an event was announced that lies before it: does it hold the announced one?
    Verify(Announced),
    /// An empty message said so.
    Look,
    /// The log does not hold the last event any more: was it begun anew? If not, the order goes on behind `resume`, or at the end.
    Anew { resume: Option<EntryId> },
}

/// An event that was announced. Its message stands first in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Announced {
    id: EntryId,
    previous: EntryId,
}

/// What came of a read.
enum SequencerOutcome {
    /// More has to be read.
    Read(ReadRequest),
    /// Subscribers were told that something may be missing.
    Told,
    /// Nothing is missing.
    Complete,
}

/// A read that is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadRequest {
    pub(super) span: Span,
    /// The number that its answer must bear.
    pub(super) ticket: u64,
    /// How long to wait before it.
    pub(super) pause: Duration,
}

impl Sequencer {
    pub(super) fn new(workspace: WorkspaceId, shared: Arc<HubShared>) -> Self {
        let begin = shared.next_live(Position::logged(EntryId::ZERO));
        let settings = &shared.settings;
        let budget = Arc::clone(&shared.budget);
        let ring = Ring::new(begin, settings.ring_events, settings.ring_bytes, budget);
        let pace = Pace::new(settings.rates, &shared.clock);
        let is_mixed = settings.live == LiveEvents::Always;
        Self {
            workspace,
            shared,
            ring,
            pace,
            drops: Drops::default(),
            log: LogState::Adrift,
            last: None,
            record: None,
            queue: MessageQueue::default(),
            overflowed: false,
            is_mixed,
            seen_logged: false,
            mark_due: None,
            unproven: false,
            ticket: 0,
            generations: 0,
            fruitless: 0,
            is_paused: false,
            awaits_look: false,
            last_live: None,
        }
    }

    pub(super) fn ring(&self) -> &Ring {
        &self.ring
    }

    /// The ring, for those who read on behalf of many.
    pub(super) fn ring_mut(&mut self) -> &mut Ring {
        &mut self.ring
    }

    /// Whether a subscriber may join at the head: the order is complete up to now, or what is missing comes after a pause, which
    /// newcomers need not wait for.
    pub(super) fn is_followed(&self) -> bool {
        self.log == LogState::Followed || (self.is_paused && matches!(self.log, LogState::Reading(_)))
    }

    /// Whether the last logged event of the order is older than `entry`.
    pub(super) fn is_behind(&self, entry: EntryId) -> bool {
        self.last.is_none_or(|last| last < entry)
    }

    /// Which life of the subscription this is, and which log. A new one may have been begun with another server, whose log need
    /// not hold what was read in an earlier one.
    pub(super) fn generation(&self) -> u64 {
        self.generations
    }

    /// How the workspace stands for a page that is asked for now.
    pub(super) fn asked_now(&self) -> Asked {
        Asked { at: self.ring.head(), generation: self.generations }
    }

    /// The subscription stands (again).
    pub(super) fn confirmed(&mut self) -> Option<ReadRequest> {
        if self.log != LogState::Adrift {
            return None;
        }
        self.generations += 1;
        self.fruitless = 0;
        Some(match self.last {
            None => self.read(Why::Head, Span::Head),
            Some(last) => self.read(Why::Recovery, Span::after(last, self.epoch())),
        })
    }

    /// The subscription is lost. What waited in the queue is dropped: the log is read when the subscription stands again,
    /// and what is in no log counts as lost.
    pub(super) fn interrupted(&mut self) {
        self.unproven |= self.log != LogState::Adrift && self.log != LogState::Reading(Why::Head);
        self.log = LogState::Adrift;
        self.is_mixed |= self.queue.clear();
    }

    /// A message of the workspace's channel.
    pub(super) fn message(&mut self, message: &Bytes) -> Option<ReadRequest> {
        if self.log == LogState::Adrift {
            // Left over from a former subscription: between it and the next one something may be missing.
            return None;
        }
        let Ok(parsed) = envelope::parse(message) else {
            if self.admit(message.len(), None) {
                self.drop_event(ResetReason::BadEnvelope, message.len(), None);
            }
            return None;
        };
        if matches!(parsed, Message::Live(_)) {
            self.note_live();
        }
        if self.log == LogState::Followed {
            return self.take(parsed);
        }
        let (messages_max, bytes_max) = (self.shared.settings.ring_events, self.shared.settings.ring_bytes);
        if let Err(message) = self.queue.push(parsed, messages_max, bytes_max) {
            self.overflowed |= self.queue.clear();
            // The logged ones among them are read.
            self.queue.put_back(message);
            self.queue.put_back(Message::LookAtLog);
        }
        None
    }

    /// The answer to a read. Returns the next wish, if more must be read.
    pub(super) fn answer(&mut self, ticket: u64, page: Result<LogPage, LogError>) -> Option<ReadRequest> {
        let LogState::Reading(why) = self.log else { return None };
        if ticket != self.ticket {
            return None;
        }
        self.is_paused = false;
        let outcome = match page {
            Ok(page) => self.answered(why, &page),
            Err(error) => self.unreadable(why, &error),
        };
        let told = match outcome {
            SequencerOutcome::Read(wish) => return Some(wish),
            SequencerOutcome::Told => true,
            SequencerOutcome::Complete => false,
        };
        if matches!(why, Why::Head | Why::Recovery | Why::Anew { .. }) && std::mem::take(&mut self.unproven) {
            // Without a last known event nothing connects, whatever the log says now.
            let may_miss = why == Why::Head || self.may_have_lost_live();
            if may_miss && !told {
                self.push_reset(ResetReason::Interrupted);
            }
            if may_miss && self.is_mixed {
                // Clients that were here before may come from elsewhere, or go there.
                self.note_live();
            }
            self.awaits_look = !may_miss && !told && self.shared.settings.live == LiveEvents::Auto;
        }
        self.go_on()
    }

    /// The log is read: takes what waited meanwhile.
    fn go_on(&mut self) -> Option<ReadRequest> {
        self.log = LogState::Followed;
        if let Some(last) = self.last {
            self.queue.drop_repetitions(last);
        }
        while let Some(message) = self.queue.pop() {
            if let Some(wish) = self.take(message) {
                return Some(wish);
            }
        }
        // Behind what was logged meanwhile: a client that comes back at a place before the lost events is told as well.
        if std::mem::take(&mut self.overflowed) {
            self.push_reset(ResetReason::Overflow);
        }
        None
    }

    /// Puts a message into the order, or keeps it back because the log must be read first.
    fn take(&mut self, message: Message) -> Option<ReadRequest> {
        match message {
            Message::Live(payload) => {
                self.append_live(&payload);
                None
            }
            Message::LookAtLog => Some(match self.last {
                // What of the log is new cannot be told from what is old.
                None => self.read(Why::LateHead, Span::Head),
                Some(last) => self.read(Why::Look, Span::after(last, self.epoch())),
            }),
            Message::Logged { id, previous, payload, to } => match self.last {
                Some(last) if previous != last => {
                    let announced = Announced { id, previous };
                    self.queue.put_back(Message::Logged { id, previous, payload, to });
                    Some(if id > last {
                        let span = Span::After { after: last, epoch: self.epoch(), until: Some(id) };
                        self.read(Why::Gap(announced), span)
                    } else {
                        self.verify(announced)
                    })
                }
                _ => {
                    self.append_announced(id, &payload, to);
                    None
                }
            },
        }
    }

    fn read(&mut self, why: Why, span: Span) -> ReadRequest {
        if matches!(span, Span::Head | Span::Oldest | Span::After { until: None, .. }) {
            self.queue.drop_looks();
        }
        self.log = LogState::Reading(why);
        self.ticket = self.shared.next_ticket();
        let pause = match self.fruitless.checked_sub(2) {
            None => Duration::ZERO,
            Some(doublings) => {
                FRUITLESS_PAUSE.saturating_mul(1 << doublings.min(10)).min(FRUITLESS_PAUSE_MAX)
            }
        };
        self.is_paused = !pause.is_zero() && !matches!(why, Why::Head | Why::Recovery);
        ReadRequest { span, ticket: self.ticket, pause }
    }

    /// The epoch that the log is known to be in.
    fn epoch(&self) -> Option<Epoch> {
        self.record.map(|record| record.epoch)
    }

    /// The position of an entry, or of the place before the first one.
    fn position(&self, entry: EntryId) -> Position {
        let position = epoch::position(self.record.as_ref(), entry);
        if entry == EntryId::ZERO { self.shared.next_live(position) } else { position }
    }

    /// Puts an announced event at the end of the order. The first one of a log begins the epoch that was named for it.
    fn append_announced(&mut self, id: EntryId, payload: &Bytes, to: Option<Arc<tidings_event::Audience>>) {
        if self.last == Some(EntryId::ZERO)
            && let Some(record) = self.record.as_mut().filter(|record| !record.is_born())
        {
            (record.first, record.last) = (id, id);
        }
        let position = self.position(id);
        self.append_logged(id, payload.len(), true, |shared| shared.logged(position, payload, to));
    }

    /// Puts a logged event at the end of the order, unless, `is_paced`, it comes too fast.
    fn append_logged(
        &mut self,
        id: EntryId,
        bytes: usize,
        is_paced: bool,
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
                self.push(frame);
                self.shared.metrics.count_event(EventKind::Logged);
            }
            Err(reason) => self.drop_event(reason, bytes, Some(position)),
        }
    }

    /// An event cannot be delivered: it is counted, logged, and its absence told, before anything later goes out, and not more often
    /// than once a second where nothing does. `position` is its place, if it has one.
    fn drop_event(&mut self, reason: ResetReason, bytes: usize, position: Option<Position>) {
        self.shared.note_dropped(&self.workspace, reason, bytes);
        self.drops.add(reason, position);
        if self.drops.is_due(self.shared.clock.now()) {
            self.tell_dropped();
        } else {
            self.shared.note_untold();
        }
    }

    /// The log does not connect to what was known: goes on behind an entry.
    fn restart_at(
        &mut self,
        entry: EntryId,
        record: Option<EpochRecord>,
        reason: ResetReason,
    ) -> SequencerOutcome {
        if self.epoch() != record.map(|record| record.epoch) || self.last.is_some_and(|last| entry < last) {
            self.generations += 1;
        }
        (self.last, self.record) = (Some(entry), record);
        let position = self.position(entry);
        self.push_reset_at(reason, position);
        SequencerOutcome::Told
    }

    /// Tells everyone, in the stream and in its order, that something may be missing here. It stands at the place of the
    /// event before it: who has seen it can go on from there on any node.
    fn push_reset(&mut self, reason: ResetReason) {
        self.push_reset_at(reason, self.ring.head_position());
    }

    fn push_reset_at(&mut self, reason: ResetReason, head: Position) {
        self.tell_dropped();
        self.put_reset(reason, head);
    }

    /// Whether an event may be delivered, or comes too fast: then it is dropped, which is told before anything later. `position` is
    /// its place, if it has one.
    fn admit(&mut self, bytes: usize, position: Option<Position>) -> bool {
        let Some(pace) = self.pace.as_mut().filter(|pace| !pace.admits(bytes)) else { return true };
        pace.note_dropped(position);
        self.shared.note_dropped(&self.workspace, ResetReason::RateLimited, bytes);
        false
    }

    /// Tells what was dropped, if it is time to. Returns whether there was something.
    pub(super) fn tell_what_is_due(&mut self) -> bool {
        let is_due =
            self.pace.as_ref().is_some_and(Pace::is_due) || self.drops.is_due(self.shared.clock.now());
        if is_due {
            self.tell_dropped();
        } else if self.drops.is_pending() {
            self.shared.note_untold();
        }
        is_due
    }

    /// Tells what was dropped, at the place of the last that has one.
    fn tell_dropped(&mut self) {
        if let Some(untold) = self.pace.as_mut().and_then(Pace::tell) {
            let head = untold.position.unwrap_or_else(|| self.ring.head_position());
            self.put_reset(ResetReason::RateLimited, head);
        }
        if let Some(drops::UnreportedDrops { reason, position }) = self.drops.tell(self.shared.clock.now()) {
            self.put_reset(reason, position.unwrap_or_else(|| self.ring.head_position()));
        }
    }

    fn put_reset(&mut self, reason: ResetReason, head: Position) {
        let from = self.ring.head_position().to_string();
        self.ring.push(Frame::reset(reason, Some(&from), head));
        self.shared.metrics.count_reset(reason.as_str());
    }

    /// Adds an event at the end, behind the word on what was dropped before it.
    fn push(&mut self, frame: Frame) {
        self.tell_dropped();
        self.ring.push(frame);
    }
}
