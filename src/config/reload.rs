//! The settings that a running node replaces when it reads its configuration again, and those that
//! need a restart.

use super::Config;
use super::load::Loaded;

/// The moment at which a changed setting takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReloadClass {
    /// At the next SIGHUP.
    OnReload,
    /// At the next start.
    OnRestart,
}

use ReloadClass::{OnReload, OnRestart};

/// The class of each key, or of all keys of a section: an entry that ends with a dot. A key has one
/// entry.
const CLASSES: &[(&str, ReloadClass)] = &[
    ("server.", OnRestart),
    ("http2.", OnRestart),
    ("admin.", OnRestart),
    ("redis.", OnRestart),
    ("embedded.", OnRestart),
    ("sse.", OnRestart),
    ("delivery.", OnRestart),
    ("ring.", OnRestart),
    ("retention.", OnRestart),
    ("workspaces.", OnRestart),
    ("schemas.", OnRestart),
    ("replay.", OnRestart),
    // The memory of a node is reserved, and its limits shared out, at the start.
    ("limits.event_bytes", OnRestart),
    ("limits.batch_bytes", OnRestart),
    ("limits.body_bytes", OnRestart),
    ("limits.connections", OnRestart),
    ("limits.connections_per_address", OnReload),
    ("limits.connects_per_second", OnReload),
    ("limits.workspaces", OnRestart),
    ("limits.connections_per_workspace", OnReload),
    ("limits.connections_per_user", OnReload),
    ("limits.connection_age_seconds", OnRestart),
    ("limits.ring_bytes", OnRestart),
    ("limits.replay_bytes", OnRestart),
    ("limits.unsent_bytes", OnRestart),
    ("limits.events_per_second", OnReload),
    ("limits.event_bytes_per_second", OnReload),
    ("auth.mode", OnRestart),
    ("auth.ticket_seconds", OnRestart),
    ("auth.tickets_per_user", OnRestart),
    ("auth.recheck_seconds", OnRestart),
    ("auth.forward.", OnRestart),
    ("auth.jwt.", OnReload),
    ("cors.", OnReload),
    ("log.format", OnRestart),
    ("log.level", OnReload),
    ("log.lines_per_second", OnReload),
];

/// The class of a key; `None` for a key without an entry, which a test finds.
pub(super) fn class(key: &str) -> Option<ReloadClass> {
    let is_of = |entry: &str| entry == key || entry.ends_with('.') && key.starts_with(entry);
    CLASSES.iter().find(|(entry, _)| is_of(entry)).map(|(_, class)| *class)
}

/// A configuration that was read again, compared with the one in force.
#[derive(Debug)]
pub struct ConfigChanges {
    /// The configuration for the running node: the settings of its start, with those replaced that
    /// can be.
    pub config: Config,
    /// The keys that take effect now, and differ from those in force.
    pub applied: Vec<&'static str>,
    /// The keys that differ from those of the start, and need a restart.
    pub restart: Vec<&'static str>,
}

impl ConfigChanges {
    /// Compares a configuration with that of the start of the node, and the one in force.
    #[must_use]
    pub fn new(started: &Loaded, in_force: &Loaded, new: &Loaded) -> Self {
        Self {
            config: replaced(&started.config, &new.config),
            applied: differing(in_force, new, OnReload),
            restart: differing(started, new, OnRestart),
        }
    }

    /// Whether a key that begins so takes effect now.
    #[must_use]
    pub fn applies(&self, start: &str) -> bool {
        self.applied.iter().any(|key| key.starts_with(start))
    }
}

/// The keys of a class whose values differ.
fn differing(one: &Loaded, other: &Loaded, of: ReloadClass) -> Vec<&'static str> {
    // Both have all keys, in the order of the file.
    let pairs = one.values.iter().zip(&other.values);
    let differ = pairs.filter(|(one, other)| one.unmasked != other.unmasked && class(one.key) == Some(of));
    differ.map(|(value, _)| value.key).collect()
}

/// The settings of the start, with those of class [`OnReload`] of the new configuration.
fn replaced(started: &Config, new: &Config) -> Config {
    let mut config = started.clone();
    config.limits.connections_per_address = new.limits.connections_per_address;
    config.limits.connects_per_second = new.limits.connects_per_second;
    config.limits.connections_per_workspace = new.limits.connections_per_workspace;
    config.limits.connections_per_user = new.limits.connections_per_user;
    config.limits.events_per_second = new.limits.events_per_second;
    config.limits.event_bytes_per_second = new.limits.event_bytes_per_second;
    config.auth.jwt = new.auth.jwt.clone();
    config.cors = new.cors.clone();
    config.log.level.clone_from(&new.log.level);
    config.log.lines_per_second = new.log.lines_per_second;
    config
}

#[cfg(test)]
mod tests;
