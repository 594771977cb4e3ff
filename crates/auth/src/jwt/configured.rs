//! The keys that a configuration gives itself or by files: read at the start, and again when a file has changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jsonwebtoken::Algorithm;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::key::VerificationKey;
use super::material::{self, JwtSetupError};
use crate::JwtConfig;
use crate::jwt::config::KeySource;
use tidings_settings::Fingerprint;

/// The keys of a configuration that fetches none.
#[derive(Debug)]
pub(super) struct ConfiguredKeys {
    /// Never empty.
    current: ArcSwap<Vec<Arc<VerificationKey>>>,
    /// `None` where the configuration holds the keys itself, or names what is no regular file.
    files: Option<Box<KeyFiles>>,
    asked: Notify,
}

#[derive(Debug)]
struct KeyFiles {
    config: JwtConfig,
    paths: Vec<PathBuf>,
    /// How the files were before they were read at the start.
    seen: Vec<Option<Fingerprint>>,
    /// A secret at the start was short, which the start allows on this machine alone.
    may_be_short: bool,
    interval: Duration,
}

impl ConfiguredKeys {
    /// Reads the keys; `None` where the configuration names addresses. Reads files and thus blocks.
    pub(super) fn open(config: &JwtConfig) -> Result<Option<Self>, JwtSetupError> {
        let source = material::source(config)?;
        let paths: Vec<PathBuf> = match source {
            KeySource::SecretFile(paths) | KeySource::PublicKeyFile(paths) => {
                paths.iter().map(PathBuf::from).collect()
            }
            KeySource::Secret(..) | KeySource::PublicKey(_) | KeySource::Jwks(_) => Vec::new(),
        };
        // Before the files are read: what is written meanwhile shows as a change.
        let seen = fingerprints(&paths);
        let Some(keys) = material::keys(source, &config.algorithm)? else { return Ok(None) };
        let may_be_short = material::short_secret(config)?.is_some();
        let interval = config.key_reload_seconds.duration();
        // A pipe, as a shell makes one for `<(…)`, is read once: at another time its other end may never write.
        let is_regular = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|file| file.is_file());
        let files = (!paths.is_empty() && paths.iter().all(is_regular))
            .then(|| Box::new(KeyFiles { config: config.clone(), paths, seen, may_be_short, interval }));
        Ok(Some(Self { current: ArcSwap::from_pointee(keys), files, asked: Notify::new() }))
    }

    /// The keys that may have signed a token of this algorithm; never none, as they suit each configured algorithm.
    pub(super) fn candidates(&self, algorithm: Algorithm) -> Vec<Arc<VerificationKey>> {
        self.current.load().iter().filter(|key| key.suits(algorithm)).map(Arc::clone).collect()
    }

    /// Has the files read again, whether or not they have changed; returns whether there are any.
    pub(super) fn reload(&self) -> bool {
        self.asked.notify_one();
        self.files.is_some()
    }

    /// Looks at the files again and again, and reads them when one has changed, until `stop`. Files that are no good leave the
    /// current keys in place, and are read again when they change once more.
    pub(super) async fn watch(&self, stop: &CancellationToken) {
        let Some(files) = &self.files else { return stop.cancelled().await };
        let mut seen = files.seen.clone();
        loop {
            let asked = tokio::select! {
                () = tokio::time::sleep(files.interval) => false,
                () = self.asked.notified() => true,
                () = stop.cancelled() => return,
            };
            let paths = files.paths.clone();
            let Ok(now) = tokio::task::spawn_blocking(move || fingerprints(&paths)).await else { continue };
            if !asked && now == seen {
                continue;
            }
            seen = now;
            self.read_again().await;
        }
    }

    /// Reads the files; returns whether their keys count now. Cancellation safe.
    pub(super) async fn read_again(&self) -> bool {
        let Some(files) = &self.files else { return false };
        let (config, may_be_short) = (files.config.clone(), files.may_be_short);
        let error = match tokio::task::spawn_blocking(move || read(&config, may_be_short)).await {
            Ok(Ok(keys)) => {
                tracing::info!(keys = keys.len(), "the keys for tokens were read again");
                self.current.store(Arc::new(keys));
                return true;
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::error!(
            error,
            "the keys for tokens cannot be read again: the ones before count; correct the file"
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
