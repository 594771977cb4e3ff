//! Open requests to the app, and the responses to earlier ones.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::answer::{AppResponse, NoResponse};
use super::auth_request::AuthRequestKey;
use super::cache::Cache;

/// The outcome of a request.
pub(super) type RequestOutcome = Result<AppResponse, NoResponse>;

/// An open request to the app. All clients with an equal request wait for it together, and each of
/// them drives it. It goes on when the first client leaves, and ends without a response when the
/// last one leaves.
pub(super) type InFlightRequest = Shared<BoxFuture<'static, RequestOutcome>>;

/// Whether an earlier response suffices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// An earlier response suffices, if it may be used again.
    Cached,
    /// The app has to decide now.
    New,
}

/// The result of a lookup.
pub(super) enum Lookup {
    Response(AppResponse),
    InFlightRequest(InFlightRequest),
}

/// Holds open requests and responses under one lock, so that a lookup without a response finds the
/// open request.
pub(super) struct InFlightRequests {
    pages: Mutex<CachePages>,
}

struct CachePages {
    cache: Cache,
    /// Its [`InFlightGuard`] removes each. `Slots` bounds those that wait.
    requests: HashMap<AuthRequestKey, InFlightEntry>,
    numbered: u64,
}

/// An open request in the table.
struct InFlightEntry {
    number: u64,
    request: WeakShared<BoxFuture<'static, RequestOutcome>>,
}

/// Removes a request from the table when it ends for any reason.
pub(super) struct InFlightGuard {
    in_flight: Arc<InFlightRequests>,
    key: AuthRequestKey,
    number: u64,
}

impl InFlightRequests {
    /// Creates an empty table.
    pub(super) fn new(cache_entries: usize) -> Self {
        let pages = CachePages { cache: Cache::new(cache_entries), requests: HashMap::new(), numbered: 0 };
        Self { pages: Mutex::new(pages) }
    }

    /// Returns the response or the open request. If there is neither, `begin` creates a request.
    /// `begin` must store the guard, and must not use this table itself, which is locked.
    pub(super) fn find(
        self: &Arc<Self>,
        key: AuthRequestKey,
        freshness: Freshness,
        begin: impl FnOnce(InFlightGuard) -> BoxFuture<'static, RequestOutcome>,
    ) -> Lookup {
        let mut pages = self.pages.lock();
        if freshness == Freshness::Cached
            && let Some(response) = pages.cache.get(&key, Instant::now())
        {
            return Lookup::Response(response);
        }
        if let Some(request) = pages.requests.get(&key).and_then(|entry| entry.request.upgrade()) {
            return Lookup::InFlightRequest(request);
        }
        pages.numbered += 1;
        let number = pages.numbered;
        let request = begin(InFlightGuard { in_flight: Arc::clone(self), key, number }).shared();
        // `downgrade` cannot fail for a future that was not polled to its end.
        if let Some(pointer) = request.downgrade() {
            // A replaced request has ended, and its guard has not removed it yet.
            pages.requests.insert(key, InFlightEntry { number, request: pointer });
        }
        Lookup::InFlightRequest(request)
    }

    #[cfg(test)]
    pub(super) fn open_requests(&self) -> usize {
        self.pages.lock().requests.len()
    }

    /// Returns the number of clients that wait for a response.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        let requests: Vec<InFlightRequest> =
            self.pages.lock().requests.values().filter_map(|entry| entry.request.upgrade()).collect();
        // Without the reference of this count.
        requests.iter().filter_map(InFlightRequest::strong_count).map(|count| count - 1).sum()
    }
}

impl InFlightGuard {
    /// Ends a request. A response that may be used again is in the cache from now on. A failure
    /// does not change the cache.
    pub(super) fn finish(self, outcome: &RequestOutcome) {
        let mut pages = self.in_flight.pages.lock();
        if let Ok(response) = outcome {
            pages.cache.put(self.key, response, Instant::now());
        }
        pages.remove(self.key, self.number);
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.in_flight.pages.lock().remove(self.key, self.number);
    }
}

impl CachePages {
    /// Removes a request, but not the next one with the same key, which may have begun already.
    fn remove(&mut self, key: AuthRequestKey, number: u64) {
        if self.requests.get(&key).is_some_and(|other| other.number == number) {
            self.requests.remove(&key);
        }
    }
}
