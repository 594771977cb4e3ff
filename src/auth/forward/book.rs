//! Questions that are under way, and answers to those that were.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::answer::{Answer, NoAnswer};
use super::asking::Key;
use super::cache::Cache;

/// What came of a question.
pub(super) type Outcome = Result<Answer, NoAnswer>;

/// A question under way. All who have the same one wait for it together: whoever of them is there drives it, so it goes on
/// when the first one leaves, and it ends, unanswered, when the last one does.
pub(super) type Flight = Shared<BoxFuture<'static, Outcome>>;

/// Who asks, and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// An answer that may be used again will do.
    Kept,
    /// The app is to be asked.
    New,
}

/// What a question meets.
pub(super) enum Found {
    Answer(Answer),
    Flight(Flight),
}

/// Questions and answers under one lock, so that whoever finds no answer finds the flight that brings it.
pub(super) struct Book {
    flights_max: usize,
    pages: Mutex<Pages>,
}

struct Pages {
    cache: Cache,
    /// At most `flights_max`; each is taken out by its [`Landing`].
    flights: HashMap<Key, (u64, WeakShared<BoxFuture<'static, Outcome>>)>,
    numbered: u64,
}

/// Takes a flight out of the book when it ends, however that is.
pub(super) struct Landing {
    book: Arc<Book>,
    key: Key,
    number: u64,
}

impl Book {
    /// An empty book for so many flights, those that wait included.
    pub(super) fn new(cache_entries: usize, flights_max: usize) -> Self {
        let pages = Pages { cache: Cache::new(cache_entries), flights: HashMap::new(), numbered: 0 };
        Self { flights_max, pages: Mutex::new(pages) }
    }

    /// Finds the answer, or a flight that brings it. Where there is neither, `begin` makes one, which must keep what it is
    /// given, and must not use the book right away; where there is no room for it, there is no answer.
    pub(super) fn find(
        self: &Arc<Self>,
        key: Key,
        freshness: Freshness,
        begin: impl FnOnce(Landing) -> BoxFuture<'static, Outcome>,
    ) -> Result<Found, NoAnswer> {
        let mut pages = self.pages.lock();
        if freshness == Freshness::Kept
            && let Some(answer) = pages.cache.get(&key, Instant::now())
        {
            return Ok(Found::Answer(answer));
        }
        if let Some(flight) = pages.flights.get(&key).and_then(|(_, flight)| flight.upgrade()) {
            return Ok(Found::Flight(flight));
        }
        if pages.flights.len() >= self.flights_max {
            return Err(NoAnswer::Busy);
        }
        pages.numbered += 1;
        let number = pages.numbered;
        let flight = begin(Landing { book: Arc::clone(self), key, number }).shared();
        // A flight that nobody has polled yet can be pointed at.
        if let Some(pointer) = flight.downgrade() {
            pages.flights.insert(key, (number, pointer));
        }
        Ok(Found::Flight(flight))
    }

    #[cfg(test)]
    pub(super) fn flights(&self) -> usize {
        self.pages.lock().flights.len()
    }

    /// How many wait for an answer.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        let flights: Vec<Flight> =
            self.pages.lock().flights.values().filter_map(|(_, flight)| flight.upgrade()).collect();
        // Less the one that counts.
        flights.iter().filter_map(Flight::strong_count).map(|count| count - 1).sum()
    }
}

impl Landing {
    /// The flight brings an answer: whoever asks from now on finds it in the cache, if it may be used again. An answer
    /// that does not count leaves alone what the app said before.
    pub(super) fn land(self, outcome: &Outcome) {
        let mut pages = self.book.pages.lock();
        if let Ok(answer) = outcome {
            pages.cache.put(self.key, answer, Instant::now());
        }
        pages.take_out(self.key, self.number);
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.book.pages.lock().take_out(self.key, self.number);
    }
}

impl Pages {
    /// Takes out a flight, and not the next one to the same question, which may have begun already.
    fn take_out(&mut self, key: Key, number: u64) {
        if self.flights.get(&key).is_some_and(|(other, _)| *other == number) {
            self.flights.remove(&key);
        }
    }
}
