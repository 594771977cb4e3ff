//! A trial of the addresses of a configuration, for `tidings check`.

use std::io;

use super::settings;
use super::start_error::StartError;
use crate::config::Config;
use crate::files::FileBudget;
use tidings_embedded as embedded;

/// The outcome for one address.
#[derive(Debug)]
pub struct AddressTrial {
    /// The key of the address.
    pub key: &'static str,
    /// The address as it is configured.
    pub address: String,
    /// The error with which a node would not start.
    pub outcome: Result<(), StartError>,
}

impl AddressTrial {
    /// Whether another socket has the address.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        match &self.outcome {
            Err(
                StartError::Bind { source: error, .. }
                | StartError::Embedded(embedded::BindError::Io { error, .. }),
            ) => error.kind() == io::ErrorKind::AddrInUse,
            Ok(()) | Err(_) => false,
        }
    }
}

/// Binds each address of a configuration as a node does, and closes it again.
pub async fn try_addresses(config: &Config, files: &FileBudget) -> Vec<AddressTrial> {
    let mut trials = Vec::new();
    for listener in [settings::public(config, files).listener, settings::admin(config, files)] {
        let outcome = listener.open(Vec::new()).await.map(drop);
        trials.push(AddressTrial { key: listener.key, address: listener.address.to_string(), outcome });
    }
    if let Some(address) = config.embedded.listen.filter(|_| !config.redis.is_configured()) {
        let outcome = embedded::bind(address, &config.embedded.password).await.map(drop);
        let outcome = outcome.map_err(StartError::Embedded);
        trials.push(AddressTrial { key: "embedded.listen", address: address.to_string(), outcome });
    }
    trials
}
