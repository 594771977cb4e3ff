//! The certificate and key of the public listener: reading them, and reading them again when they
//! change.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use x509_cert::der::Decode as _;

use tidings_metrics::Metrics;
use tidings_settings::{Fingerprint, read_regular_file};

/// From when on the log warns that a certificate ends.
const WARN_BEFORE: Duration = Duration::from_secs(14 * 86_400);

/// The interval of these warnings.
const WARN_INTERVAL: Duration = Duration::from_secs(86_400);

/// The largest file that is read as a certificate or key, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The files of a certificate and its key.
#[derive(Debug, Clone)]
pub struct PairFiles {
    /// The certificate, and behind it those that lead to a known authority, in PEM.
    pub certificate: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
}

/// A certificate that belongs to its key.
#[derive(Debug)]
pub struct Pair {
    certified: Arc<CertifiedKey>,
    /// The begin of the certificate's validity; `None` if it cannot be read.
    pub not_before: Option<SystemTime>,
    /// The end of the certificate's validity; `None` if it cannot be read.
    pub not_after: Option<SystemTime>,
}

/// Why there is no certificate to be had.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A file is something else.
    #[error("{}: there is no {wanted} in it, in PEM", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The expected content.
        wanted: &'static str,
    },
    /// The two do not go together, or cannot be used.
    #[error("{} and {}: {reason}", certificate.display(), key.display())]
    Unfit {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The mistake.
        reason: String,
    },
}

/// The pair that new connections get, replaced when its files change.
pub struct Certificates {
    files: PairFiles,
    /// The state of the files before they were read for the first time.
    seen: [Option<Fingerprint>; 2],
    current: Resolver,
    reload_requested: Notify,
    metrics: Arc<Metrics>,
}

/// Hands the current certificate to a handshake.
#[derive(Debug, Clone)]
pub(super) struct Resolver(Arc<ArcSwap<CertifiedKey>>);

impl PairFiles {
    /// Reads the pair. Blocks.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] names the file and the mistake.
    pub fn read(&self) -> Result<Pair, CertificateError> {
        let missing = |path: &Path, wanted| CertificateError::Missing { path: path.to_owned(), wanted };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&contents(&self.certificate)?)
            .collect::<Result<_, _>>()
            .map_err(|_| missing(&self.certificate, "certificate"))?;
        let Some(first) = chain.first() else { return Err(missing(&self.certificate, "certificate")) };
        let (not_before, not_after) = validity(first).unzip();
        let key = PrivateKeyDer::from_pem_slice(&contents(&self.key)?)
            .map_err(|_| missing(&self.key, "private key"))?;
        let certified = CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| {
            CertificateError::Unfit {
                certificate: self.certificate.clone(),
                key: self.key.clone(),
                reason: match error {
                    rustls::Error::InconsistentKeys(_) => {
                        "the key is not that of the first certificate".to_owned()
                    }
                    other => other.to_string(),
                },
            }
        })?;
        Ok(Pair { certified: Arc::new(certified), not_before, not_after })
    }

    fn prints(&self) -> [Option<Fingerprint>; 2] {
        [&self.certificate, &self.key].map(|path| Fingerprint::of(path))
    }
}

impl Certificates {
    /// Reads the pair for the first time. Cancellation safe.
    ///
    /// # Errors
    ///
    /// [`CertificateError`].
    pub async fn open(files: PairFiles, metrics: Arc<Metrics>) -> Result<Arc<Self>, CertificateError> {
        // First, so that a write before the watch begins counts as a change.
        let seen = prints(files.clone()).await;
        let pair = read(files.clone()).await?;
        note(&pair, &metrics);
        let current = Resolver(Arc::new(ArcSwap::new(pair.certified)));
        Ok(Arc::new(Self { files, seen, current, reload_requested: Notify::new(), metrics }))
    }

    pub(super) fn resolver(&self) -> Resolver {
        self.current.clone()
    }

    /// Reads the files again, changed or not.
    pub fn reload(&self) {
        self.reload_requested.notify_one();
    }

    /// Looks at the files every `interval`, and reads them when they have changed, until `stop`. A
    /// pair that is no good leaves the current one in place, and is looked at again when it
    /// changes once more.
    pub async fn watch(self: Arc<Self>, interval: Duration, stop: CancellationToken) {
        let mut seen = self.seen;
        let mut warned: Option<Instant> = None;
        loop {
            let reload_requested = tokio::select! {
                () = tokio::time::sleep(interval) => false,
                () = self.reload_requested.notified() => true,
                () = stop.cancelled() => return,
            };
            self.warn_of_end(&mut warned);
            let look = async {
                // Taken before the read: a write meanwhile counts as a further change.
                let now = prints(self.files.clone()).await;
                if reload_requested || now != seen {
                    seen = now;
                    if self.replace().await {
                        warned = None;
                    }
                }
            };
            // A file system that does not respond holds up no end.
            if stop.run_until_cancelled(look).await.is_none() {
                return;
            }
        }
    }

    async fn replace(&self) -> bool {
        match read(self.files.clone()).await {
            Ok(pair) => {
                note(&pair, &self.metrics);
                let not_after = pair.not_after.and_then(rfc3339);
                tracing::info!(not_after, "the certificate was read again: new connections get it");
                self.current.0.store(pair.certified);
                self.metrics.certificate_read.set(1);
                true
            }
            Err(error) => {
                self.metrics.certificate_read.set(0);
                tracing::error!(%error, "the certificate cannot be read again: going on with the one before");
                false
            }
        }
    }

    fn warn_of_end(&self, warned: &mut Option<Instant>) {
        let Ok(ends) = u64::try_from(self.metrics.tls_not_after.get()) else { return };
        let ends = SystemTime::UNIX_EPOCH + Duration::from_secs(ends);
        let left = ends.duration_since(SystemTime::now()).unwrap_or_default();
        let is_due = warned.is_none_or(|then| then.elapsed() >= WARN_INTERVAL);
        if ends > SystemTime::UNIX_EPOCH && left < WARN_BEFORE && is_due {
            *warned = Some(Instant::now());
            let not_after = rfc3339(ends);
            let days = left.as_secs() / 86_400;
            tracing::warn!(not_after, days, "the certificate ends soon, or has ended: replace it");
        }
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

async fn read(files: PairFiles) -> Result<Pair, CertificateError> {
    let path = files.certificate.clone();
    tokio::task::spawn_blocking(move || files.read())
        .await
        .unwrap_or_else(|error| Err(CertificateError::Unreadable { path, source: io::Error::other(error) }))
}

async fn prints(files: PairFiles) -> [Option<Fingerprint>; 2] {
    tokio::task::spawn_blocking(move || files.prints()).await.unwrap_or_default()
}

fn contents(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let unreadable = |source| CertificateError::Unreadable { path: path.to_owned(), source };
    read_regular_file(path, FILE_BYTES_MAX).map_err(unreadable)
}

/// The begin and end of a certificate's validity (RFC 5280 section 4.1.2.5).
fn validity(certificate: &CertificateDer<'_>) -> Option<(SystemTime, SystemTime)> {
    let validity = x509_cert::Certificate::from_der(certificate).ok()?.tbs_certificate.validity;
    let time = |since: Duration| SystemTime::UNIX_EPOCH + since;
    Some((time(validity.not_before.to_unix_duration()), time(validity.not_after.to_unix_duration())))
}

fn note(pair: &Pair, metrics: &Metrics) {
    let seconds = |time: Option<SystemTime>| {
        let since = time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        since.and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or(0)
    };
    metrics.tls_not_before.set(seconds(pair.not_before));
    metrics.tls_not_after.set(seconds(pair.not_after));
}

fn rfc3339(time: SystemTime) -> Option<String> {
    jiff::Timestamp::try_from(time).ok().map(|time| time.to_string())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn make(files: &PairFiles, days: &str) {
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        openssl.args(["-subj", "/CN=localhost", "-days", days, "-keyout"]).arg(&files.key);
        let made = openssl.arg("-out").arg(&files.certificate).output().unwrap();
        assert!(made.status.success(), "{made:?}");
    }

    #[tokio::test]
    async fn pair_that_changes_before_the_watch_begins_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        let files = PairFiles { certificate: file("cert.pem"), key: file("key.pem") };
        make(&files, "2");
        let metrics = Arc::new(Metrics::new());
        let certificates = Certificates::open(files.clone(), Arc::clone(&metrics)).await.unwrap();
        let first = metrics.tls_not_after.get();
        make(&files, "4");
        let stop = CancellationToken::new();
        let watch = tokio::spawn(certificates.watch(Duration::from_millis(20), stop.clone()));
        let deadline = Instant::now() + Duration::from_secs(15);
        while metrics.tls_not_after.get() == first {
            assert!(Instant::now() < deadline, "the second pair is not read");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let lifetime = metrics.tls_not_after.get() - metrics.tls_not_before.get();
        assert_eq!((lifetime, metrics.certificate_read.get()), (4 * 86_400, 1));
        std::fs::write(&files.certificate, "no certificate").unwrap();
        while metrics.certificate_read.get() == 1 {
            assert!(Instant::now() < deadline, "the fault is not shown");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stop.cancel();
        watch.await.unwrap();
    }
}
