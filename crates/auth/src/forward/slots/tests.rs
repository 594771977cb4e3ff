use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::*;

type Acquiring = Pin<Box<dyn Future<Output = Result<RequestSlot, Crowded>>>>;

fn address(last: u8) -> AddressTurn {
    AddressTurn::Address(AddressKey::of([192, 0, 2, last].into()))
}

/// Requests a slot; the future waits if none is free.
fn ask(slots: &Arc<Slots>, turn: AddressTurn) -> Acquiring {
    let slots = Arc::clone(slots);
    let mut acquiring: Acquiring = Box::pin(async move { slots.acquire(turn).await });
    let _ = acquiring.as_mut().poll(&mut Context::from_waker(Waker::noop())).map(|outcome| {
        acquiring = Box::pin(async { outcome });
    });
    acquiring
}

fn poll(acquiring: &mut Acquiring) -> Poll<Result<RequestSlot, Crowded>> {
    acquiring.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn got(acquiring: &mut Acquiring) -> RequestSlot {
    match poll(acquiring) {
        Poll::Ready(Ok(slot)) => slot,
        other => panic!("{other:?}"),
    }
}

#[test]
fn free_slot_goes_to_the_address_with_the_fewest() {
    let slots = Slots::new(8, 100);
    let mut greedy: Vec<_> = (0..30).map(|number| ask(&slots, address(number / 10))).collect();
    let mut running: Vec<_> = Vec::new();
    greedy.retain_mut(|acquiring| match poll(acquiring) {
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
    assert!(poll(&mut another).is_pending());
    drop(running.remove(0));
    let another = got(&mut another);
    drop(other);
    assert!(greedy.iter_mut().all(|acquiring| poll(acquiring).is_pending()), "each has more than is free");
    drop((another, running));
    assert!(greedy.iter_mut().any(|acquiring| poll(acquiring).is_ready()));
}

#[test]
fn address_with_most_waiting_requests_loses_its_newest() {
    let slots = Slots::new(1, 4);
    let _running = got(&mut ask(&slots, address(1)));
    let mut greedy: Vec<_> = (0..4).map(|_| ask(&slots, address(1))).collect();
    assert_eq!(poll(&mut ask(&slots, address(1))).map(Result::unwrap_err), Poll::Ready(Crowded));
    let mut others = [ask(&slots, address(2)), ask(&slots, address(2)), ask(&slots, address(2))];
    assert!(poll(&mut others[0]).is_pending() && poll(&mut others[1]).is_pending());
    assert!(matches!(poll(&mut others[2]), Poll::Ready(Err(Crowded))), "each has its half");
    let rejected = greedy.iter_mut().map(poll).filter(|polled| matches!(polled, Poll::Ready(Err(Crowded))));
    assert_eq!(rejected.count(), 2);
    assert!(poll(&mut ask(&slots, AddressTurn::Recheck)).is_pending(), "these are bounded elsewhere");
}

#[test]
fn dropped_request_leaves_its_slot() {
    let slots = Slots::new(1, 4);
    let running = got(&mut ask(&slots, address(1)));
    let (left, notified) = (ask(&slots, address(2)), ask(&slots, address(3)));
    drop(left);
    drop(running);
    // It was notified, and is dropped before it is polled.
    drop(notified);
    let slot = got(&mut ask(&slots, address(4)));
    drop(slot);
    let state = slots.state.lock();
    assert_eq!((state.free, state.new_clients), (1, 0));
    assert!(state.turns.is_empty() && state.waiting.is_empty() && state.running.is_empty());
}
