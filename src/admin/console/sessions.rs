//! The sessions of the console, and the link that begins the first one. Nothing here has a clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::digest::{SecretDigest, random_secret};

/// The lifetime of a session.
pub(super) const SESSION_LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// The lifetime of a link.
const LINK_LIFETIME: Duration = Duration::from_secs(600);

/// Limits the sessions. A further one replaces the oldest, so that a new page is never kept out.
const SESSIONS_MAX: usize = 64;

/// All sessions, with the link that is not used yet.
#[derive(Debug, Default)]
pub(super) struct ConsoleSessions(Mutex<SessionState>);

#[derive(Debug, Default)]
struct SessionState {
    /// The oldest first.
    sessions: VecDeque<ConsoleSession>,
    link: Option<ConsoleSession>,
}

/// A secret and its end.
#[derive(Debug, Clone, Copy)]
struct ConsoleSession {
    digest: SecretDigest,
    ends: Instant,
    /// The token that began the session; `None` if the link did.
    token: Option<SecretDigest>,
}

impl ConsoleSessions {
    /// Begins a session by the link, or by a token; returns its secret.
    ///
    /// # Errors
    ///
    /// Returns an error if the system has no random numbers.
    pub(super) fn begin(
        &self,
        token: Option<SecretDigest>,
        now: Instant,
    ) -> Result<String, getrandom::Error> {
        let secret = random_secret()?;
        let ends = now + SESSION_LIFETIME;
        let session = ConsoleSession { digest: SecretDigest::of(&secret), ends, token };
        let mut state = self.0.lock();
        state.sessions.retain(|session| session.ends > now);
        if state.sessions.len() >= SESSIONS_MAX {
            state.sessions.pop_front();
        }
        state.sessions.push_back(session);
        Ok(secret)
    }

    /// Whether a session with this secret is open, and the token that began it is still `valid`.
    pub(super) fn holds(
        &self,
        secret: &SecretDigest,
        now: Instant,
        valid: impl Fn(&SecretDigest) -> bool,
    ) -> bool {
        let state = self.0.lock();
        let mut open =
            state.sessions.iter().filter(|session| session.ends > now && session.digest.is(secret));
        open.any(|session| session.token.as_ref().is_none_or(&valid))
    }

    /// Ends a session.
    pub(super) fn end(&self, secret: &SecretDigest) {
        self.0.lock().sessions.retain(|session| !session.digest.is(secret));
    }

    /// Creates the secret of a link, in place of an earlier one.
    ///
    /// # Errors
    ///
    /// Returns an error if the system has no random numbers.
    pub(super) fn issue_link(&self, now: Instant) -> Result<String, getrandom::Error> {
        let secret = random_secret()?;
        let link =
            ConsoleSession { digest: SecretDigest::of(&secret), ends: now + LINK_LIFETIME, token: None };
        self.0.lock().link = Some(link);
        Ok(secret)
    }

    /// Uses up the link, if it has this secret and has not ended.
    pub(super) fn redeem(&self, secret: &SecretDigest, now: Instant) -> bool {
        let mut state = self.0.lock();
        let is_right = state.link.is_some_and(|link| link.ends > now && link.digest.is(secret));
        if is_right {
            state.link = None;
        }
        is_right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_is_good_once_and_ends() {
        let (sessions, now) = (ConsoleSessions::default(), Instant::now());
        let link = SecretDigest::of(&sessions.issue_link(now).unwrap());
        assert!(!sessions.redeem(&SecretDigest::of("other"), now), "a wrong one does not use it up");
        assert!(sessions.redeem(&link, now));
        assert!(!sessions.redeem(&link, now));
        let late = SecretDigest::of(&sessions.issue_link(now).unwrap());
        assert!(!sessions.redeem(&late, now + LINK_LIFETIME));
    }

    #[test]
    fn session_ends_and_the_oldest_gives_way() {
        let (sessions, now) = (ConsoleSessions::default(), Instant::now());
        let begin = || SecretDigest::of(&sessions.begin(None, now).unwrap());
        let holds = |secret: &SecretDigest, now| sessions.holds(secret, now, |_| false);
        let first = begin();
        assert!(holds(&first, now) && !holds(&SecretDigest::of(""), now));
        assert!(!holds(&first, now + SESSION_LIFETIME));
        let others: Vec<_> = (0..SESSIONS_MAX).map(|_| begin()).collect();
        assert!(!holds(&first, now) && others.iter().all(|other| holds(other, now)));
        sessions.end(&others[0]);
        assert!(!holds(&others[0], now));
    }

    #[test]
    fn session_ends_with_the_token_that_began_it() {
        let (sessions, now) = (ConsoleSessions::default(), Instant::now());
        let token = SecretDigest::of("token");
        let by_token = SecretDigest::of(&sessions.begin(Some(token), now).unwrap());
        let by_link = SecretDigest::of(&sessions.begin(None, now).unwrap());
        assert!(sessions.holds(&by_token, now, |began| began.is(&token)));
        assert!(!sessions.holds(&by_token, now, |_| false));
        assert!(sessions.holds(&by_link, now, |_| false));
    }
}
