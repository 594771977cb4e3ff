//! The requests to the app at a time, in turns by client address.
//!
//! A free slot goes to the waiting address with the fewest open requests; among equals, to the one
//! that has waited longest. No address uses more slots than it leaves free. So one address has at
//! most half of them, the next one half of the rest, and some slots remain for others.
//!
//! If too many requests wait, the address with the most waiting requests loses its newest one.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use tidings_limits::AddressKey;

/// The owner of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum AddressTurn {
    /// A new client's address.
    Address(AddressKey),
    /// The checks of open streams. They do not count among the waiting requests, because `Recheck`
    /// bounds them.
    Recheck,
}

/// Reports that too many requests wait, and no other address has more of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crowded;

#[derive(Debug)]
pub(super) struct Slots {
    waiting_max: usize,
    state: Mutex<SlotsState>,
}

#[derive(Debug)]
struct SlotsState {
    free: usize,
    numbered: u64,
    /// The owners with waiting requests, in the order of their turns.
    turns: VecDeque<AddressTurn>,
    waiting: HashMap<AddressTurn, VecDeque<WaitingRequest>>,
    /// The number of waiting requests of all addresses.
    new_clients: usize,
    /// The number of slots that each owner uses.
    running: HashMap<AddressTurn, usize>,
}

#[derive(Debug)]
struct WaitingRequest {
    number: u64,
    notify: oneshot::Sender<()>,
}

/// Holds a slot until it is dropped.
#[derive(Debug)]
pub(super) struct RequestSlot {
    slots: Arc<Slots>,
    turn: AddressTurn,
}

/// Holds a place among the waiting requests until it is dropped.
struct SlotPlace {
    slots: Arc<Slots>,
    turn: AddressTurn,
    number: u64,
    notified: oneshot::Receiver<()>,
    is_done: bool,
}

impl Slots {
    /// Creates `count` slots, for which at most `waiting_max` requests of new clients may wait.
    pub(super) fn new(count: usize, waiting_max: usize) -> Arc<Self> {
        let state = SlotsState {
            free: count,
            numbered: 0,
            turns: VecDeque::new(),
            waiting: HashMap::new(),
            new_clients: 0,
            running: HashMap::new(),
        };
        Arc::new(Self { waiting_max, state: Mutex::new(state) })
    }

    /// Waits for a slot. Cancellation safe.
    pub(super) async fn acquire(self: &Arc<Self>, turn: AddressTurn) -> Result<RequestSlot, Crowded> {
        let mut place = {
            let mut state = self.state.lock();
            if state.running(turn) < state.free {
                state.start(turn);
                return Ok(RequestSlot { slots: Arc::clone(self), turn });
            }
            if turn != AddressTurn::Recheck && state.new_clients >= self.waiting_max {
                state.evict_for(turn)?;
            }
            let (number, notified) = state.wait(turn);
            SlotPlace { slots: Arc::clone(self), turn, number, notified, is_done: false }
        };
        let notified = (&mut place.notified).await;
        place.is_done = true;
        notified.map(|()| RequestSlot { slots: Arc::clone(self), turn }).map_err(|_| Crowded)
    }
}

impl SlotsState {
    fn wait(&mut self, turn: AddressTurn) -> (u64, oneshot::Receiver<()>) {
        let (notify, notified) = oneshot::channel();
        self.numbered += 1;
        let waiting = self.waiting.entry(turn).or_default();
        if waiting.is_empty() {
            self.turns.push_back(turn);
        }
        waiting.push_back(WaitingRequest { number: self.numbered, notify });
        self.new_clients += usize::from(turn != AddressTurn::Recheck);
        (self.numbered, notified)
    }

    /// Rejects the newest request of the address with the most waiting ones, for an address with
    /// fewer.
    fn evict_for(&mut self, new: AddressTurn) -> Result<(), Crowded> {
        let of = |turn: AddressTurn| self.waiting.get(&turn).map_or(0, VecDeque::len);
        let addresses = self.turns.iter().copied().filter(|turn| *turn != AddressTurn::Recheck);
        let greedy = addresses.max_by_key(|turn| of(*turn)).ok_or(Crowded)?;
        if of(greedy) <= of(new) + 1 {
            return Err(Crowded);
        }
        let newest =
            self.waiting.get(&greedy).and_then(|waiting| waiting.back()).map(|waiting| waiting.number);
        self.remove(greedy, newest.ok_or(Crowded)?);
        Ok(())
    }

    /// Removes a waiting request and returns it, if it still waits.
    fn remove(&mut self, turn: AddressTurn, number: u64) -> Option<WaitingRequest> {
        let waiting = self.waiting.get_mut(&turn)?;
        let index = waiting.iter().position(|waiting| waiting.number == number)?;
        let removed = waiting.remove(index);
        if waiting.is_empty() {
            self.waiting.remove(&turn);
            self.turns.retain(|other| *other != turn);
        }
        self.new_clients -= usize::from(turn != AddressTurn::Recheck);
        removed
    }

    fn running(&self, turn: AddressTurn) -> usize {
        self.running.get(&turn).copied().unwrap_or(0)
    }

    fn start(&mut self, turn: AddressTurn) {
        self.free -= 1;
        *self.running.entry(turn).or_default() += 1;
    }

    fn stop(&mut self, turn: AddressTurn) {
        self.free += 1;
        if let Some(running) = self.running.get_mut(&turn) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(&turn);
            }
        }
    }

    /// Frees a slot of `turn` and gives it to the next waiting request.
    fn pass_on(&mut self, turn: AddressTurn) {
        self.stop(turn);
        while let Some((next, waiting)) = self.next() {
            if waiting.notify.send(()).is_ok() {
                self.start(next);
            }
        }
    }

    /// Returns the next waiting request that may have a slot.
    fn next(&mut self) -> Option<(AddressTurn, WaitingRequest)> {
        let (index, turn) = self.turns.iter().enumerate().min_by_key(|(_, turn)| self.running(**turn))?;
        if self.running(*turn) >= self.free {
            return None;
        }
        let turn = self.turns.remove(index)?;
        // Further requests of the same owner wait behind the other owners.
        self.turns.push_back(turn);
        let number = self.waiting.get(&turn)?.front()?.number;
        Some((turn, self.remove(turn, number)?))
    }
}

impl Drop for RequestSlot {
    fn drop(&mut self) {
        self.slots.state.lock().pass_on(self.turn);
    }
}

impl Drop for SlotPlace {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let mut state = self.slots.state.lock();
        // The request may have been notified right before this lock, which the notifier holds too.
        if state.remove(self.turn, self.number).is_none() && self.notified.try_recv().is_ok() {
            state.pass_on(self.turn);
        }
    }
}

#[cfg(test)]
mod tests;
