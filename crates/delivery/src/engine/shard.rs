//! One thread of the engine. It owns its state; others reach it through its `ShardSender`.
//!
//! It works in turns. A turn takes a bounded amount of each kind of pending work, so no work delays
//! other work for longer than a turn.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::EngineSettings;
use super::broadcast::{Broadcast, BroadcastKey};
use super::broadcast_buffer::UnsentBytes;
use super::catching_up::CatchingUp;
use super::client::{EngineClient, Phase};
use super::counts::EngineCounts;
use super::handoff::Handoff;
use super::heartbeat_wheel::HeartbeatWheel;
use super::outgoing::Outgoing;
use super::shard_sender::{ShardMessage, ShardSender, ShardWaker, WakerOf};
use super::timers::Timers;
use crate::Until;
use crate::until::{millis, unix_ms};
use tidings_event::Frame;
use tidings_hub::{NEVER, StreamEnds, Tick};
use tidings_limits::OnClose;

/// The token of the waker.
const INBOX: Token = Token(usize::MAX);

/// The most socket events of one wait.
const EVENTS: usize = 1024;

/// The most messages received at a time.
const MESSAGES: usize = 1024;

/// The most timers handled in a turn.
const TIMERS: usize = 256;

/// The most connections that get their heartbeat in a turn.
const HEARTBEATS: usize = 64;

/// The most connections with bytes of their own that are flushed in a turn.
const FLUSHES: usize = 64;

/// The most broadcasts read in a turn.
const READS: usize = 64;

/// The most deliveries to clients of broadcasts in a turn.
const DELIVERIES: usize = 256;

/// The bytes of a socket that are read and discarded at a time.
const SCRATCH_BYTES: usize = 16 * 1024;

/// A wall clock that differs by this much from the expected time was set. A stream ends longer than
/// this before its token does.
const CLOCK_STEP_MS: u64 = 400;

/// The time in which the client may close the connection after the end of its stream.
pub(super) const LINGER_MS: u64 = 1_000;

/// A shard, to be run on a thread of its own.
pub struct Shard {
    pub(super) settings: EngineSettings,
    poll: Poll,
    pub(super) shard_sender: Arc<ShardSender>,
    messages: Receiver<ShardMessage>,
    /// A message that arrived just before the shard would have slept.
    early: Option<ShardMessage>,
    began: Instant,
    /// The time at the beginning of the turn.
    pub(super) now: Tick,
    /// The wall clock at tick 0, in milliseconds since 1970, corrected when the clock was last
    /// found to have been set.
    wall_offset: i64,
    pub(super) clients: Slab<EngineClient>,
    pub(super) broadcasts: Slab<Broadcast>,
    pub(super) broadcast_of: HashMap<BroadcastKey, u32>,
    /// The memory of all buffers, and its bound.
    pub(super) unsent: UnsentBytes,
    pub(super) unsent_max: usize,
    /// Connections with work of their own.
    pub(super) ready: VecDeque<u32>,
    /// Broadcasts that may have something to read.
    pub(super) reads: VecDeque<u32>,
    /// Broadcasts with a pass through their clients.
    pub(super) passes: VecDeque<u32>,
    pub(super) timers: Timers,
    heartbeat_wheel: HeartbeatWheel,
    pub(super) counts: EngineCounts,
    pub(super) scratch: Vec<u8>,
    pub(super) frames: Vec<Arc<Frame>>,
    /// New connections are aborted at once.
    abandoned: bool,
    stopped: bool,
}

impl Shard {
    /// Creates an empty shard.
    ///
    /// # Errors
    ///
    /// If the system has no poll left.
    pub(super) fn new(settings: EngineSettings, unsent_max: usize) -> io::Result<Self> {
        let poll = Poll::new()?;
        let (shard_sender, messages) = ShardSender::new(poll.registry(), INBOX)?;
        let interval = millis(settings.streams.heartbeat);
        let wall_offset = settings.streams.clock.now_ms();
        Ok(Self {
            settings,
            poll,
            shard_sender,
            messages,
            early: None,
            began: Instant::now(),
            now: 0,
            wall_offset,
            clients: Slab::new(),
            broadcasts: Slab::new(),
            broadcast_of: HashMap::new(),
            unsent: UnsentBytes::default(),
            unsent_max,
            ready: VecDeque::new(),
            reads: VecDeque::new(),
            passes: VecDeque::new(),
            timers: Timers::default(),
            heartbeat_wheel: HeartbeatWheel::new(interval, 0),
            counts: EngineCounts::default(),
            scratch: vec![0; SCRATCH_BYTES],
            frames: Vec::new(),
            abandoned: false,
            stopped: false,
        })
    }

    pub(super) fn shard_sender(&self) -> Arc<ShardSender> {
        Arc::clone(&self.shard_sender)
    }

    /// Works until the engine is stopped. Blocks the thread.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        while !self.stopped {
            if let Err(error) = self.step(&mut events, Duration::MAX) {
                // Without a working poll, the shard can serve no client.
                tracing::error!(%error, "a thread that writes streams cannot wait for its sockets: it ends");
                break;
            }
        }
        self.abandon();
        self.count();
    }

    fn count(&mut self) {
        self.counts.unsent_bytes = self.unsent.get();
        self.counts.add_to(&self.settings.streams.metrics);
    }

    /// Waits for work, at most for a time, and does some of it: one wait and one turn.
    /// [`run`](Self::run) repeats this; a test calls it step by step.
    ///
    /// # Errors
    ///
    /// If the poll fails.
    pub fn step(&mut self, events: &mut Events, longest: Duration) -> io::Result<()> {
        self.wait(events, longest)?;
        for event in &*events {
            self.on_event(event);
        }
        self.turn();
        Ok(())
    }

    fn wait(&mut self, events: &mut Events, longest: Duration) -> io::Result<()> {
        let busy = !(self.ready.is_empty()
            && self.reads.is_empty()
            && self.passes.is_empty()
            && self.early.is_none());
        let timeout = if busy {
            Some(Duration::ZERO)
        } else {
            self.shard_sender.park();
            self.early = self.messages.try_recv().ok();
            let moment = self.timers.next_at().into_iter().chain(self.next_heartbeat_at()).min();
            match (&self.early, moment) {
                (Some(_), _) => Some(Duration::ZERO),
                (None, moment) => moment.map(|at| {
                    // A millisecond more, because ticks are rounded down.
                    let at = self.began + Duration::from_millis(at.saturating_add(1));
                    at.saturating_duration_since(Instant::now())
                }),
            }
        };
        let timeout =
            timeout.or(Some(longest)).map(|timeout| timeout.min(longest)).filter(|&it| it < Duration::MAX);
        let outcome = match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            outcome => outcome,
        };
        self.shard_sender.unpark();
        self.now = millis(self.began.elapsed());
        outcome
    }

    /// Handles an event of a socket.
    fn on_event(&mut self, event: &Event) {
        let Ok(number) = u32::try_from(event.token().0) else { return };
        let Some(client) = self.clients.get_mut(number as usize) else { return };
        if event.is_error() {
            let why = client.why_failed();
            return self.remove(number, why);
        }
        if event.is_read_closed() {
            // A client that closes one direction has left, as for hyper.
            return self.remove(number, "client left");
        }
        client.unread |= event.is_readable();
        if event.is_writable() {
            client.blocked = false;
        }
        self.enqueue(number);
    }

    /// One turn.
    fn turn(&mut self) {
        self.follow_wall_clock();
        // Broadcasts are read before messages that end streams. A client that is disconnected
        // before a publication does not get its event.
        let _ = self.receive_messages();
        // A broadcast that returns to the queue continues in the next turn.
        for _ in 0..READS.min(self.reads.len()) {
            let Some(broadcast) = self.reads.pop_front() else { break };
            self.read(broadcast);
        }
        if !self.receive_messages() {
            // One of the messages left may end a stream before the events just read were published.
            return;
        }
        for _ in 0..TIMERS {
            let Some((at, number)) = self.timers.pop(self.now) else { break };
            self.on_timer(at, number);
        }
        for _ in 0..HEARTBEATS {
            let Some(number) = self.heartbeat_wheel.pop(self.now, self.clients.capacity()) else { break };
            self.heartbeat_to(number);
        }
        for _ in 0..FLUSHES.min(self.ready.len()) {
            let Some(number) = self.ready.pop_front() else { break };
            self.flush(number);
        }
        let mut deliveries = DELIVERIES;
        while deliveries > 0 {
            let Some(broadcast) = self.passes.pop_front() else { break };
            deliveries = deliveries.saturating_sub(self.deliver_some(broadcast).max(1));
        }
        self.shed();
        self.count();
    }

    /// Receives messages. Returns whether the inbox is empty.
    fn receive_messages(&mut self) -> bool {
        for _ in 0..MESSAGES {
            let Some(message) = self.early.take().or_else(|| self.messages.try_recv().ok()) else {
                return true;
            };
            match message {
                ShardMessage::Open(handoff) => self.open(*handoff),
                ShardMessage::Look(number) => self.look(number),
                ShardMessage::Read(broadcast) => self.read_later(broadcast),
                ShardMessage::Ping => self.shard_sender.pinged(),
                ShardMessage::List(request) => self.list(*request),
                ShardMessage::Trace(request) => self.trace(*request),
                ShardMessage::Drain => self.drain(),
                ShardMessage::Abandon => {
                    self.abandoned = true;
                    self.abandon();
                }
                ShardMessage::Stop => self.stopped = true,
            }
        }
        false
    }

    /// Accepts a connection.
    fn open(&mut self, handoff: Handoff) {
        let Handoff { pending_stream, socket, head, connection_guards } = handoff;
        let streams = Arc::clone(&self.settings.streams);
        if self.abandoned {
            let mut pending_stream = pending_stream;
            return pending_stream.abort("cut at the end of the drain");
        }
        let entry = self.clients.vacant_entry();
        let Ok(number) = u32::try_from(entry.key()) else { return };
        let mut socket = mio::net::TcpStream::from_std(socket);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = Token(entry.key());
        let mut stream_stats = pending_stream.stream_stats;
        // An earlier close signal is read before anything is sent.
        let _ = stream_stats
            .stream_guard
            .notify_on_close(Arc::clone(&self.shard_sender) as Arc<dyn OnClose>, number);
        if let Err(error) = self.poll.registry().register(&mut socket, token, interest) {
            tracing::error!(%error, "cannot wait for a socket: its stream ends");
            stream_stats.abort("cannot be waited for");
            return;
        }
        let Until { aged, expires } = pending_stream.until;
        let expires = expires.map_or(NEVER, |at| self.tick_of_wall(unix_ms(at)));
        let mut ends = StreamEnds::new(aged.map_or(NEVER, |at| self.tick_of(at)), expires);
        if let Some(at) = streams.drain.draw_end() {
            ends.drain(self.tick_of(at));
        }
        let held_until = self.now.saturating_add(millis(streams.confirm));
        let shard_waker = ShardWaker::new(&self.shard_sender, WakerOf::Client(number));
        let client = EngineClient {
            stream_stats: Some(stream_stats),
            phase: Phase::CatchingUp(Box::new(CatchingUp::new(
                pending_stream.subscriber,
                shard_waker,
                held_until,
            ))),
            outgoing: Some(Box::new(Outgoing::new(head))),
            socket,
            ends,
            timer_at: NEVER,
            stuck_since: NEVER,
            blocked: false,
            unread: false,
            queued: false,
            behind: false,
            _guards: connection_guards.with(pending_stream.place),
        };
        self.clients.insert(client);
        self.settings.streams.metrics.handed_off.inc();
        self.set_timer(number);
        self.enqueue(number);
    }

    /// Looks at a connection whose subscriber has items or whose stream has to end.
    fn look(&mut self, number: u32) {
        let Some(client) = self.clients.get_mut(number as usize) else { return };
        if let Phase::CatchingUp(catching_up) = &client.phase {
            catching_up.shard_waker.received();
        }
        let ending = client.stream_stats.as_ref().and_then(|stream_stats| stream_stats.stream_guard.ending());
        if let Some(ending) = ending {
            self.end(number, ending.reason());
        }
        self.enqueue(number);
    }

    /// Handles a timer of a connection.
    fn on_timer(&mut self, at: Tick, number: u32) {
        let (now, write_timeout) = (self.now, self.settings.write_timeout_ms());
        let Some(client) = self.clients.get_mut(number as usize).filter(|client| client.timer_at == at)
        else {
            return;
        };
        client.timer_at = NEVER;
        if client.blocked && client.stuck_since.saturating_add(write_timeout) <= now {
            return self.remove(number, "takes no bytes");
        }
        let reason = match &client.phase {
            Phase::Closing(at) if *at <= now => return self.remove(number, "client left"),
            Phase::Ending { by, .. } if *by <= now => return self.remove(number, "takes no bytes"),
            Phase::Ending { .. } | Phase::Closing(_) => None,
            Phase::CatchingUp(catching_up) => catching_up.lifecycle.due(now, &client.ends),
            Phase::Broadcasting(_) => client.ends.due(now),
        };
        if let Some(reason) = reason {
            self.end(number, reason);
        }
        self.set_timer(number);
        self.enqueue(number);
    }

    fn next_heartbeat_at(&self) -> Option<Tick> {
        if self.clients.is_empty() {
            return None;
        }
        self.heartbeat_wheel.next_at(self.clients.capacity(), |number| self.clients.contains(number as usize))
    }

    /// Draws the end of each stream for a drain.
    fn drain(&mut self) {
        let streams = Arc::clone(&self.settings.streams);
        let numbers: Vec<_> = self.clients.iter().filter_map(|(key, _)| u32::try_from(key).ok()).collect();
        for number in numbers {
            let Some(at) = streams.drain.draw_end().map(|at| self.tick_of(at)) else { return };
            if let Some(client) = self.clients.get_mut(number as usize) {
                client.ends.drain(at);
            }
            self.set_timer(number);
        }
    }

    /// Aborts the remaining streams.
    fn abandon(&mut self) {
        let numbers: Vec<_> = self.clients.iter().filter_map(|(key, _)| u32::try_from(key).ok()).collect();
        for number in numbers {
            self.remove(number, "cut at the end of the drain");
        }
    }

    /// Sets the timer of a connection to its next deadline.
    pub(super) fn set_timer(&mut self, number: u32) {
        let write_timeout = self.settings.write_timeout_ms();
        let Some(client) = self.clients.get_mut(number as usize) else { return };
        let at = client.next_timer(write_timeout);
        if at < client.timer_at {
            client.timer_at = at;
            self.timers.set(at, number);
            if self.timers.are_mostly_past(self.clients.len()) {
                let clients = &self.clients;
                let counts =
                    |at, number: u32| clients.get(number as usize).is_some_and(|it| it.timer_at == at);
                self.timers.keep(counts);
            }
        }
    }

    /// Moves the ends of authorizations if the wall clock was set.
    fn follow_wall_clock(&mut self) {
        let offset =
            self.settings.streams.clock.now_ms().saturating_sub(signed(millis(self.began.elapsed())));
        let moved = offset.saturating_sub(self.wall_offset);
        if moved.unsigned_abs() < CLOCK_STEP_MS {
            return;
        }
        self.wall_offset = offset;
        let numbers: Vec<_> = self.clients.iter().filter_map(|(key, _)| u32::try_from(key).ok()).collect();
        for number in numbers {
            if let Some(client) =
                self.clients.get_mut(number as usize).filter(|client| client.ends.expires() != NEVER)
            {
                client.ends.set_expires(client.ends.expires().saturating_sub_signed(moved));
                self.set_timer(number);
            }
        }
    }

    /// The tick of a time in milliseconds since 1970.
    fn tick_of_wall(&self, at: i64) -> Tick {
        u64::try_from(at.saturating_sub(self.wall_offset)).unwrap_or(0)
    }

    fn tick_of(&self, at: Instant) -> Tick {
        millis(at.saturating_duration_since(self.began))
    }
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard").field("clients", &self.clients.len()).finish_non_exhaustive()
    }
}

fn signed(tick: Tick) -> i64 {
    i64::try_from(tick).unwrap_or(i64::MAX)
}
