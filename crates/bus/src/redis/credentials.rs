//! The files that prove a node's right to connect: password, certificate and key. They are read for each new connection, so
//! a rotation needs no restart, and a connection that was refused is tried again with what the files hold by then.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, TlsCertificates};

use super::connect::{ConnectError, describe};
use crate::settings::{RedisConfig, RedisTlsConfig};
use tidings_settings::MASK;

/// The largest file that is read, in bytes: far more than any bundle of authorities.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Bound on reading all of them.
const READ_TIMEOUT: Duration = Duration::from_secs(3);

/// A file cannot be used. Nothing of what it holds is ever in the message.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{key}: {}: {reason}", path.display())]
pub struct CredentialsError {
    key: &'static str,
    path: PathBuf,
    reason: String,
}

/// The files for one kind of server.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    /// With the key of the configuration that names it.
    password: Option<(&'static str, PathBuf)>,
    tls: RedisTlsConfig,
}

impl Credentials {
    /// The files for the server that carries the events.
    pub(super) fn of_server(config: &RedisConfig) -> Self {
        Self::new("redis.password_file", config.password_file.as_ref(), config)
    }

    /// The files for the Sentinels that watch it.
    pub(super) fn of_sentinels(config: &RedisConfig) -> Self {
        Self::new("redis.sentinel.password_file", config.sentinel.password_file.as_ref(), config)
    }

    fn new(key: &'static str, password: Option<&PathBuf>, config: &RedisConfig) -> Self {
        Self { password: password.map(|path| (key, path.clone())), tls: config.tls.clone() }
    }

    /// A client for the same server, with what the files hold now.
    pub(super) async fn client(&self, client: &Client) -> Result<Client, ConnectError> {
        let is_tls = matches!(client.get_connection_info().addr(), ConnectionAddr::TcpTls { .. });
        let has_tls_files = is_tls && self.tls.is_set();
        if self.password.is_none() && !has_tls_files {
            return Ok(client.clone());
        }
        let (credentials, info) = (self.clone(), client.get_connection_info().clone());
        let read = tokio::task::spawn_blocking(move || credentials.read(info, has_tls_files));
        let late = |_| {
            let reason = "the files of passwords and certificates cannot be read in time";
            Err(ConnectError::Server(reason.to_owned()))
        };
        tokio::time::timeout(READ_TIMEOUT, read).await.map_or_else(late, |read| {
            read.unwrap_or_else(|error| Err(ConnectError::Server(error.to_string())))
        })
    }

    /// Blocks.
    fn read(&self, mut info: ConnectionInfo, has_tls_files: bool) -> Result<Client, ConnectError> {
        if let Some((key, path)) = &self.password {
            let settings = info.redis_settings().clone().set_password(password(key, path)?);
            info = info.set_redis_settings(settings);
        }
        if !has_tls_files {
            return Ok(Client::open(info)?);
        }
        let tls = &self.tls;
        let root_cert = tls.ca.as_ref().map(|path| pem("redis.tls.ca", path, "CERTIFICATE")).transpose()?;
        let client_tls = match (&tls.cert, &tls.key) {
            (Some(cert), Some(key)) => Some(ClientTlsConfig {
                client_cert: pem("redis.tls.cert", cert, "CERTIFICATE")?,
                client_key: pem("redis.tls.key", key, "PRIVATE KEY")?,
            }),
            _ => None,
        };
        Client::build_with_tls(info, TlsCertificates { client_tls, root_cert })
            .map_err(|error| ConnectError::Server(format!("[redis.tls]: {}", describe(&error))))
    }
}

/// A password; editors end a file with a line break, which is no part of it.
fn password(key: &'static str, path: &Path) -> Result<String, CredentialsError> {
    let unfit = |reason: &str| CredentialsError { key, path: path.to_owned(), reason: reason.to_owned() };
    let text = String::from_utf8(read(key, path)?).map_err(|_| unfit("it holds no text in UTF-8"))?;
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
    let reason = format!("there is no {} in it, in PEM", label.to_ascii_lowercase());
    Err(CredentialsError { key, path: path.to_owned(), reason })
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, CredentialsError> {
    let unreadable = |reason: String| CredentialsError { key, path: path.to_owned(), reason };
    // Another end of a pipe may never write; each try would hold a thread.
    if std::fs::metadata(path).is_ok_and(|file| !file.is_file()) {
        return Err(unreadable("it is no regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(unreadable("it is larger than 1 MiB".to_owned()));
    }
    Ok(bytes)
}
