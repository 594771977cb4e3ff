//! The configured keys: read at the start, and again when a file has changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jsonwebtoken::Algorithm;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::key::VerificationKey;
use super::material::{self, JwtSetupError};
use crate::JwtConfig;
use crate::jwt::config::KeySource;
use tidings_metrics::Metrics;
use tidings_settings::Fingerprint;

/// Holds the keys of a configuration without URLs of key sets.
#[derive(Debug)]
pub(super) struct ConfiguredKeys {
    /// Never empty.
    current: ArcSwap<Vec<Arc<VerificationKey>>>,
    /// `None` if the configuration contains the keys.
    files: Option<Box<KeyFiles>>,
    requested: Notify,
    /// Whether the last read succeeded, 1 or 0.
    succeeded: Gauge,
}

#[derive(Debug)]
struct KeyFiles {
    config: JwtConfig,
    paths: Vec<PathBuf>,
    /// The state of the files before they were read at the start.
    last_seen: Vec<Option<Fingerprint>>,
    /// A secret was too short at the start, which is allowed on this machine only.
    may_be_short: bool,
    interval: Duration,
}

impl ConfiguredKeys {
    /// Reads the keys; returns `None` if the configuration names URLs. Reads files, and so blocks.
    pub(super) fn open(config: &JwtConfig, metrics: &Metrics) -> Result<Option<Self>, JwtSetupError> {
        let source = material::source(config)?;
        let paths: Vec<PathBuf> = match source {
            KeySource::SecretFile(paths) | KeySource::PublicKeyFile(paths) => {
                paths.iter().map(PathBuf::from).collect()
            }
            KeySource::Secret(..) | KeySource::PublicKey(_) | KeySource::Jwks(_) => Vec::new(),
        };
        // Before the files are read, so that a write in between counts as a change.
        let last_seen = fingerprints(&paths);
        let Some(keys) = material::keys(source, &config.algorithm)? else { return Ok(None) };
        let may_be_short = material::short_secret(config)?.is_some();
        let interval = config.key_reload_seconds.duration();
        let files = (!paths.is_empty())
            .then(|| Box::new(KeyFiles { config: config.clone(), paths, last_seen, may_be_short, interval }));
        let succeeded = metrics.keys_read.clone();
        succeeded.set(1);
        Ok(Some(Self { current: ArcSwap::from_pointee(keys), files, requested: Notify::new(), succeeded }))
    }

    /// Returns the keys that may have signed a token of this algorithm; never empty, because they
    /// cover each configured algorithm.
    pub(super) fn candidates(&self, algorithm: Algorithm) -> Vec<Arc<VerificationKey>> {
        self.current.load().iter().filter(|key| key.suits(algorithm)).map(Arc::clone).collect()
    }

    /// Requests that [`watch`](Self::watch) reads the files, changed or not; returns whether there
    /// are any.
    pub(super) fn reload(&self) -> bool {
        self.requested.notify_one();
        self.files.is_some()
    }

    /// Reads the files whenever one has changed, until `stop`. If the files are invalid, the
    /// current keys stay, and the next change is read again.
    pub(super) async fn watch(&self, stop: &CancellationToken) {
        let Some(files) = &self.files else { return stop.cancelled().await };
        let mut last_seen = files.last_seen.clone();
        loop {
            let requested = tokio::select! {
                () = tokio::time::sleep(files.interval) => false,
                () = self.requested.notified() => true,
                () = stop.cancelled() => return,
            };
            let look = async {
                let paths = files.paths.clone();
                let now = tokio::task::spawn_blocking(move || fingerprints(&paths)).await;
                let Some(now) = now.ok().filter(|now| requested || *now != last_seen) else { return };
                last_seen = now;
                self.read_again().await;
            };
            // A file system that does not respond holds up no end.
            if stop.run_until_cancelled(look).await.is_none() {
                return;
            }
        }
    }

    /// Reads the files; returns whether their keys are in use now. Cancellation safe.
    pub(super) async fn read_again(&self) -> bool {
        let Some(files) = &self.files else { return false };
        let (config, may_be_short) = (files.config.clone(), files.may_be_short);
        let error = match tokio::task::spawn_blocking(move || read(&config, may_be_short)).await {
            Ok(Ok(keys)) => {
                tracing::info!(keys = keys.len(), "the keys for tokens were read again");
                self.current.store(Arc::new(keys));
                self.succeeded.set(1);
                return true;
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        self.succeeded.set(0);
        tracing::error!(
            error,
            "the keys for tokens cannot be read again: the previous ones stay in use; correct the file"
        );
        false
    }
}

fn read(config: &JwtConfig, may_be_short: bool) -> Result<Vec<Arc<VerificationKey>>, JwtSetupError> {
    if let Some(short) = material::short_secret(config)?.filter(|_| !may_be_short) {
        return Err(short);
    }
    material::keys(material::source(config)?, &config.algorithm)?.ok_or(JwtSetupError::Sources)
}

fn fingerprints(paths: &[PathBuf]) -> Vec<Option<Fingerprint>> {
    paths.iter().map(|path| Fingerprint::of(Path::new(path))).collect()
}
