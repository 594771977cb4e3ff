//! When events are published: at a rate, or as soon as those before them have arrived.
//!
//! At a rate each event is due at a moment that is fixed before the run begins. A delayed worker
//! does not move the moments of later events. So their wait counts as latency. If each event waits
//! for others instead, there is no such moment. It is due when it may go, and the server has to do
//! as much as it can.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::mpsc::Sender;

use super::args::Plan;
use super::client_pool::Scene;
use tidings_bench::latency::nanoseconds;
use tidings_bench::tag::Tag;

/// How events follow each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum PublishPace {
    /// So many a second, in all workspaces together.
    Rate(f64),
    /// Each when fewer than so many events wait for a client.
    InFlight(usize),
}

/// Deliveries as they arrive, for one thread that waits until there are enough.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    count: AtomicU64,
    /// How many the thread waits for.
    awaited: AtomicU64,
    lock: Mutex<()>,
    enough: Condvar,
}

impl Arrivals {
    /// So many more have arrived, or will never.
    pub(super) fn add(&self, more: u64) {
        let before = self.count.fetch_add(more, Ordering::SeqCst);
        let awaited = self.awaited.load(Ordering::SeqCst);
        if before < awaited && before + more >= awaited {
            // With the lock, so that the thread is either waiting already or has yet to look.
            let _lock = self.lock.lock();
            self.enough.notify_one();
        }
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits until there are so many in all; false when there are not after that time. For one
    /// thread only.
    fn wait(&self, awaited: u64, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        self.awaited.store(awaited, Ordering::SeqCst);
        let mut lock = self.lock.lock();
        while self.count() < awaited {
            if self.enough.wait_until(&mut lock, until).timed_out() {
                return self.count() >= awaited;
            }
        }
        true
    }
}

/// Passes each event to its worker when it is due, and returns how long publishing took. It runs on
/// its own thread, because timers of a runtime are a millisecond coarse.
pub(super) fn keep(scene: &Scene, workers: &[Sender<Tag>], start: Duration) -> Duration {
    match scene.plan.pace {
        PublishPace::Rate(rate) => {
            at_rate(scene, workers, start, rate);
            scene.plan.warm_up + scene.plan.duration
        }
        PublishPace::InFlight(most) => {
            as_they_arrive(scene, workers, start, most);
            scene.clock.elapsed().saturating_sub(start)
        }
    }
}

fn at_rate(scene: &Scene, workers: &[Sender<Tag>], start: Duration, rate: f64) {
    for number in 0..events_at(rate, scene.plan.warm_up + scene.plan.duration) {
        let due = start + Duration::from_secs_f64(number as f64 / rate);
        sleep_until(scene, due);
        if !hand_over(&scene.plan, workers, number, due) {
            return;
        }
    }
}

/// How many events are due in a time.
fn events_at(rate: f64, time: Duration) -> u64 {
    (rate * time.as_secs_f64()).ceil() as u64
}

/// Publishes until the end of the run, and waits for the arrival of each event. An event may take
/// longer than the grace to arrive everywhere. Then nothing more is published; the accounts of the
/// clients show the missing events.
fn as_they_arrive(scene: &Scene, workers: &[Sender<Tag>], start: Duration, most: usize) {
    let plan = &scene.plan;
    let readers = plan.readers();
    let end = start + plan.warm_up + plan.duration;
    sleep_until(scene, start);
    // What the arrivals come to when each event that is under way has arrived, and all before it.
    let mut under_way = VecDeque::with_capacity(most);
    let mut expected = 0;
    for number in 0.. {
        let arrived = scene.arrivals.count();
        while under_way.front().is_some_and(|arrival| *arrival <= arrived) {
            under_way.pop_front();
        }
        if under_way.len() >= most {
            let next = under_way.pop_front().unwrap_or(expected);
            if !scene.arrivals.wait(next, plan.grace) {
                return;
            }
        }
        let due = scene.clock.elapsed();
        if due >= end || !hand_over(plan, workers, number, due) {
            break;
        }
        expected += readers.get(plan.workspace_of_event(number)).copied().unwrap_or(0);
        under_way.push_back(expected);
    }
    scene.arrivals.wait(expected, plan.grace);
}

fn sleep_until(scene: &Scene, moment: Duration) {
    let now = scene.clock.elapsed();
    if moment > now {
        std::thread::sleep(moment - now);
    }
}

/// Passes an event to its worker. Returns false if publishing has failed; the worker reports that.
fn hand_over(plan: &Plan, workers: &[Sender<Tag>], number: u64, due: Duration) -> bool {
    let workspace = plan.workspace_of_event(number);
    let tag = Tag {
        workspace: u32::try_from(workspace).unwrap_or(u32::MAX),
        sequence: number / plan.workspaces.len() as u64,
        due_ns: nanoseconds(due),
    };
    let worker = workers.get(workspace % workers.len().max(1));
    worker.is_some_and(|worker| worker.blocking_send(tag).is_ok())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn waiter_wakes_at_the_wanted_count() {
        let arrivals = Arc::new(Arrivals::default());
        let adding = Arc::clone(&arrivals);
        let thread = std::thread::spawn(move || (0..1000).for_each(|_| adding.add(3)));
        for awaited in [1, 2, 1500, 3000] {
            assert!(arrivals.wait(awaited, Duration::from_secs(20)), "{awaited}");
        }
        thread.join().unwrap();
        assert!(arrivals.wait(2000, Duration::ZERO), "there are more than that already");
        assert!(!arrivals.wait(3001, Duration::from_millis(1)));
    }
}
