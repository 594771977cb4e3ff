//! Values that are kept for a time and taken once. On the embedded bus there is one node, so its
//! memory is enough.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

/// The most values at a time; a further one is refused.
const VALUES_MAX: usize = 100_000;

/// The kept values.
#[derive(Debug, Default)]
pub(crate) struct OneTimeStore(Mutex<HashMap<String, (Bytes, Instant)>>);

impl OneTimeStore {
    /// Stores a value until `lifetime` after `now`, unless its name is used. Returns whether it
    /// did.
    pub(crate) fn keep(&self, name: &str, value: Bytes, lifetime: Duration, now: Instant) -> bool {
        let mut values = self.0.lock();
        // Values that have ended are removed later, not now: a full store must not cost more than
        // an empty one.
        if values.len() >= VALUES_MAX && !values.contains_key(name) {
            return false;
        }
        match values.get(name) {
            Some((_, until)) if *until > now => {}
            _ => {
                values.insert(name.to_owned(), (value, now + lifetime));
            }
        }
        true
    }

    /// Takes a value.
    pub(crate) fn take(&self, name: &str, now: Instant) -> Option<Bytes> {
        let (value, until) = self.0.lock().remove(name)?;
        (until > now).then_some(value)
    }

    /// Reads a value, which stays.
    pub(crate) fn read(&self, name: &str, now: Instant) -> Option<Bytes> {
        self.0.lock().get(name).filter(|(_, until)| *until > now).map(|(value, _)| value.clone())
    }

    /// Drops the values that have ended.
    pub(crate) fn tidy(&self, now: Instant) {
        self.0.lock().retain(|_, (_, until)| *until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stored value is taken once, within its time.
    #[test]
    fn value_is_taken_once_within_its_time() {
        let (one_time_store, now) = (OneTimeStore::default(), Instant::now());
        let (one, two) = (Bytes::from_static(b"1"), Bytes::from_static(b"2"));
        let second = Duration::from_secs(1);
        assert!(one_time_store.keep("a", one.clone(), second, now));
        assert!(one_time_store.keep("a", two.clone(), second, now), "the first one stays");
        assert_eq!(one_time_store.read("a", now), Some(one.clone()));
        assert_eq!(one_time_store.read("a", now + second), None, "it has ended");
        assert_eq!(one_time_store.take("a", now), Some(one.clone()), "reading takes nothing");
        assert_eq!(one_time_store.read("a", now), None);
        assert_eq!(one_time_store.take("a", now), None);
        assert!(one_time_store.keep("a", one, second, now));
        assert!(one_time_store.keep("a", two.clone(), second, now + second), "the first one has ended");
        assert_eq!(one_time_store.take("a", now + second), Some(two.clone()));
        assert!(one_time_store.keep("a", two, second, now));
        assert_eq!(one_time_store.take("a", now + second), None);
    }

    #[test]
    fn limit_holds_and_ended_connections_free_places() {
        let (one_time_store, now, second) = (OneTimeStore::default(), Instant::now(), Duration::from_secs(1));
        for number in 0..VALUES_MAX {
            assert!(one_time_store.keep(&number.to_string(), Bytes::new(), second, now));
        }
        assert!(!one_time_store.keep("more", Bytes::new(), second, now));
        one_time_store.tidy(now + second);
        assert!(one_time_store.keep("more", Bytes::new(), second, now + second));
        one_time_store.tidy(now + second * 2);
        assert!(one_time_store.0.lock().is_empty());
    }
}
