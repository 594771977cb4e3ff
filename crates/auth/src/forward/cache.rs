//! The cache of the app's responses.

use std::collections::{BTreeSet, HashMap};

use tokio::time::Instant;

use super::answer::AppResponse;
use super::auth_request::AuthRequestKey;

/// Stores responses by the keys of their requests, bounded in number. Each call removes expired
/// responses. Beyond the bound, the response that expires first is removed.
pub(super) struct Cache {
    entries_max: usize,
    responses: HashMap<AuthRequestKey, (Instant, AppResponse)>,
    /// The same keys, by the expiry of their responses.
    ends: BTreeSet<(Instant, AuthRequestKey)>,
}

impl Cache {
    pub(super) fn new(entries_max: usize) -> Self {
        Self { entries_max, responses: HashMap::new(), ends: BTreeSet::new() }
    }

    /// Returns the valid response, if there is one.
    pub(super) fn get(&mut self, key: &AuthRequestKey, now: Instant) -> Option<AppResponse> {
        self.drop_ended(now);
        self.responses.get(key).map(|(_, response)| response.clone())
    }

    /// Stores the last response. It replaces an earlier one in any case, even if it may not be used
    /// again.
    pub(super) fn put(&mut self, key: AuthRequestKey, response: &AppResponse, now: Instant) {
        self.drop_ended(now);
        self.remove(&key);
        let Some(until) = response.until.filter(|until| *until > now) else { return };
        if self.entries_max == 0 {
            return;
        }
        while self.responses.len() >= self.entries_max {
            let Some((_, soonest)) = self.ends.pop_first() else { break };
            self.responses.remove(&soonest);
        }
        self.responses.insert(key, (until, response.clone()));
        self.ends.insert((until, key));
    }

    fn remove(&mut self, key: &AuthRequestKey) {
        if let Some((until, _)) = self.responses.remove(key) {
            self.ends.remove(&(until, *key));
        }
    }

    fn drop_ended(&mut self, now: Instant) {
        while let Some((until, key)) = self.ends.first().copied() {
            if until > now {
                break;
            }
            self.ends.pop_first();
            self.responses.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Action;
    use crate::forward::answer::Verdict;
    use crate::forward::auth_request::AuthRequest;
    use tidings_event::workspace::WorkspaceId;

    fn key(workspace: &str) -> AuthRequestKey {
        let headers = http::HeaderMap::new();
        let auth_request = AuthRequest::new(&[], &headers, "127.0.0.1".parse().unwrap(), "http", None, "/");
        auth_request.key(&WorkspaceId::parse(workspace).unwrap(), Action::Subscribe)
    }

    fn response(verdict: Verdict, until: Option<Instant>) -> AppResponse {
        AppResponse { verdict, until }
    }

    #[test]
    fn responses_expire_and_their_number_is_bounded() {
        let mut cache = Cache::new(2);
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        for (name, end) in [("long", 30), ("short", 10), ("middle", 20)] {
            cache.put(key(name), &response(Verdict::Forbidden, Some(at(end))), now);
        }
        let held = |cache: &mut Cache, now| {
            ["long", "short", "middle"].map(|name| cache.get(&key(name), now).is_some())
        };
        assert_eq!(held(&mut cache, now), [true, false, true]);
        assert_eq!(held(&mut cache, at(20)), [true, false, false]);
        assert_eq!((cache.responses.len(), cache.ends.len()), (1, 1));
        assert_eq!(held(&mut cache, at(30)), [false; 3]);
    }

    #[test]
    fn last_response_counts() {
        let mut cache = Cache::new(2);
        let now = Instant::now();
        let later = Some(now + Duration::from_secs(9));
        cache.put(key("a"), &response(Verdict::Accepted(None), later), now);
        cache.put(key("a"), &response(Verdict::Forbidden, later), now);
        assert_eq!(cache.get(&key("a"), now).unwrap().verdict, Verdict::Forbidden);
        cache.put(key("a"), &response(Verdict::Accepted(None), None), now);
        assert_eq!(cache.get(&key("a"), now), None);
        assert_eq!((cache.responses.len(), cache.ends.len()), (0, 0));
    }

    #[test]
    fn cache_without_entries_stores_nothing() {
        let mut cache = Cache::new(0);
        let now = Instant::now();
        cache.put(key("a"), &response(Verdict::Accepted(None), Some(now + Duration::from_secs(9))), now);
        assert_eq!(cache.get(&key("a"), now), None);
    }
}
