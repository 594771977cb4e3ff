//! Requests to the app at a time, in turns by client address.
//!
//! A slot that is free goes to the address with the fewest requests under way, of those that wait; of equals, to the one that has waited
//! for longest. No address takes more slots than it leaves free, so one has at most half of them, the next one half of the rest, and a
//! few that ask for as much as they may leave some to others. Where too many wait, the address of which most wait gives up its newest.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use tidings_limits::AddressKey;

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum AddressTurn {
    /// A newcomer's, by its address.
    Address(AddressKey),
    /// That of open streams, which are asked about again. They are not counted among those that wait: fewer are asked about at a
    /// time.
    Recheck,
}

/// More wait than may, and of no other address more.
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
    /// Those of which some wait, in the order of their turns.
    turns: VecDeque<AddressTurn>,
    waiting: HashMap<AddressTurn, VecDeque<WaitingRequest>>,
    /// How many wait of all addresses.
    newcomers: usize,
    /// How many slots each has.
    running: HashMap<AddressTurn, usize>,
}

#[derive(Debug)]
struct WaitingRequest {
    number: u64,
    tell: oneshot::Sender<()>,
}

/// A slot, until it is dropped.
#[derive(Debug)]
pub(super) struct RequestSlot {
    slots: Arc<Slots>,
    turn: AddressTurn,
}

/// A place among those who wait; it is left when this is dropped.
struct SlotPlace {
    slots: Arc<Slots>,
    turn: AddressTurn,
    number: u64,
    told: oneshot::Receiver<()>,
    is_done: bool,
}

impl Slots {
    /// So many slots, for which so many newcomers may wait.
    pub(super) fn new(count: usize, waiting_max: usize) -> Arc<Self> {
        let state = SlotsState {
            free: count,
            numbered: 0,
            turns: VecDeque::new(),
            waiting: HashMap::new(),
            newcomers: 0,
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
            if turn != AddressTurn::Recheck && state.newcomers >= self.waiting_max {
                state.make_room(turn)?;
            }
            let (number, told) = state.wait(turn);
            SlotPlace { slots: Arc::clone(self), turn, number, told, is_done: false }
        };
        let told = (&mut place.told).await;
        place.is_done = true;
        told.map(|()| RequestSlot { slots: Arc::clone(self), turn }).map_err(|_| Crowded)
    }
}

impl SlotsState {
    fn wait(&mut self, turn: AddressTurn) -> (u64, oneshot::Receiver<()>) {
        let (tell, told) = oneshot::channel();
        self.numbered += 1;
        let waiting = self.waiting.entry(turn).or_default();
        if waiting.is_empty() {
            self.turns.push_back(turn);
        }
        waiting.push_back(WaitingRequest { number: self.numbered, tell });
        self.newcomers += usize::from(turn != AddressTurn::Recheck);
        (self.numbered, told)
    }

    /// Sends away the newest of the address of which most wait, for one of another of which fewer do.
    fn make_room(&mut self, newcomer: AddressTurn) -> Result<(), Crowded> {
        let of = |turn: AddressTurn| self.waiting.get(&turn).map_or(0, VecDeque::len);
        let addresses = self.turns.iter().copied().filter(|turn| *turn != AddressTurn::Recheck);
        let greedy = addresses.max_by_key(|turn| of(*turn)).ok_or(Crowded)?;
        if of(greedy) <= of(newcomer) + 1 {
            return Err(Crowded);
        }
        let newest =
            self.waiting.get(&greedy).and_then(|waiting| waiting.back()).map(|waiting| waiting.number);
        self.leave(greedy, newest.ok_or(Crowded)?);
        Ok(())
    }

    /// Takes one out of those who wait, if it is there.
    fn leave(&mut self, turn: AddressTurn, number: u64) -> Option<WaitingRequest> {
        let waiting = self.waiting.get_mut(&turn)?;
        let index = waiting.iter().position(|waiting| waiting.number == number)?;
        let left = waiting.remove(index);
        if waiting.is_empty() {
            self.waiting.remove(&turn);
            self.turns.retain(|other| *other != turn);
        }
        self.newcomers -= usize::from(turn != AddressTurn::Recheck);
        left
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

    /// A slot of `turn` is free: it is the next one's.
    fn pass_on(&mut self, turn: AddressTurn) {
        self.stop(turn);
        while let Some((next, waiting)) = self.next() {
            if waiting.tell.send(()).is_ok() {
                self.start(next);
            }
        }
    }

    /// The next one that may have a slot.
    fn next(&mut self) -> Option<(AddressTurn, WaitingRequest)> {
        let (index, turn) = self.turns.iter().enumerate().min_by_key(|(_, turn)| self.running(**turn))?;
        if self.running(*turn) >= self.free {
            return None;
        }
        let turn = self.turns.remove(index)?;
        // Behind the others, if there are more of it.
        self.turns.push_back(turn);
        let number = self.waiting.get(&turn)?.front()?.number;
        Some((turn, self.leave(turn, number)?))
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
        // It may have been told right before; it is told with the lock held.
        if state.leave(self.turn, self.number).is_none() && self.told.try_recv().is_ok() {
            state.pass_on(self.turn);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Acquiring = Pin<Box<dyn Future<Output = Result<RequestSlot, Crowded>>>>;

    fn address(last: u8) -> AddressTurn {
        AddressTurn::Address(AddressKey::of([192, 0, 2, last].into()))
    }

    /// Asks for a slot. What is not there at once waits.
    fn ask(slots: &Arc<Slots>, turn: AddressTurn) -> Acquiring {
        let slots = Arc::clone(slots);
        let mut acquiring: Acquiring = Box::pin(async move { slots.acquire(turn).await });
        let _ = acquiring.as_mut().poll(&mut Context::from_waker(Waker::noop())).map(|outcome| {
            acquiring = Box::pin(async { outcome });
        });
        acquiring
    }

    fn look(acquiring: &mut Acquiring) -> Poll<Result<RequestSlot, Crowded>> {
        acquiring.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    fn got(acquiring: &mut Acquiring) -> RequestSlot {
        match look(acquiring) {
            Poll::Ready(Ok(slot)) => slot,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn few_addresses_leave_a_slot_to_others_and_the_one_with_fewest_is_next() {
        let slots = Slots::new(8, 100);
        let mut greedy: Vec<_> = (0..30).map(|number| ask(&slots, address(number / 10))).collect();
        let mut running: Vec<_> = Vec::new();
        greedy.retain_mut(|acquiring| match look(acquiring) {
            Poll::Ready(slot) => {
                running.push(slot.unwrap());
                false
            }
            Poll::Pending => true,
        });
        let count = |of: u8| running.iter().filter(|slot| slot.turn == address(of)).count();
        assert_eq!((count(0), count(1), count(2)), (4, 2, 1));
        let other = got(&mut ask(&slots, address(9)));
        let mut another = ask(&slots, address(10));
        assert!(look(&mut another).is_pending());
        drop(running.remove(0));
        let another = got(&mut another);
        drop(other);
        assert!(
            greedy.iter_mut().all(|acquiring| look(acquiring).is_pending()),
            "each has more than is free"
        );
        drop((another, running));
        assert!(greedy.iter_mut().any(|acquiring| look(acquiring).is_ready()));
    }

    #[test]
    fn where_too_many_wait_the_address_with_most_gives_up_its_newest() {
        let slots = Slots::new(1, 4);
        let _running = got(&mut ask(&slots, address(1)));
        let mut greedy: Vec<_> = (0..4).map(|_| ask(&slots, address(1))).collect();
        assert_eq!(look(&mut ask(&slots, address(1))).map(Result::unwrap_err), Poll::Ready(Crowded));
        let mut others = [ask(&slots, address(2)), ask(&slots, address(2)), ask(&slots, address(2))];
        assert!(look(&mut others[0]).is_pending() && look(&mut others[1]).is_pending());
        assert!(matches!(look(&mut others[2]), Poll::Ready(Err(Crowded))), "each has its half");
        let sent_away =
            greedy.iter_mut().map(look).filter(|looked| matches!(looked, Poll::Ready(Err(Crowded))));
        assert_eq!(sent_away.count(), 2);
        assert!(look(&mut ask(&slots, AddressTurn::Recheck)).is_pending(), "these are bounded elsewhere");
    }

    #[test]
    fn who_leaves_takes_no_slot_along() {
        let slots = Slots::new(1, 4);
        let running = got(&mut ask(&slots, address(1)));
        let (left, told) = (ask(&slots, address(2)), ask(&slots, address(3)));
        drop(left);
        drop(running);
        // It was told, and leaves before it looks.
        drop(told);
        let slot = got(&mut ask(&slots, address(4)));
        drop(slot);
        let state = slots.state.lock();
        assert_eq!((state.free, state.newcomers), (1, 0));
        assert!(state.turns.is_empty() && state.waiting.is_empty() && state.running.is_empty());
    }
}
