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
}

impl ConsoleSessions {
    /// Begins a session; returns its secret.
    ///
    /// # Errors
    ///
    /// Returns an error if the system has no random numbers.
    pub(super) fn begin(&self, now: Instant) -> Result<String, getrandom::Error> {
        let secret = random_secret()?;
        let session = ConsoleSession { digest: SecretDigest::of(&secret), ends: now + SESSION_LIFETIME };
        let mut state = self.0.lock();
        state.sessions.retain(|session| session.ends > now);
        if state.sessions.len() >= SESSIONS_MAX {
            state.sessions.pop_front();
        }
        state.sessions.push_back(session);
        Ok(secret)
    }

    /// Whether a session with this secret is open.
    pub(super) fn holds(&self, secret: &SecretDigest, now: Instant) -> bool {
        let state = self.0.lock();
        state.sessions.iter().any(|session| session.ends > now && session.digest.is(secret))
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
        let link = ConsoleSession { digest: SecretDigest::of(&secret), ends: now + LINK_LIFETIME };
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
        let first = SecretDigest::of(&sessions.begin(now).unwrap());
        assert!(sessions.holds(&first, now) && !sessions.holds(&SecretDigest::of(""), now));
        assert!(!sessions.holds(&first, now + SESSION_LIFETIME));
        let others: Vec<_> =
            (0..SESSIONS_MAX).map(|_| SecretDigest::of(&sessions.begin(now).unwrap())).collect();
        assert!(!sessions.holds(&first, now) && others.iter().all(|other| sessions.holds(other, now)));
        sessions.end(&others[0]);
        assert!(!sessions.holds(&others[0], now));
    }
}
