//! The keys at one address: fetched, kept, and fetched again when it is time or when a token names a key that is not
//! among them.
//!
//! One task, [`KeySetSource::run`], does all the fetching. Requests that miss a key ask it and wait for what comes of it; so
//! however many ask, there is one fetch at a time, and one that is given up does not end it for the others.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use http::Uri;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::fetch::Fetcher;
use super::key_set::KeySet;
use crate::{Algorithms, JwtConfig};
use tidings_metrics::Metrics;
use tidings_metrics::Throttle;

/// An address of keys, and what was found there last. The last known keys stay for as long as nothing newer can be had.
#[derive(Debug)]
pub(super) struct KeySetSource {
    address: Uri,
    /// The issuer that these keys vouch for, and no other; `None` where the rules for claims alone decide.
    pub(super) issuer: Option<String>,
    settings: SourceSettings,
    keys: ArcSwapOption<KeySet>,
    fetches: Mutex<Fetches>,
    /// Wakes the task that fetches.
    asked: Notify,
    /// Changes when a fetch has ended.
    ended: watch::Sender<()>,
    failure_log: Throttle,
}

/// What all addresses share.
#[derive(Debug, Clone)]
pub(super) struct SourceSettings {
    algorithms: Algorithms,
    /// Between two fetches, while they succeed.
    refresh: Duration,
    /// Before a token may cause a further fetch, and before a failed one is tried again.
    min_interval: Duration,
    /// How long a request waits for a fetch.
    timeout: Duration,
    fetched: Counter,
    failed: Counter,
}

#[derive(Debug, Default)]
struct Fetches {
    /// One was asked for, or is on its way.
    pending: bool,
    /// When the last one began.
    began: Option<Instant>,
    /// How many in a row failed, up to now.
    failures: u32,
}

/// What came of asking for the keys again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refreshed {
    /// They were fetched just now.
    Yes,
    /// They were not, because that was done a moment ago.
    TooSoon,
    /// They could not be fetched, or not in time.
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
        }
    }
}

impl KeySetSource {
    pub(super) fn new(address: Uri, issuer: Option<String>, settings: SourceSettings) -> Self {
        Self {
            address,
            issuer,
            settings,
            keys: ArcSwapOption::empty(),
            fetches: Mutex::default(),
            asked: Notify::new(),
            ended: watch::Sender::new(()),
            failure_log: Throttle::default(),
        }
    }

    /// Where the keys are, without the query, which need not be public.
    pub(super) fn name(&self) -> String {
        let text = self.address.to_string();
        text.split_once('?').map_or(text.as_str(), |(before, _)| before).to_owned()
    }

    /// The last known keys.
    pub(super) fn keys(&self) -> Option<Arc<KeySet>> {
        self.keys.load_full()
    }

    /// Fetches at once, then again and again, until it is told to stop.
    pub(super) async fn run(&self, fetcher: &Fetcher, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.fetch(fetcher) => {}
            }
            let next = Instant::now() + self.pause();
            // A permit that is left over from a wish which was fulfilled meanwhile wakes nobody for nothing.
            while !self.fetches.lock().pending {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep_until(next) => break,
                    () = self.asked.notified() => {}
                }
            }
        }
    }

    /// Fetches the keys. What cannot be used leaves the last known ones in place.
    ///
    /// For [`KeySetSource::run`], and for commands that fetch once; not cancellation safe with regard to those who wait.
    pub(super) async fn fetch(&self, fetcher: &Fetcher) {
        {
            let mut fetches = self.fetches.lock();
            fetches.pending = true;
            fetches.began = Some(Instant::now());
        }
        let asked = SystemTime::now();
        let outcome = match fetcher.fetch(&self.address).await {
            Ok(body) => {
                KeySet::parse(&body, &self.settings.algorithms, asked).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        match outcome {
            Ok(keys) => self.take(keys),
            Err(error) => self.fail(&error),
        }
        self.ended.send_replace(());
    }

    fn take(&self, keys: KeySet) {
        let count = keys.len();
        let before = self.keys.swap(Some(Arc::new(keys)));
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
            tracing::warn!(
                url,
                error,
                known,
                silenced,
                "cannot fetch the keys for tokens; the last known ones count"
            );
        }
    }

    /// How long to wait before the next fetch, with jitter: the refresh time, or after failures less, doubling.
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

    /// Has the keys fetched again, unless that was done a moment ago, and waits for it no longer than a fetch may take.
    /// Whoever asks while a fetch is pending waits for that one.
    ///
    /// Cancellation safe: the fetch goes on without whoever asked.
    pub(super) async fn refresh(&self) -> Refreshed {
        // Before the look, so that no end is missed.
        let mut ended = self.ended.subscribe();
        {
            let mut fetches = self.fetches.lock();
            if !fetches.pending {
                if fetches.began.is_some_and(|began| began.elapsed() < self.settings.min_interval) {
                    return if fetches.failures > 0 { Refreshed::Failed } else { Refreshed::TooSoon };
                }
                fetches.pending = true;
                self.asked.notify_one();
            }
        }
        match tokio::time::timeout(self.settings.timeout, ended.changed()).await {
            Ok(Ok(())) if self.fetches.lock().failures == 0 => Refreshed::Yes,
            _ => Refreshed::Failed,
        }
    }
}
