//! Questions that are under way, and answers to those that were.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::answer::{AppResponse, NoAnswer};
use super::auth_request::AuthRequestKey;
use super::cache::Cache;

/// What came of a question.
pub(super) type RequestOutcome = Result<AppResponse, NoAnswer>;

/// A question under way. All who have the same one wait for it together: whoever of them is there drives it, so it goes on
/// when the first one leaves, and it ends, unanswered, when the last one does.
pub(super) type InFlightRequest = Shared<BoxFuture<'static, RequestOutcome>>;

/// Who asks, and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// An answer that may be used again will do.
    Kept,
    /// The app is to be asked.
    New,
}

/// What a question meets.
pub(super) enum Lookup {
    Answer(AppResponse),
    InFlightRequest(InFlightRequest),
}

/// Questions and answers under one lock, so that whoever finds no answer finds the flight that brings it.
pub(super) struct InFlightRequests {
    pages: Mutex<CachePages>,
}

struct CachePages {
    cache: Cache,
    /// Each is taken out by its [`InFlightGuard`]. Those that wait for a slot are bounded there.
    flights: HashMap<AuthRequestKey, InFlightEntry>,
    numbered: u64,
}

/// A flight, as the book knows it.
struct InFlightEntry {
    number: u64,
    flight: WeakShared<BoxFuture<'static, RequestOutcome>>,
}

/// Takes a flight out of the book when it ends, however that is.
pub(super) struct InFlightGuard {
    in_flight: Arc<InFlightRequests>,
    key: AuthRequestKey,
    number: u64,
}

impl InFlightRequests {
    /// An empty book.
    pub(super) fn new(cache_entries: usize) -> Self {
        let pages = CachePages { cache: Cache::new(cache_entries), flights: HashMap::new(), numbered: 0 };
        Self { pages: Mutex::new(pages) }
    }

    /// Finds the answer, or a flight that brings it. Where there is neither, `begin` makes one, which must keep what it is
    /// given, and must not use the book right away.
    pub(super) fn find(
        self: &Arc<Self>,
        key: AuthRequestKey,
        freshness: Freshness,
        begin: impl FnOnce(InFlightGuard) -> BoxFuture<'static, RequestOutcome>,
    ) -> Lookup {
        let mut pages = self.pages.lock();
        if freshness == Freshness::Kept
            && let Some(answer) = pages.cache.get(&key, Instant::now())
        {
            return Lookup::Answer(answer);
        }
        if let Some(flight) = pages.flights.get(&key).and_then(|entry| entry.flight.upgrade()) {
            return Lookup::InFlightRequest(flight);
        }
        pages.numbered += 1;
        let number = pages.numbered;
        let flight = begin(InFlightGuard { in_flight: Arc::clone(self), key, number }).shared();
        // A flight that nobody has polled yet can be pointed at.
        if let Some(pointer) = flight.downgrade() {
            // One that is replaced ended, and its landing has not come yet.
            pages.flights.insert(key, InFlightEntry { number, flight: pointer });
        }
        Lookup::InFlightRequest(flight)
    }

    #[cfg(test)]
    pub(super) fn flights(&self) -> usize {
        self.pages.lock().flights.len()
    }

    /// How many wait for an answer.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        let flights: Vec<InFlightRequest> =
            self.pages.lock().flights.values().filter_map(|entry| entry.flight.upgrade()).collect();
        // Less the one that counts.
        flights.iter().filter_map(InFlightRequest::strong_count).map(|count| count - 1).sum()
    }
}

impl InFlightGuard {
    /// The flight brings an answer: whoever asks from now on finds it in the cache, if it may be used again. An answer
    /// that does not count leaves alone what the app said before.
    pub(super) fn land(self, outcome: &RequestOutcome) {
        let mut pages = self.in_flight.pages.lock();
        if let Ok(answer) = outcome {
            pages.cache.put(self.key, answer, Instant::now());
        }
        pages.take_out(self.key, self.number);
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.in_flight.pages.lock().take_out(self.key, self.number);
    }
}

impl CachePages {
    /// Takes out a flight, and not the next one to the same question, which may have begun already.
    fn take_out(&mut self, key: AuthRequestKey, number: u64) {
        if self.flights.get(&key).is_some_and(|other| other.number == number) {
            self.flights.remove(&key);
        }
    }
}
