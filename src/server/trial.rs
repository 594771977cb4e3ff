//! A trial of the addresses of a configuration, for `tidings check`.

use std::io;

use super::settings;
use super::start_error::StartError;
use crate::config::Config;
use crate::files::FileBudget;
use tidings_embedded as embedded;
use tidings_settings::ListenAddress;

/// The outcome for one address.
#[derive(Debug)]
pub struct AddressTrial {
    /// The key of the address.
    pub key: &'static str,
    /// The address as it is configured.
    pub address: String,
    /// The error with which a node would not start.
    pub outcome: Result<(), StartError>,
    /// The key of an earlier address that is the same one.
    pub same_as: Option<&'static str>,
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

/// Binds each address of a configuration as a node does, and then closes all of them.
pub async fn try_addresses(config: &Config, files: &FileBudget) -> Vec<AddressTrial> {
    let (mut trials, mut open) = (TrialList::default(), Vec::new());
    for listener in [settings::public(config, files).listener, settings::admin(config, files)] {
        let outcome = listener.open(Vec::new()).await.map(|sockets| open.push(sockets));
        trials.add(listener.key, listener.address, outcome);
    }
    let address = config.embedded.listen.filter(|_| !config.redis.is_configured());
    let _embedded = match address {
        None => None,
        Some(address) => {
            let bound = embedded::bind(address, &config.embedded.password).await;
            let (bound, outcome) = match bound {
                Ok(bound) => (Some(bound), Ok(())),
                Err(error) => (None, Err(StartError::Embedded(error))),
            };
            trials.add("embedded.listen", ListenAddress::Socket(address), outcome);
            bound
        }
    };
    trials.trials
}

/// The trials, with the addresses that are bound.
#[derive(Debug, Default)]
struct TrialList {
    trials: Vec<AddressTrial>,
    bound: Vec<(&'static str, ListenAddress)>,
}

impl TrialList {
    fn add(&mut self, key: &'static str, address: ListenAddress, outcome: Result<(), StartError>) {
        let same_as = self.bound.iter().find(|(_, bound)| is_same(bound, &address)).map(|(key, _)| *key);
        let shown = address.to_string();
        if outcome.is_ok() {
            self.bound.push((key, address));
        }
        self.trials.push(AddressTrial { key, address: shown, outcome, same_as });
    }
}

/// Whether two sockets with these addresses exclude each other. The rules of the configuration find
/// equal ones.
fn is_same(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one, other) {
        (ListenAddress::Socket(one), ListenAddress::Socket(other)) => {
            let is_either_any = one.ip().is_unspecified() || other.ip().is_unspecified();
            one.port() == other.port() && one.port() != 0 && (one.ip() == other.ip() || is_either_any)
        }
        (ListenAddress::Host { port, .. }, ListenAddress::Socket(address))
        | (ListenAddress::Socket(address), ListenAddress::Host { port, .. }) => {
            *port == address.port() && *port != 0
        }
        (ListenAddress::Host { port, .. }, ListenAddress::Host { port: other, .. }) => {
            port == other && *port != 0
        }
        (ListenAddress::Unix(_), _) | (_, ListenAddress::Unix(_)) => false,
    }
}
