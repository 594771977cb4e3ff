//! The settings that a running node replaces when it reads its configuration again, and those that
//! need a restart.

use super::Config;
use super::load::{EffectiveValue, Loaded};

/// The moment at which a changed setting takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReloadClass {
    /// At the next SIGHUP.
    OnReload,
    /// A password in an address at the next SIGHUP, for new connections. Anything else of the
    /// address at the next start.
    PasswordOnReload,
    /// At the next start.
    OnRestart,
}

use ReloadClass::{OnReload, OnRestart, PasswordOnReload};

/// The class of each key, or of all keys of a section: an entry that ends with a dot. A key has one
/// entry.
const CLASSES: &[(&str, ReloadClass)] = &[
    ("server.", OnRestart),
    ("http2.", OnRestart),
    // Each by itself, so that a secret that comes later gets a class of its own.
    ("admin.listen", OnRestart),
    ("admin.proxy_protocol", OnRestart),
    ("admin.token", OnReload),
    ("admin.token_file", OnReload),
    ("admin.hosts", OnRestart),
    ("admin.url", OnRestart),
    ("admin.payloads", OnRestart),
    ("redis.url", PasswordOnReload),
    // The node reads the file for each new connection.
    ("redis.password_file", OnRestart),
    ("redis.channel_prefix", OnRestart),
    ("redis.control_channel", OnRestart),
    ("redis.connect_timeout_seconds", OnRestart),
    ("redis.ping_seconds", OnRestart),
    ("redis.ping_timeout_seconds", OnRestart),
    ("redis.backoff_min_seconds", OnRestart),
    ("redis.backoff_max_seconds", OnRestart),
    ("redis.command_timeout_seconds", OnRestart),
    ("redis.confirm_seconds", OnRestart),
    ("redis.probe_seconds", OnRestart),
    ("redis.reply_bytes", OnRestart),
    ("redis.tls.", OnRestart),
    ("redis.sentinel.", OnRestart),
    ("redis.cluster.nodes", PasswordOnReload),
    ("redis.cluster.poll_seconds", OnRestart),
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
    ("tracing.", OnRestart),
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
        let mut changes = Self {
            config: replaced(&started.config, &new.config),
            applied: differing(in_force, new, |_, new, class| match class {
                OnReload => true,
                // The node uses the address of its start.
                PasswordOnReload => {
                    started.values.iter().any(|value| (value.key, &value.value) == (new.key, &new.value))
                }
                OnRestart => false,
            }),
            restart: differing(started, new, |one, other, class| match class {
                OnReload => false,
                PasswordOnReload => one.value != other.value,
                OnRestart => true,
            }),
        };
        if changes.applies("redis.") {
            changes.config.redis.url = new.config.redis.url.clone();
            changes.config.redis.cluster.nodes.clone_from(&new.config.redis.cluster.nodes);
        }
        changes
    }

    /// Whether a key that begins so takes effect now.
    #[must_use]
    pub fn applies(&self, start: &str) -> bool {
        self.applied.iter().any(|key| key.starts_with(start))
    }
}

/// The keys whose values differ, and for which `counts` is true. It gets both values; those to show
/// are equal if passwords alone differ.
fn differing(
    one: &Loaded,
    other: &Loaded,
    counts: impl Fn(&EffectiveValue, &EffectiveValue, ReloadClass) -> bool,
) -> Vec<&'static str> {
    // Both have all keys, in the order of the file.
    let pairs = one.values.iter().zip(&other.values).filter(|(one, other)| one.unmasked != other.unmasked);
    let differ = pairs.filter(|(one, other)| class(one.key).is_some_and(|class| counts(one, other, class)));
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
    config.admin.token.clone_from(&new.admin.token);
    config.admin.token_file.clone_from(&new.admin.token_file);
    config.auth.jwt = new.auth.jwt.clone();
    config.cors = new.cors.clone();
    config.log.level.clone_from(&new.log.level);
    config.log.lines_per_second = new.log.lines_per_second;
    config
}

#[cfg(test)]
mod tests;
