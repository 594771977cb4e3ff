//! The limit of open files, and the connections of each kind that it allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{AuthMethod, Config, Writer};

/// Connections at a time on the operations listener.
const ADMIN_CONNECTIONS_MAX: usize = 256;

/// Connections beyond the bounds of the public listener that may get a response at a time.
const SURPLUS_CONNECTIONS_MAX: usize = 256;

/// Files of the process itself: listeners, polls, links to Redis and what they resolve,
/// certificates, keys, logs.
const OWN_FILES: usize = 64;

/// Files of each thread of the engine, at most.
const SHARD_FILES: usize = 3;

/// How many connections of each kind may be open at a time, so that none takes another's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileBudget {
    /// Files that the process may have open; `None`: any number.
    pub limit: Option<usize>,
    /// Files that all configured bounds together need.
    pub wanted: usize,
    /// Connections on the public listener.
    pub connections: usize,
    /// Overflow connections there, which get a response and are closed.
    pub surplus: usize,
    /// Connections on the operations listener.
    pub admin: usize,
    /// Redis clients of the embedded bus.
    pub embedded_clients: usize,
}

/// The limit of open files allows no connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this process may have {limit} open files, which allows no connections: raise the limit to {wanted} \
     (`ulimit -n`, LimitNOFILE= of systemd, ulimits of a container)"
)]
pub struct TooFewFiles {
    limit: usize,
    wanted: usize,
}

/// Raises the limit of open files of this process as far as it may, and returns what holds then;
/// `None`: any number.
#[must_use]
pub fn raise_limit() -> Option<usize> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_err() {
        // Some systems have a bound below an unlimited maximum, and say no more than that.
        return current.map(saturating);
    }
    maximum.map(saturating)
}

fn saturating(files: u64) -> usize {
    usize::try_from(files).unwrap_or(usize::MAX)
}

impl FileBudget {
    /// The configured bounds, or a part of them within `limit`. The admin listener and Redis
    /// clients keep their share.
    ///
    /// # Errors
    ///
    /// [`TooFewFiles`], if the limit allows no connection.
    pub fn new(config: &Config, limit: Option<usize>) -> Result<Self, TooFewFiles> {
        let own = own_files(config);
        let has_clients = !config.redis.is_configured() && config.embedded.listen.is_some();
        let whole = Self {
            limit,
            wanted: 0,
            connections: config.limits.connections,
            surplus: SURPLUS_CONNECTIONS_MAX,
            admin: ADMIN_CONNECTIONS_MAX,
            embedded_clients: if has_clients { config.embedded.clients } else { 0 },
        };
        let wanted = own.saturating_add(whole.connections).saturating_add(whole.beside_connections());
        let whole = Self { wanted, ..whole };
        let Some(limit) = limit.filter(|&limit| limit < wanted) else { return Ok(whole) };
        let cut = Self {
            surplus: whole.surplus.min(limit / 16),
            admin: whole.admin.min(limit / 16),
            embedded_clients: whole.embedded_clients.min(limit / 4),
            ..whole
        };
        match limit.saturating_sub(own).saturating_sub(cut.beside_connections()) {
            0 => Err(TooFewFiles { limit, wanted }),
            left => Ok(Self { connections: whole.connections.min(left), ..cut }),
        }
    }

    /// Whether the limit lowers a configured bound.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.limit.is_some_and(|limit| limit < self.wanted)
    }

    fn beside_connections(&self) -> usize {
        self.surplus.saturating_add(self.admin).saturating_add(self.embedded_clients)
    }
}

/// Files that are no connections of clients.
fn own_files(config: &Config) -> usize {
    let shards = match config.delivery.writer {
        Writer::Handoff => config.delivery.shards().saturating_mul(SHARD_FILES),
        Writer::Body => 0,
    };
    let asking = if config.auth.mode.uses(AuthMethod::Forward) { config.auth.forward.concurrent } else { 0 };
    OWN_FILES.saturating_add(shards).saturating_add(asking)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    fn budget(limit: Option<usize>) -> Result<FileBudget, TooFewFiles> {
        let sources = Sources {
            environment: vec![("TIDINGS__DELIVERY__SHARDS".to_owned(), "1".to_owned())],
            ..Sources::default()
        };
        FileBudget::new(&sources.load().unwrap().config, limit)
    }

    #[test]
    fn enough_files_leave_every_bound_as_configured() {
        for limit in [None, Some(1_048_576), Some(16_000 + 256 + 256 + 1_000 + 67)] {
            let budget = budget(limit).unwrap();
            assert!(!budget.is_cut(), "{budget:?}");
            assert_eq!((budget.connections, budget.surplus, budget.admin), (16_000, 256, 256));
            assert_eq!(budget.embedded_clients, 1_000);
        }
    }

    #[test]
    fn all_connections_together_fit_into_the_limit() {
        for limit in [150, 256, 1_024, 4_096, 17_000] {
            let budget = budget(Some(limit)).unwrap();
            assert!(budget.is_cut(), "{budget:?}");
            let sum = budget.connections + budget.beside_connections() + 67;
            assert!(sum <= limit && budget.admin > 0 && budget.embedded_clients > 0, "{budget:?}");
        }
    }

    #[test]
    fn too_low_a_limit_names_the_needed_one() {
        let error = budget(Some(64)).unwrap_err().to_string();
        assert!(error.contains("64 open files") && error.contains("17579"), "{error}");
    }
}
