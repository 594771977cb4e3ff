//! What all configured bounds on memory come to, and how much memory there is.

use std::fs;
use std::path::{Path, PathBuf};

use crate::admin::console::CONSOLE_READS_MAX;
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
    let console = CONSOLE_READS_MAX.saturating_mul(limits.event_bytes);
    let connections = limits.connections.saturating_mul(CONNECTION_BYTES);
    let events = [limits.ring_bytes, limits.replay_bytes, limits.unsent_bytes];
    events
        .into_iter()
        .chain([limits.body_bytes, bus, console, connections, OWN_BYTES])
        .fold(0, usize::saturating_add)
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
        // Version 1, where a hierarchy may have several controllers.
        list if list.split(',').any(|name| name == "memory") => {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let group = Path::new(group.trim_start_matches('/'));
    group.ancestors().map(|group| root.join(base).join(group).join(file)).collect()
}

#[cfg(test)]
mod tests;
