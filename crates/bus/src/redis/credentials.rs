//! The files that authenticate a node at Redis: password, certificate and key. A node reads them
//! for each new connection. So a rotation needs no restart: after a rejected login, the next
//! attempt uses the new contents.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redis::{ConnectionAddr, ConnectionInfo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::connect::ConnectError;
use crate::settings::{RedisConfig, RedisTlsConfig};
use tidings_settings::{MASK, SecretText, read_regular_file};

/// Limits a file, in bytes: far more than any bundle of authorities.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Limits the time to read all files.
const READ_TIMEOUT: Duration = Duration::from_secs(3);

/// Reports that a file is not usable. The message never has contents of the file.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{key}: {}: {reason}", path.display())]
pub struct CredentialsError {
    key: &'static str,
    path: PathBuf,
    reason: String,
}

/// The files for one kind of server.
#[derive(Debug, Clone)]
pub(super) struct RedisCredentials {
    /// With the key of the configuration that names the file.
    password: Option<(&'static str, PathBuf)>,
    tls: RedisTlsConfig,
    /// The password that replaces that of the address; all clones share it.
    replaced: Arc<Mutex<Option<SecretText>>>,
}

impl RedisCredentials {
    /// Returns the files for the server that is the bus.
    pub(super) fn of_server(config: &RedisConfig) -> Self {
        Self::new("redis.password_file", config.password_file.as_ref(), config)
    }

    /// Returns the files for the Sentinels.
    pub(super) fn of_sentinels(config: &RedisConfig) -> Self {
        Self::new("redis.sentinel.password_file", config.sentinel.password_file.as_ref(), config)
    }

    fn new(key: &'static str, password: Option<&PathBuf>, config: &RedisConfig) -> Self {
        let password = password.map(|path| (key, path.clone()));
        Self { password, tls: config.tls.clone(), replaced: Arc::default() }
    }

    /// Replaces the password of the address, for new connections. A password in a file has
    /// priority.
    pub(super) fn set_password(&self, password: SecretText) {
        *self.replaced.lock() = Some(password);
    }

    /// Returns the address with the password that replaces its own, if there is one.
    fn with_replaced_password(&self, info: &ConnectionInfo) -> ConnectionInfo {
        match &*self.replaced.lock() {
            Some(password) => {
                let settings = info.redis_settings().clone().set_password(password.reveal());
                info.clone().set_redis_settings(settings)
            }
            None => info.clone(),
        }
    }

    /// Returns the login for a new connection, from the current contents of the files.
    pub(super) async fn login(&self, info: &ConnectionInfo) -> Result<Login, ConnectError> {
        let is_tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        if self.password.is_none() && !is_tls {
            return Ok(Login { info: self.with_replaced_password(info), tls: None });
        }
        let (credentials, info) = (self.clone(), self.with_replaced_password(info));
        let read = tokio::task::spawn_blocking(move || credentials.read(info));
        let late = |_| {
            let reason =
                "the files of passwords and certificates cannot be read within 3 s: check their disk";
            Err(ConnectError::Server(reason.to_owned()))
        };
        tokio::time::timeout(READ_TIMEOUT, read).await.map_or_else(late, |read| {
            read.unwrap_or_else(|error| Err(ConnectError::Server(error.to_string())))
        })
    }

    /// Reads the files. Blocks.
    fn read(&self, mut info: ConnectionInfo) -> Result<Login, ConnectError> {
        if let Some((key, path)) = &self.password {
            let settings = info.redis_settings().clone().set_password(password(key, path)?);
            info = info.set_redis_settings(settings);
        }
        let tls = match info.addr() {
            ConnectionAddr::TcpTls { insecure: true, .. } => {
                let reason = "an address with #insecure is not supported: set redis.tls.ca to the authority";
                return Err(ConnectError::Server(reason.to_owned()));
            }
            ConnectionAddr::TcpTls { .. } => Some(Arc::new(self.tls_config()?)),
            _ => None,
        };
        Ok(Login { info, tls })
    }

    /// Reads the files for TLS. Blocks.
    fn tls_config(&self) -> Result<ClientConfig, ConnectError> {
        let tls = &self.tls;
        let unfit = |reason: String| ConnectError::Server(format!("[redis.tls]: {reason}"));
        let mut roots = RootCertStore::empty();
        match &tls.ca {
            Some(path) => {
                for certificate in certificates("redis.tls.ca", path)? {
                    roots.add(certificate).map_err(|error| unfit(error.to_string()))?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                if roots.is_empty() {
                    return Err(unfit("the system trusts no authorities: set redis.tls.ca".to_owned()));
                }
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| unfit(error.to_string()))?
            .with_root_certificates(roots);
        let (Some(certificate), Some(key)) = (&tls.cert, &tls.key) else {
            return Ok(config.with_no_client_auth());
        };
        let chain = certificates("redis.tls.cert", certificate)?;
        let pem = pem("redis.tls.key", key, "PRIVATE KEY")?;
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| unfit(error.to_string()))?;
        config.with_client_auth_cert(chain, key).map_err(|error| unfit(error.to_string()))
    }
}

/// The data for a connection to a server.
#[derive(Debug)]
pub(super) struct Login {
    /// The address, user, password and settings of the socket.
    pub(super) info: ConnectionInfo,
    /// The configuration of TLS, for an address with TLS.
    pub(super) tls: Option<Arc<ClientConfig>>,
}

/// Reads the certificates in a file.
fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let pem = pem(key, path, "CERTIFICATE")?;
    CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| ConnectError::Server(format!("[redis.tls]: {}: {error}", path.display())))
}

/// Reads a password. The line break at the end of the file is not part of it, because editors add
/// one.
fn password(key: &'static str, path: &Path) -> Result<String, CredentialsError> {
    let unfit = |reason: &str| CredentialsError { key, path: path.to_owned(), reason: reason.to_owned() };
    let text = String::from_utf8(read(key, path)?).map_err(|_| unfit("it is not UTF-8 text"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    match line.strip_suffix('\r').unwrap_or(line) {
        "" => Err(unfit("it is empty")),
        MASK => Err(unfit("it holds ***, which `tidings config` shows in the place of a secret")),
        password => Ok(password.to_owned()),
    }
}

fn pem(key: &'static str, path: &Path, label: &str) -> Result<Vec<u8>, CredentialsError> {
    let bytes = read(key, path)?;
    let end = format!("{label}-----");
    if bytes.windows(end.len()).any(|window| window == end.as_bytes()) {
        return Ok(bytes);
    }
    let reason = format!("it has no {} in PEM", label.to_ascii_lowercase());
    Err(CredentialsError { key, path: path.to_owned(), reason })
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, CredentialsError> {
    let unreadable = |reason: String| CredentialsError { key, path: path.to_owned(), reason };
    read_regular_file(path, FILE_BYTES_MAX).map_err(|error| unreadable(error.to_string()))
}
