//! What all configured bounds on memory come to, and how much memory there is.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::Config;

const MIB: usize = 1 << 20;

/// What a connection takes at most while its request is read or its stream is behind: its buffers
/// and its task. An idle stream takes far less.
const CONNECTION_BYTES: usize = 24 * 1024;

/// What the process takes by itself.
const OWN_BYTES: usize = 32 * MIB;

/// What the embedded bus takes beside its bounds: what is being read and stored, and its file.
const EMBEDDED_BYTES: usize = 48 * MIB;

/// The bounds on memory, and what there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryBudget {
    /// The sum of all configured bounds, in bytes.
    pub configured: usize,
    /// What the machine, or the control group of the process, has, in bytes; `None` where that is
    /// not known.
    pub available: Option<usize>,
}

impl MemoryBudget {
    /// Adds up what is configured, and looks what there is. Reads small files of `/proc` and
    /// `/sys`.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self { configured: configured(config), available: available(Path::new("/")) }
    }

    /// Whether the bounds together are more than there is.
    #[must_use]
    pub fn is_exceeded(&self) -> bool {
        self.available.is_some_and(|available| available < self.configured)
    }

    /// Both in MiB, the latter if it is known.
    #[must_use]
    pub fn mebibytes(&self) -> (usize, Option<usize>) {
        (self.configured / MIB, self.available.map(|available| available / MIB))
    }
}

fn configured(config: &Config) -> usize {
    let limits = &config.limits;
    let bus = if config.redis.is_configured() {
        // Each read of a log is in memory as a whole before a page is made of it.
        let read = config.replay.page_events.saturating_mul(limits.event_bytes).min(config.retention.bytes);
        // What is under way on the link for events, and on the one for commands.
        let answers = config.redis.reply_bytes.saturating_mul(2);
        config.replay.concurrent.saturating_mul(read).saturating_add(answers)
    } else {
        let embedded = &config.embedded;
        [embedded.log_bytes, embedded.clients_bytes, embedded.idempotency_bytes, EMBEDDED_BYTES]
            .into_iter()
            .fold(0, usize::saturating_add)
    };
    let connections = limits.connections.saturating_mul(CONNECTION_BYTES);
    let events = [limits.ring_bytes, limits.replay_bytes, limits.unsent_bytes];
    events.into_iter().chain([limits.body_bytes, bus, connections, OWN_BYTES]).fold(0, usize::saturating_add)
}

/// The least of what the machine has and what each control group around the process may have.
fn available(root: &Path) -> Option<usize> {
    let machine = fs::read_to_string(root.join("proc/meminfo")).ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
    });
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let bounds = groups.lines().flat_map(|line| files(root, line)).filter_map(|file| {
        // "max" where there is no bound.
        fs::read_to_string(file).ok()?.trim().parse().ok()
    });
    machine.into_iter().chain(bounds).min()
}

/// The files with the bound of a control group and those around it, of a line such as
/// `0::/system.slice/tidings.service`.
fn files(root: &Path, line: &str) -> Vec<PathBuf> {
    let mut parts = line.splitn(3, ':');
    let (_, Some(controllers), Some(group)) = (parts.next(), parts.next(), parts.next()) else {
        return Vec::new();
    };
    let (base, file) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        "memory" => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return Vec::new(),
    };
    let group = Path::new(group.trim_start_matches('/'));
    group.ancestors().map(|group| root.join(base).join(group).join(file)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    fn config(settings: &[(&str, &str)]) -> Config {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let sources = Sources { environment: settings.iter().map(pair).collect(), ..Sources::default() };
        sources.load().unwrap().config
    }

    #[test]
    fn sum_grows_with_each_bound() {
        let before = configured(&config(&[]));
        for key in [
            "LIMITS__RING_BYTES",
            "LIMITS__REPLAY_BYTES",
            "LIMITS__UNSENT_BYTES",
            "LIMITS__BODY_BYTES",
            "EMBEDDED__LOG_BYTES",
        ] {
            let name = format!("TIDINGS__{key}");
            let more = configured(&config(&[(&name, "4000000000")]));
            assert!(more > before + 2_000_000_000, "{key}");
        }
        let more = configured(&config(&[("TIDINGS__LIMITS__CONNECTIONS", "100000")]));
        assert_eq!(more, before + 84_000 * CONNECTION_BYTES);
        let redis = ("TIDINGS__REDIS__URL", "redis://host");
        let before = configured(&config(&[redis]));
        let more = configured(&config(&[redis, ("TIDINGS__REDIS__REPLY_BYTES", "133554432")]));
        assert_eq!(more, before + 200_000_000);
    }

    #[test]
    fn memory_is_the_least_of_machine_and_groups() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!(available(root.path()), None);
        write("proc/meminfo", "MemTotal:        2048 kB\nMemFree: 1 kB\n");
        assert_eq!(available(root.path()), Some(2048 * 1024));
        write("proc/self/cgroup", "5:cpu:/x\n4:memory:/y\n0::/pods/one\n");
        write("sys/fs/cgroup/pods/one/memory.max", "max\n");
        assert_eq!(available(root.path()), Some(2048 * 1024));
        write("sys/fs/cgroup/pods/memory.max", "1000000\n");
        assert_eq!(available(root.path()), Some(1_000_000));
        write("sys/fs/cgroup/memory/y/memory.limit_in_bytes", "500000\n");
        assert_eq!(available(root.path()), Some(500_000));
    }
}
