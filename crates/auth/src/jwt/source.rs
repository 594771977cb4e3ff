//! The keys at one URL: fetched, stored, and fetched again after a time or when a token names an
//! unknown key.
//!
//! One task, [`KeySetSource::run`], fetches. Requests with an unknown key notify it and wait for
//! the outcome. So there is one fetch at a time for any number of requests, and a cancelled request
//! does not end it for the others.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use http::Uri;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::fetch::Fetcher;
use super::key_set::KeySet;
use crate::{Algorithms, JwtConfig};
use tidings_metrics::Metrics;
use tidings_metrics::Throttle;

/// Holds the URL of a key set and its last keys. The last keys stay until newer ones are fetched.
#[derive(Debug)]
pub(super) struct KeySetSource {
    address: Uri,
    /// The issuer whose tokens these keys verify; `None` if only the rules for claims apply.
    pub(super) issuer: Option<String>,
    settings: SourceSettings,
    keys: ArcSwapOption<KeySet>,
    fetches: Mutex<Fetches>,
    /// Wakes the task that fetches.
    requested: Notify,
    /// Changes when a fetch has ended.
    ended: watch::Sender<()>,
    failure_log: Throttle,
}

/// The settings that all URLs share.
#[derive(Debug, Clone)]
pub(super) struct SourceSettings {
    algorithms: Algorithms,
    /// The time between two successful fetches.
    refresh: Duration,
    /// The shortest time before a token may cause a fetch, and before a failed fetch is repeated.
    min_interval: Duration,
    /// The time for which a request waits for a fetch.
    timeout: Duration,
    fetched: Counter,
    failed: Counter,
    /// The keys of all URLs.
    known: Gauge,
    /// The URLs without a key.
    without_keys: Gauge,
}

#[derive(Debug, Default)]
struct Fetches {
    /// A fetch is requested or under way.
    pending: bool,
    /// The start of the last fetch.
    began: Option<Instant>,
    /// The number of failures in a row.
    failures: u32,
}

/// The outcome of a request for new keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refreshed {
    /// The keys were fetched just now.
    Yes,
    /// The keys were fetched too short a time ago.
    TooSoon,
    /// The fetch failed or was late.
    Failed,
}

impl SourceSettings {
    pub(super) fn new(config: &JwtConfig, metrics: &Metrics) -> Self {
        Self {
            algorithms: config.algorithm.clone(),
            refresh: config.jwks_refresh_seconds.duration(),
            min_interval: config.jwks_min_interval_seconds.duration(),
            timeout: config.jwks_timeout_seconds.duration(),
            fetched: metrics.jwks_fetches.clone(),
            failed: metrics.jwks_fetch_failures.clone(),
            known: metrics.jwks_keys.clone(),
            without_keys: metrics.jwks_urls_without_keys.clone(),
        }
    }
}

impl KeySetSource {
    pub(super) fn new(address: Uri, issuer: Option<String>, settings: SourceSettings) -> Self {
        settings.without_keys.inc();
        Self {
            address,
            issuer,
            settings,
            keys: ArcSwapOption::empty(),
            fetches: Mutex::default(),
            requested: Notify::new(),
            ended: watch::Sender::new(()),
            failure_log: Throttle::default(),
        }
    }

    /// Returns the URL without its query, which may be secret.
    pub(super) fn name(&self) -> String {
        let text = self.address.to_string();
        text.split_once('?').map_or(text.as_str(), |(before, _)| before).to_owned()
    }

    /// Returns the last keys.
    pub(super) fn keys(&self) -> Option<Arc<KeySet>> {
        self.keys.load_full()
    }

    /// Takes the keys of the source with the same URL, read for the same algorithms.
    pub(super) fn adopt_keys(&self, known: &[Self]) {
        let is_same = |other: &&Self| {
            (&other.address, &other.settings.algorithms) == (&self.address, &self.settings.algorithms)
        };
        self.replace_keys(known.iter().find(is_same).and_then(Self::keys));
    }

    /// Replaces the keys, and updates the metrics; returns the keys before.
    fn replace_keys(&self, keys: Option<Arc<KeySet>>) -> Option<Arc<KeySet>> {
        let SourceSettings { known, without_keys, .. } = &self.settings;
        let count = |keys: &Option<Arc<KeySet>>| {
            keys.as_ref().map_or(0, |keys| i64::try_from(keys.len()).unwrap_or(i64::MAX))
        };
        let (added, has_keys) = (count(&keys), keys.is_some());
        let before = self.keys.swap(keys);
        known.inc_by(added - count(&before));
        without_keys.inc_by(i64::from(before.is_some()) - i64::from(has_keys));
        before
    }

    /// Fetches at once, then repeatedly, until `stop` is cancelled.
    pub(super) async fn run(&self, fetcher: &Fetcher, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.fetch(fetcher) => {}
            }
            let next = Instant::now() + self.pause();
            // A notification of a request that was already served has no effect.
            while !self.fetches.lock().pending {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep_until(next) => break,
                    () = self.requested.notified() => {}
                }
            }
        }
    }

    /// Fetches the keys. If that fails, the last ones stay.
    ///
    /// [`KeySetSource::run`] calls it, and commands that fetch once. Not cancellation safe:
    /// requests that wait would not be notified.
    pub(super) async fn fetch(&self, fetcher: &Fetcher) {
        {
            let mut fetches = self.fetches.lock();
            fetches.pending = true;
            fetches.began = Some(Instant::now());
        }
        let requested = SystemTime::now();
        let outcome = match fetcher.fetch(&self.address).await {
            Ok(body) => {
                KeySet::parse(&body, &self.settings.algorithms, requested).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        match outcome {
            Ok(keys) => self.store(keys),
            Err(error) => self.fail(&error),
        }
        self.ended.send_replace(());
    }

    fn store(&self, keys: KeySet) {
        let count = keys.len();
        let before = self.replace_keys(Some(Arc::new(keys)));
        let failures = {
            let mut fetches = self.fetches.lock();
            fetches.pending = false;
            std::mem::take(&mut fetches.failures)
        };
        self.settings.fetched.inc();
        if before.is_none() || failures > 0 {
            tracing::info!(url = self.name(), keys = count, "fetched the keys for tokens");
        }
    }

    fn fail(&self, error: &str) {
        {
            let mut fetches = self.fetches.lock();
            fetches.pending = false;
            fetches.failures = fetches.failures.saturating_add(1);
        }
        self.settings.failed.inc();
        if let Some(silenced) = self.failure_log.pass() {
            let known = self.keys.load().as_ref().map_or(0, |keys| keys.len());
            let url = self.name();
            if known > 0 {
                tracing::warn!(
                    url,
                    error,
                    known,
                    silenced,
                    "cannot fetch the keys for tokens; the last known ones stay in use"
                );
            } else {
                tracing::error!(
                    url,
                    error,
                    silenced,
                    "cannot fetch the keys for tokens, and none are known: tokens get 503"
                );
            }
        }
    }

    /// Returns the pause before the next fetch, with jitter: the refresh time, or after failures a
    /// shorter one that doubles.
    fn pause(&self) -> Duration {
        let failures = self.fetches.lock().failures;
        let pause = match failures {
            0 => self.settings.refresh,
            _ => self
                .settings
                .min_interval
                .saturating_mul(1 << (failures - 1).min(10))
                .min(self.settings.refresh),
        };
        pause.mul_f64(0.9 + 0.2 * fastrand::f64())
    }

    /// Requests new keys, unless they were fetched a moment ago, and waits for at most the timeout
    /// of a fetch. If a fetch is pending, it waits for that one.
    ///
    /// Cancellation safe: the fetch goes on.
    pub(super) async fn refresh(&self) -> Refreshed {
        // Subscribed before the check, so that no end is missed.
        let mut ended = self.ended.subscribe();
        {
            let mut fetches = self.fetches.lock();
            if !fetches.pending {
                if fetches.began.is_some_and(|began| began.elapsed() < self.settings.min_interval) {
                    return if fetches.failures > 0 { Refreshed::Failed } else { Refreshed::TooSoon };
                }
                fetches.pending = true;
                self.requested.notify_one();
            }
        }
        match tokio::time::timeout(self.settings.timeout, ended.changed()).await {
            Ok(Ok(())) if self.fetches.lock().failures == 0 => Refreshed::Yes,
            _ => Refreshed::Failed,
        }
    }
}

impl Drop for KeySetSource {
    fn drop(&mut self) {
        self.replace_keys(None);
        self.settings.without_keys.dec();
    }
}
