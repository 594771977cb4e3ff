//! The order of a workspace's events. It joins the messages of the channel and the entries of the
//! log without loss and without repetition. Where events may be missing, it adds a reset.
//!
//! A message may show that the log holds an entry that is not in the order. Then this message and
//! all later ones wait until the log is read, so the order remains that of the bus.

mod append;
mod live;
mod results;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::drops::Drops;
use super::pace::Pace;
use super::queue::MessageQueue;
use super::replay::PageRequest;
use super::ring::Ring;
use super::shared::HubShared;
use super::{LiveEvents, drops};
use crate::rate::Rates;
use tidings_event::control::ResetReason;
use tidings_event::envelope;
use tidings_event::envelope::Message;
use tidings_event::log::{LogError, LogPage, Span};
use tidings_event::workspace::WorkspaceId;
use tidings_event::{EntryId, Epoch, EpochRecord, Frame, Position, epoch};

/// The first pause before a read after reads without a result; it doubles.
const FRUITLESS_PAUSE: Duration = Duration::from_millis(20);

/// The longest such pause.
const FRUITLESS_PAUSE_MAX: Duration = Duration::from_secs(1);

/// The order of a workspace's events on this node.
#[derive(Debug)]
pub(super) struct Sequencer {
    workspace: WorkspaceId,
    shared: Arc<HubShared>,
    ring: Ring,
    /// The rate limit of events; `None` without one.
    pace: Option<Pace>,
    /// Events dropped for another reason and not reported yet.
    drops: Drops,
    log: LogState,
    /// The last logged event of the order, [`EntryId::ZERO`] if the log was empty; `None` while the
    /// log is not known.
    last: Option<EntryId>,
    /// The record of the log's epoch, if it is known.
    record: Option<EpochRecord>,
    /// Messages that wait for a read of the log, bounded like the ring.
    queue: MessageQueue,
    /// The queue was full and live messages were lost.
    overflowed: bool,
    /// The workspace carries live events: some came, or a mark says that another node received
    /// some.
    is_mixed: bool,
    /// Logged events came.
    seen_logged: bool,
    /// When the mark of live events has to be written again, by the hub's clock; `None` if no mark
    /// is written.
    mark_due: Option<Duration>,
    /// Subscribers may have joined before the subscription was lost, so the next events may not
    /// connect to theirs.
    unproven: bool,
    /// The id of the latest read; results of earlier reads are ignored.
    read_id: u64,
    /// Counts the confirmations after a loss, and the logs that began again.
    generations: u64,
    /// The number of reads in a row without a result.
    fruitless: u32,
    /// The current read pauses before it begins.
    is_paused: bool,
    /// No reset was sent after an interruption, because no mark of live events was found. The look
    /// at the mark decides.
    awaits_look: bool,
    /// The last logged event before the latest live one.
    last_live: Option<EntryId>,
}

/// The state of the order relative to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LogState {
    /// No subscription: nothing is read until it is confirmed.
    Unsubscribed,
    /// The log is being read.
    Reading(ReadReason),
    /// No entry is missing: messages enter the order directly.
    Followed,
}

/// The reason of a read of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadReason {
    /// To find the end of the log before the first subscriber joins.
    Head,
    /// To find the end of the log after a read failed.
    LateHead,
    /// The subscription was lost for a time.
    Recovery,
    /// An announcement names a previous event that is not the last of the order: the entries
    /// between them are read.
    Gap(Announced),
    /// The log no longer holds the last event, or an announcement names an earlier entry: does the
    /// log hold the announced one?
    Verify(Announced),
    /// An empty message asked for a look.
    Look,
    /// The log no longer holds the last event: did it begin again? If not, the order goes on behind
    /// `resume`, or at the end.
    NewLog { resume: Option<EntryId> },
}

/// An announced event. Its message is the first of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Announced {
    id: EntryId,
    previous: EntryId,
}

/// The result of a read.
enum SequencerOutcome {
    /// Another read is needed.
    Read(ReadRequest),
    /// A reset was sent.
    ResetSent,
    /// Nothing is missing.
    Complete,
}

/// A read of the log that a sequencer needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadRequest {
    pub(super) span: Span,
    /// The id that its result has to carry.
    pub(super) read_id: u64,
    /// The pause before it.
    pub(super) pause: Duration,
}

impl Sequencer {
    pub(super) fn new(workspace: WorkspaceId, shared: Arc<HubShared>) -> Self {
        let begin = shared.next_live(Position::logged(EntryId::ZERO));
        let settings = &shared.settings;
        let budget = Arc::clone(&shared.budget);
        let ring = Ring::new(begin, settings.ring_events, settings.ring_bytes, budget);
        let pace = Pace::new(shared.rates(), &shared.clock);
        let is_mixed = settings.live == LiveEvents::Always;
        Self {
            workspace,
            shared,
            ring,
            pace,
            drops: Drops::default(),
            log: LogState::Unsubscribed,
            last: None,
            record: None,
            queue: MessageQueue::default(),
            overflowed: false,
            is_mixed,
            seen_logged: false,
            mark_due: None,
            unproven: false,
            read_id: 0,
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

    /// The ring, for its followers.
    pub(super) fn ring_mut(&mut self) -> &mut Ring {
        &mut self.ring
    }

    /// Whether a subscriber may join at the head. The order is complete up to now, or the missing
    /// entries come after a pause for which new subscribers need not wait.
    pub(super) fn is_followed(&self) -> bool {
        self.log == LogState::Followed || (self.is_paused && matches!(self.log, LogState::Reading(_)))
    }

    /// Whether the last logged event of the order is older than `entry`.
    pub(super) fn is_behind(&self, entry: EntryId) -> bool {
        self.last.is_none_or(|last| last < entry)
    }

    /// The generation of the subscription and the log. A later one may belong to another server,
    /// whose log need not hold the entries read in an earlier one.
    pub(super) fn generation(&self) -> u64 {
        self.generations
    }

    /// Replaces the rate limit of the channel. Dropped events without a reset still get theirs.
    pub(super) fn set_rates(&mut self, rates: Rates) {
        match &mut self.pace {
            Some(pace) => pace.set_rates(rates),
            pace => *pace = Pace::new(rates, &self.shared.clock),
        }
    }

    /// The state of the workspace for a page that is requested now.
    pub(super) fn page_request(&self) -> PageRequest {
        PageRequest { at: self.ring.head(), generation: self.generations }
    }

    /// Handles a confirmation; returns a read if the subscription was lost or new.
    pub(super) fn confirmed(&mut self) -> Option<ReadRequest> {
        if self.log != LogState::Unsubscribed {
            return None;
        }
        self.generations += 1;
        self.fruitless = 0;
        Some(match self.last {
            None => self.read(ReadReason::Head, Span::Head),
            Some(last) => self.read(ReadReason::Recovery, Span::after(last, self.epoch())),
        })
    }

    /// Handles the loss of the subscription. Drops the queue: after the next confirmation the log
    /// is read, and live messages count as lost.
    pub(super) fn interrupted(&mut self) {
        self.unproven |=
            self.log != LogState::Unsubscribed && self.log != LogState::Reading(ReadReason::Head);
        self.log = LogState::Unsubscribed;
        self.queue.clear();
    }

    /// Handles a message of the workspace's channel.
    pub(super) fn message(&mut self, message: &Bytes) -> Option<ReadRequest> {
        if self.log == LogState::Unsubscribed {
            // A message of a former subscription: events may be missing between it and the next
            // one.
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
            // A read brings the logged ones among them.
            self.queue.put_back(message);
            self.queue.put_back(Message::LookAtLog);
        }
        None
    }

    /// Handles the result of a read. Returns the next read, if one is needed.
    pub(super) fn on_read(&mut self, read_id: u64, page: Result<LogPage, LogError>) -> Option<ReadRequest> {
        let LogState::Reading(why) = self.log else { return None };
        if read_id != self.read_id {
            return None;
        }
        self.is_paused = false;
        let outcome = match page {
            Ok(page) => self.apply_page(why, &page),
            Err(error) => self.unreadable(why, &error),
        };
        let has_reset = match outcome {
            SequencerOutcome::Read(request) => return Some(request),
            SequencerOutcome::ResetSent => true,
            SequencerOutcome::Complete => false,
        };
        if matches!(why, ReadReason::Head | ReadReason::Recovery | ReadReason::NewLog { .. })
            && std::mem::take(&mut self.unproven)
        {
            // Without a known last event nothing connects, whatever the log holds now.
            let may_miss = why == ReadReason::Head || self.may_have_lost_live();
            if may_miss && !has_reset {
                self.push_reset(ResetReason::Interrupted);
            }
            if may_miss && self.is_mixed {
                // Earlier clients of this node may have come from another node, or go there.
                self.note_live();
            }
            self.awaits_look = !may_miss && !has_reset && self.shared.settings.live == LiveEvents::Auto;
        }
        self.go_on()
    }

    /// Puts the messages that waited for the read into the order.
    fn go_on(&mut self) -> Option<ReadRequest> {
        self.log = LogState::Followed;
        if let Some(last) = self.last {
            self.queue.drop_repetitions(last);
        }
        while let Some(message) = self.queue.pop() {
            if let Some(request) = self.take(message) {
                return Some(request);
            }
        }
        // The reset follows the logged events, so a client that resumes before the lost events gets
        // it too.
        if std::mem::take(&mut self.overflowed) {
            self.push_reset(ResetReason::Overflow);
        }
        None
    }

    /// Puts a message into the order, or keeps it back because the log has to be read first.
    fn take(&mut self, message: Message) -> Option<ReadRequest> {
        match message {
            Message::Live(payload) => {
                self.append_live(&payload);
                None
            }
            Message::LookAtLog => Some(match self.last {
                // New entries of the log cannot be distinguished from old ones.
                None => self.read(ReadReason::LateHead, Span::Head),
                Some(last) => self.read(ReadReason::Look, Span::after(last, self.epoch())),
            }),
            Message::Logged { id, previous, payload, to, trace } => match self.last {
                Some(last) if previous != last => {
                    let announced = Announced { id, previous };
                    self.queue.put_back(Message::Logged { id, previous, payload, to, trace });
                    Some(if id > last {
                        let span = Span::After { after: last, epoch: self.epoch(), until: Some(id) };
                        self.read(ReadReason::Gap(announced), span)
                    } else {
                        self.verify(announced)
                    })
                }
                _ => {
                    self.append_announced(id, &payload, to, trace);
                    None
                }
            },
        }
    }

    fn read(&mut self, why: ReadReason, span: Span) -> ReadRequest {
        if matches!(span, Span::Head | Span::Oldest | Span::After { until: None, .. }) {
            self.queue.drop_looks();
        }
        self.log = LogState::Reading(why);
        self.read_id = self.shared.next_id();
        let pause = match self.fruitless.checked_sub(2) {
            None => Duration::ZERO,
            Some(doublings) => {
                FRUITLESS_PAUSE.saturating_mul(1 << doublings.min(10)).min(FRUITLESS_PAUSE_MAX)
            }
        };
        self.is_paused = !pause.is_zero() && !matches!(why, ReadReason::Head | ReadReason::Recovery);
        ReadRequest { span, read_id: self.read_id, pause }
    }

    /// The known epoch of the log.
    fn epoch(&self) -> Option<Epoch> {
        self.record.map(|record| record.epoch)
    }

    /// The position of an entry, or of the place before the first one.
    fn position(&self, entry: EntryId) -> Position {
        let position = epoch::position(self.record.as_ref(), entry);
        if entry == EntryId::ZERO { self.shared.next_live(position) } else { position }
    }

    /// Drops an event that cannot be delivered: counts and logs it. A reset precedes every later
    /// event; without later events, resets come once a second at most. `position` is the place of
    /// the event, if it has one.
    fn drop_event(&mut self, reason: ResetReason, bytes: usize, position: Option<Position>) {
        self.shared.note_dropped(&self.workspace, reason, bytes);
        self.drops.add(reason, position);
        if self.drops.is_due(self.shared.clock.now()) {
            self.send_drop_resets();
        } else {
            self.shared.note_unreported();
        }
    }

    /// Goes on behind an entry, because the log does not connect to the order.
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
        SequencerOutcome::ResetSent
    }

    /// Adds a reset to the order for all subscribers. It has the position of the event before it,
    /// so a client that has received it can resume from there on any node.
    fn push_reset(&mut self, reason: ResetReason) {
        self.push_reset_at(reason, self.ring.head_position());
    }

    fn push_reset_at(&mut self, reason: ResetReason, head: Position) {
        self.send_drop_resets();
        self.put_reset(reason, head);
    }

    /// Whether an event may be delivered. One that exceeds the rate limit is dropped, and a reset
    /// precedes every later event. `position` is the place of the event, if it has one.
    fn admit(&mut self, bytes: usize, position: Option<Position>) -> bool {
        let Some(pace) = self.pace.as_mut().filter(|pace| !pace.admits(bytes)) else { return true };
        pace.note_dropped(position);
        self.shared.note_dropped(&self.workspace, ResetReason::RateLimited, bytes);
        false
    }

    /// Sends the resets for dropped events that are due. Returns whether there was one.
    pub(super) fn send_due_resets(&mut self) -> bool {
        let is_due =
            self.pace.as_ref().is_some_and(Pace::is_due) || self.drops.is_due(self.shared.clock.now());
        if is_due {
            self.send_drop_resets();
        } else if self.drops.is_pending() {
            self.shared.note_unreported();
        }
        is_due
    }

    /// Sends the resets for dropped events, at the position of the last that has one.
    fn send_drop_resets(&mut self) {
        if let Some(unreported) = self.pace.as_mut().and_then(Pace::take_unreported) {
            let head = unreported.position.unwrap_or_else(|| self.ring.head_position());
            self.put_reset(ResetReason::RateLimited, head);
        }
        if let Some(drops::UnreportedDrops { reason, position }) =
            self.drops.take_unreported(self.shared.clock.now())
        {
            self.put_reset(reason, position.unwrap_or_else(|| self.ring.head_position()));
        }
    }

    fn put_reset(&mut self, reason: ResetReason, head: Position) {
        let from = self.ring.head_position().to_string();
        self.ring.push(Frame::reset(reason, Some(&from), head));
        self.shared.metrics.count_reset(reason.as_str());
    }
}
