//! Answers that may be used again.

use std::collections::{BTreeSet, HashMap};

use tokio::time::Instant;

use super::answer::AppResponse;
use super::auth_request::AuthRequestKey;

/// Answers by their questions, bounded in number. One whose time is over is dropped at the next look, whatever that is
/// for; where there is no room, the one that ends soonest goes.
pub(super) struct Cache {
    entries_max: usize,
    answers: HashMap<AuthRequestKey, (Instant, AppResponse)>,
    /// The same questions, by the end of their answers.
    ends: BTreeSet<(Instant, AuthRequestKey)>,
}

impl Cache {
    pub(super) fn new(entries_max: usize) -> Self {
        Self { entries_max, answers: HashMap::new(), ends: BTreeSet::new() }
    }

    /// The answer that counts now, if there is one.
    pub(super) fn get(&mut self, key: &AuthRequestKey, now: Instant) -> Option<AppResponse> {
        self.drop_ended(now);
        self.answers.get(key).map(|(_, answer)| answer.clone())
    }

    /// Takes what the app said last. What it said before on the same question is forgotten in any case.
    pub(super) fn put(&mut self, key: AuthRequestKey, answer: &AppResponse, now: Instant) {
        self.drop_ended(now);
        self.remove(&key);
        let Some(until) = answer.until.filter(|until| *until > now) else { return };
        if self.entries_max == 0 {
            return;
        }
        while self.answers.len() >= self.entries_max {
            let Some((_, soonest)) = self.ends.pop_first() else { break };
            self.answers.remove(&soonest);
        }
        self.answers.insert(key, (until, answer.clone()));
        self.ends.insert((until, key));
    }

    fn remove(&mut self, key: &AuthRequestKey) {
        if let Some((until, _)) = self.answers.remove(key) {
            self.ends.remove(&(until, *key));
        }
    }

    fn drop_ended(&mut self, now: Instant) {
        while let Some((until, key)) = self.ends.first().copied() {
            if until > now {
                break;
            }
            self.ends.pop_first();
            self.answers.remove(&key);
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

    fn answer(verdict: Verdict, until: Option<Instant>) -> AppResponse {
        AppResponse { verdict, until }
    }

    #[test]
    fn answers_end_and_their_number_is_bounded() {
        let mut cache = Cache::new(2);
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        for (name, end) in [("long", 30), ("short", 10), ("middle", 20)] {
            cache.put(key(name), &answer(Verdict::Forbidden, Some(at(end))), now);
        }
        let held = |cache: &mut Cache, now| {
            ["long", "short", "middle"].map(|name| cache.get(&key(name), now).is_some())
        };
        assert_eq!(held(&mut cache, now), [true, false, true]);
        assert_eq!(held(&mut cache, at(20)), [true, false, false]);
        assert_eq!((cache.answers.len(), cache.ends.len()), (1, 1));
        assert_eq!(held(&mut cache, at(30)), [false; 3]);
    }

    #[test]
    fn the_last_word_counts() {
        let mut cache = Cache::new(2);
        let now = Instant::now();
        let later = Some(now + Duration::from_secs(9));
        cache.put(key("a"), &answer(Verdict::LetIn(None), later), now);
        cache.put(key("a"), &answer(Verdict::Forbidden, later), now);
        assert_eq!(cache.get(&key("a"), now).unwrap().verdict, Verdict::Forbidden);
        cache.put(key("a"), &answer(Verdict::LetIn(None), None), now);
        assert_eq!(cache.get(&key("a"), now), None);
        assert_eq!((cache.answers.len(), cache.ends.len()), (0, 0));
    }

    #[test]
    fn no_room_at_all_is_no_cache() {
        let mut cache = Cache::new(0);
        let now = Instant::now();
        cache.put(key("a"), &answer(Verdict::LetIn(None), Some(now + Duration::from_secs(9))), now);
        assert_eq!(cache.get(&key("a"), now), None);
    }
}
