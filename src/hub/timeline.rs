//! A workspace's events in order: what came from the channel and what was read from the log, put together without loss and
//! without repetition, or with a word in the stream that something may be missing.
//!
//! A message that shows that the log holds something unseen is kept back, with all that come after it, until the log has
//! been read; so the order stays that of the bus.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::pace::Pace;
use super::replay::Asked;
use super::ring::Ring;
use super::shared::Shared;
use crate::bus::{LogError, LogPage, Span};
use crate::event::control::{self, ResetReason};
use crate::event::envelope::{self, Message};
use crate::event::{EntryId, Frame, Position};
use crate::metrics::EventKind;
use crate::workspace::WorkspaceId;

/// The order of a workspace's events on this node.
#[derive(Debug)]
pub(super) struct Timeline {
    workspace: WorkspaceId,
    shared: Arc<Shared>,
    ring: Ring,
    /// How fast events may come; `None` where they may at any rate.
    pace: Option<Pace>,
    log: LogState,
    /// The last logged event that stands in the order, [`EntryId::ZERO`] where the log was empty; `None` while nothing is
    /// known of the log.
    last: Option<EntryId>,
    /// Messages that wait for the log to be read, bounded as the ring is.
    queue: VecDeque<Message>,
    queue_bytes: usize,
    /// Live messages were lost because the queue was full.
    overflowed: bool,
    /// Events came that are not logged.
    seen_live: bool,
    /// Events came that are logged.
    seen_logged: bool,
    /// Subscribers may have joined before the subscription was lost: what comes next may not connect to what they have.
    unproven: bool,
    /// Tells the answer to the latest read from those to earlier ones.
    ticket: u64,
    /// How often the subscription was confirmed after it had not stood.
    lives: u64,
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
    /// The subscription was lost for a while.
    Recovery,
    /// A logged event was announced whose predecessor `previous` is not the last one seen.
    Gap { previous: EntryId },
    /// An empty message said so.
    Look,
}

/// A wish to read, with the number that its answer must bear.
pub(super) type Wish = (Span, u64);

impl Timeline {
    pub(super) fn new(workspace: WorkspaceId, shared: Arc<Shared>) -> Self {
        let begin = shared.next_live(EntryId::ZERO);
        let settings = &shared.settings;
        let budget = Arc::clone(&shared.budget);
        let ring = Ring::new(begin, settings.ring_events, settings.ring_bytes, budget);
        let pace = Pace::new(settings.rates, &shared.clock);
        Self {
            workspace,
            shared,
            ring,
            pace,
            log: LogState::Adrift,
            last: None,
            queue: VecDeque::new(),
            queue_bytes: 0,
            overflowed: false,
            seen_live: false,
            seen_logged: false,
            unproven: false,
            ticket: 0,
            lives: 0,
        }
    }

    pub(super) fn ring(&self) -> &Ring {
        &self.ring
    }

    /// The ring, for those who read on behalf of many.
    pub(super) fn ring_mut(&mut self) -> &mut Ring {
        &mut self.ring
    }

    /// Whether the order is complete up to now, so that a subscriber may join at its head.
    pub(super) fn is_followed(&self) -> bool {
        self.log == LogState::Followed
    }

    /// Whether the last logged event of the order is older than `entry`.
    pub(super) fn is_behind(&self, entry: EntryId) -> bool {
        self.last.is_none_or(|last| last < entry)
    }

    /// Whether the workspace carries events that no log holds, as far as this node has seen.
    pub(super) fn has_seen_live(&self) -> bool {
        self.seen_live
    }

    /// Which life of the subscription this is. A new one may be with another server, whose log need not hold what was read
    /// in an earlier one.
    pub(super) fn life(&self) -> u64 {
        self.lives
    }

    /// How the workspace stands for a page that is asked for now.
    pub(super) fn asked_now(&self) -> Asked {
        Asked { at: self.ring.head(), life: self.lives }
    }

    /// The subscription stands (again).
    pub(super) fn confirmed(&mut self) -> Option<Wish> {
        if self.log != LogState::Adrift {
            return None;
        }
        self.lives += 1;
        Some(match self.last {
            None => self.read(Why::Head, Span::Head),
            Some(after) => self.read(Why::Recovery, Span::After { after, until: None }),
        })
    }

    /// The subscription is lost. What waited in the queue is dropped: the log is read when the subscription stands again,
    /// and what is in no log counts as lost.
    pub(super) fn interrupted(&mut self) {
        self.unproven |= self.log != LogState::Adrift && self.log != LogState::Reading(Why::Head);
        self.log = LogState::Adrift;
        self.drop_queue();
    }

    /// A message of the workspace's channel.
    pub(super) fn message(&mut self, message: &Bytes) -> Option<Wish> {
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
        if self.log == LogState::Followed {
            return self.take(parsed);
        }
        let bytes = weight(&parsed);
        if self.queue.len() >= self.shared.settings.ring_events
            || self.queue_bytes + bytes > self.shared.settings.ring_bytes
        {
            self.overflowed |= self.drop_queue();
            // The logged ones among them are read.
            self.queue.push_back(Message::LookAtLog);
        }
        self.queue_bytes += bytes;
        self.queue.push_back(parsed);
        None
    }

    /// Drops what waits. Answers whether that loses live events.
    fn drop_queue(&mut self) -> bool {
        let loses_live = self.queue.iter().any(|message| matches!(message, Message::Live(_)));
        self.seen_live |= loses_live;
        self.queue.clear();
        self.queue_bytes = 0;
        loses_live
    }

    /// The answer to a read. Answers the next wish, if more must be read.
    pub(super) fn answer(&mut self, ticket: u64, page: Result<LogPage, LogError>) -> Option<Wish> {
        let LogState::Reading(why) = self.log else { return None };
        if ticket != self.ticket {
            return None;
        }
        let mut told = false;
        match (why, page) {
            (Why::Head, Ok(page)) => {
                self.last = Some(page.head);
                if page.head != EntryId::ZERO {
                    self.ring.begin_at(Position::logged(page.head));
                }
            }
            // Nobody has been told anything yet: what is announced from here on is all that was promised.
            (Why::Head, Err(error)) => self.note_unreadable(&error),
            (_, Ok(page)) if page.proven => {
                let more = page.more;
                // What was missed for a while may come at once.
                let paced = why == Why::Look;
                for entry in &page.entries {
                    let bytes = entry.payload.as_ref().map_or(0, Bytes::len);
                    self.append_logged(entry.id, bytes, paced, |shared| shared.frame(entry));
                }
                if more {
                    let after = self.last.unwrap_or_default();
                    let until = if let Why::Gap { previous } = why { Some(previous) } else { None };
                    return Some(self.read(why, Span::After { after, until }));
                }
            }
            (_, Ok(page)) => {
                let last = self.last.unwrap_or_default();
                // A log without a predecessor began anew; one whose events are older than what was known lost some.
                let began_anew = matches!(why, Why::Gap { previous: EntryId::ZERO });
                let behind = page.head < last || matches!(why, Why::Gap { previous } if previous < last);
                let rolled_back = behind && !began_anew;
                let reason = if rolled_back { ResetReason::RolledBack } else { ResetReason::Trimmed };
                self.restart_at(page.head, reason);
                told = true;
            }
            (_, Err(error)) => {
                self.note_unreadable(&error);
                self.tell_dropped();
                // The announced event comes next, so everything before it may be missing.
                let head = match why {
                    Why::Gap { previous } if self.last.is_none_or(|last| last < previous) => {
                        Position::logged(previous)
                    }
                    _ => self.ring.head_position(),
                };
                self.push_reset_at(ResetReason::LogUnreadable, head);
                told = true;
            }
        }
        if let Why::Gap { previous } = why {
            // Whatever the log says, the announced event is next; reading for it a second time would bring nothing.
            self.last = self.last.max(Some(previous));
        }
        if matches!(why, Why::Head | Why::Recovery) && std::mem::take(&mut self.unproven) {
            // Without a last known event nothing connects, whatever the log says now.
            if !told && (why == Why::Head || self.may_have_lost_live()) {
                self.push_reset(ResetReason::Interrupted);
            }
        }
        self.go_on()
    }

    /// The log is read: takes what waited meanwhile.
    fn go_on(&mut self) -> Option<Wish> {
        self.log = LogState::Followed;
        if std::mem::take(&mut self.overflowed) {
            self.push_reset(ResetReason::Overflow);
        }
        while let Some(message) = self.queue.pop_front() {
            self.queue_bytes -= weight(&message);
            if let Some(wish) = self.take(message) {
                return Some(wish);
            }
        }
        self.queue = VecDeque::new();
        None
    }

    /// Puts a message into the order, or keeps it back because the log must be read first.
    fn take(&mut self, message: Message) -> Option<Wish> {
        match message {
            Message::Live(payload) => {
                self.append_live(&payload);
                None
            }
            Message::LookAtLog => {
                while self.queue.front() == Some(&Message::LookAtLog) {
                    self.queue.pop_front();
                }
                let Some(after) = self.last else {
                    // What of the log is new cannot be told from what is old.
                    self.push_reset(ResetReason::LogUnreadable);
                    return None;
                };
                Some(self.read(Why::Look, Span::After { after, until: None }))
            }
            Message::Logged { id, previous, payload, to } => match self.last {
                // Announced twice, or read from the log before it was announced.
                Some(last) if id <= last => None,
                Some(last) if previous != last => {
                    let message = Message::Logged { id, previous, payload, to };
                    self.queue_bytes += weight(&message);
                    self.queue.push_front(message);
                    let span = Span::After { after: last, until: Some(previous) };
                    Some(self.read(Why::Gap { previous }, span))
                }
                _ => {
                    self.append_logged(id, payload.len(), true, |shared| shared.logged(id, &payload, to));
                    None
                }
            },
        }
    }

    fn read(&mut self, why: Why, span: Span) -> Wish {
        self.log = LogState::Reading(why);
        self.ticket = self.shared.next_ticket();
        (span, self.ticket)
    }

    /// Whether an interruption may have cost events that no log holds. It may, unless the workspace has shown that it logs
    /// what it carries: logged events came, and no other.
    fn may_have_lost_live(&self) -> bool {
        self.seen_live || !self.seen_logged
    }

    fn append_live(&mut self, payload: &Bytes) {
        self.seen_live = true;
        if !self.admit(payload.len(), None) {
            return;
        }
        match self.shared.check(payload) {
            Ok(text) => {
                let position = self.shared.next_live(self.last.unwrap_or_default());
                self.push(Frame::application(position, text));
                self.shared.metrics.count_event(EventKind::Live);
            }
            Err(reason) => self.drop_event(reason, payload.len(), None),
        }
    }

    /// Puts a logged event into the order, unless it stands there already or, `paced`, comes too fast.
    fn append_logged(
        &mut self,
        id: EntryId,
        bytes: usize,
        paced: bool,
        frame: impl FnOnce(&Shared) -> Result<Frame, ResetReason>,
    ) {
        if self.last.is_some_and(|last| id <= last) {
            return;
        }
        self.last = Some(id);
        self.seen_logged = true;
        if paced && !self.admit(bytes, Some(id)) {
            return;
        }
        match frame(&self.shared) {
            Ok(frame) => {
                self.push(frame);
                self.shared.metrics.count_event(EventKind::Logged);
            }
            Err(reason) => self.drop_event(reason, bytes, Some(id)),
        }
    }

    /// An event cannot be delivered: it is counted, logged, and its absence told. `entry` is its place, if it has one.
    fn drop_event(&mut self, reason: ResetReason, bytes: usize, entry: Option<EntryId>) {
        self.shared.note_dropped(&self.workspace, reason, bytes);
        self.tell_dropped();
        let head = entry.map_or_else(|| self.ring.head_position(), Position::logged);
        self.push_reset_at(reason, head);
    }

    /// The log does not connect to what was known: goes on from its end.
    fn restart_at(&mut self, head: EntryId, reason: ResetReason) {
        self.last = Some(head);
        let position =
            if head == EntryId::ZERO { self.shared.next_live(head) } else { Position::logged(head) };
        self.push_reset_at(reason, position);
    }

    /// Tells everyone, in the stream and in its order, that something may be missing here. It stands at the place of the
    /// event before it: who has seen it can go on from there on any node.
    fn push_reset(&mut self, reason: ResetReason) {
        self.tell_dropped();
        self.push_reset_at(reason, self.ring.head_position());
    }

    fn push_reset_at(&mut self, reason: ResetReason, head: Position) {
        self.tell_dropped();
        self.put_reset(reason, head);
    }

    /// Whether an event may be delivered, or comes too fast: then it is dropped, which is told before anything later. `entry` is
    /// its place, if it has one.
    fn admit(&mut self, bytes: usize, entry: Option<EntryId>) -> bool {
        let Some(pace) = self.pace.as_mut().filter(|pace| !pace.admits(bytes)) else { return true };
        pace.note_dropped(entry);
        self.shared.note_dropped(&self.workspace, ResetReason::RateLimited, bytes);
        false
    }

    /// Tells what was dropped because it came too fast, if it is time to. Answers whether there was something.
    pub(super) fn tell_what_is_due(&mut self) -> bool {
        let due = self.pace.as_ref().is_some_and(Pace::is_due);
        if due {
            self.tell_dropped();
        }
        due
    }

    /// Tells what was dropped because it came too fast, at the place of the last that has one.
    fn tell_dropped(&mut self) {
        if let Some(untold) = self.pace.as_mut().and_then(Pace::tell) {
            let head = untold.entry.map_or_else(|| self.ring.head_position(), Position::logged);
            self.put_reset(ResetReason::RateLimited, head);
        }
    }

    fn put_reset(&mut self, reason: ResetReason, head: Position) {
        let from = self.ring.head_position().to_string();
        self.ring.push(Frame::broker(head, control::reset(reason, Some(&from), &head)));
        self.shared.metrics.count_reset(reason);
    }

    /// Adds an event at the end, behind the word on what was dropped before it.
    fn push(&mut self, frame: Frame) {
        self.tell_dropped();
        self.ring.push(frame);
    }

    fn note_unreadable(&self, error: &LogError) {
        if let Some(silenced) = self.shared.read_log.pass() {
            tracing::warn!(workspace = %self.workspace, %error, silenced, "cannot read a workspace's log");
        }
    }
}

/// What a message weighs in the queue.
fn weight(message: &Message) -> usize {
    match message {
        Message::LookAtLog => 0,
        Message::Live(payload) => payload.len(),
        Message::Logged { payload, to, .. } => payload.len() + to.as_ref().map_or(0, |to| to.memory()),
    }
}
