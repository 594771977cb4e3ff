//! Names of channels and keys.

use crate::SharedSet;
use tidings_event::NodeId;
use tidings_event::workspace::WorkspaceId;

/// The text between the prefix and a node id in the channel of the node's probes. A workspace id
/// cannot contain a slash. The common prefix puts the channel under the access rule of the
/// workspaces.
const PROBE: &str = "tidings/probe/";

/// The text before the prefix in the keys of nodes alone. The access rule of the workspaces does
/// not include them. So a backend that publishes can neither make a ticket nor delete a ban.
pub const NODE_KEYS: &str = "tidings/";

/// The text between the prefix and the name of a one-time value.
const ONE_TIME: &str = "once/";

/// The name of the sorted set of disconnects with their bans.
const BANS: &str = "disconnects";

/// Names the channels and keys of a node.
#[derive(Debug, Clone)]
pub(super) struct Channels {
    prefix: String,
    probe: String,
    control: String,
}

/// The keys of a log and of its metadata. All have one hash tag, so that a cluster stores them in
/// one slot.
#[derive(Debug, Clone)]
pub(super) struct LogKeys {
    /// The log, whose key is also the name of the channel.
    pub(super) log: String,
    /// The record of the log's epoch.
    pub(super) epoch: String,
    /// The mark of live events.
    pub(super) live: String,
}

impl LogKeys {
    pub(super) fn new(log: String) -> Self {
        Self { epoch: format!("{{{log}}}/epoch"), live: format!("{{{log}}}/live"), log }
    }

    /// Returns the key of a publication with an idempotency key.
    pub(super) fn idempotency(&self, key: &str) -> String {
        format!("{{{}}}/once/{key}", self.log)
    }
}

/// The owner of a channel.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A workspace.
    Workspace(WorkspaceId),
    /// This node, for its probes.
    Probe,
    /// Backends, for control commands.
    Control,
    /// None to which this node subscribes.
    Unknown,
}

impl Channels {
    pub(super) fn new(prefix: &str, control: &str, node: NodeId) -> Self {
        let probe = format!("{prefix}{PROBE}{node}");
        Self { prefix: prefix.to_owned(), probe, control: control.to_owned() }
    }

    /// Returns the channel of a workspace, which is also the key of its log.
    pub(super) fn workspace(&self, workspace: &WorkspaceId) -> String {
        format!("{}{workspace}", self.prefix)
    }

    /// Returns the keys of a workspace's log and its metadata.
    pub(super) fn log(&self, workspace: &WorkspaceId) -> LogKeys {
        LogKeys::new(self.workspace(workspace))
    }

    /// Returns the channel of this node's probes.
    pub(super) fn probe(&self) -> &str {
        &self.probe
    }

    /// Returns the control channel.
    pub(super) fn control(&self) -> &str {
        &self.control
    }

    /// Returns the key of a one-time value.
    pub(super) fn one_time(&self, name: &str) -> String {
        format!("{NODE_KEYS}{}{ONE_TIME}{name}", self.prefix)
    }

    /// Returns the key of the bans.
    pub(super) fn bans(&self) -> String {
        format!("{NODE_KEYS}{}{BANS}", self.prefix)
    }

    /// Returns the key of a shared set.
    pub(super) fn set(&self, set: SharedSet) -> String {
        format!("{NODE_KEYS}{}{set}", self.prefix)
    }

    /// Returns the owner of a channel.
    pub(super) fn owner(&self, channel: &[u8]) -> Owner {
        if channel == self.probe.as_bytes() {
            return Owner::Probe;
        }
        if channel == self.control.as_bytes() {
            return Owner::Control;
        }
        channel
            .strip_prefix(self.prefix.as_bytes())
            .and_then(|id| WorkspaceId::parse(std::str::from_utf8(id).ok()?).ok())
            .map_or(Owner::Unknown, Owner::Workspace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_names_identify_their_owners() {
        let channels = Channels::new("workspace:", "tidings:control", NodeId::random());
        let acme = WorkspaceId::parse("acme").unwrap();
        assert_eq!(channels.workspace(&acme), "workspace:acme");
        let keys = channels.log(&acme);
        assert_eq!([keys.epoch.as_str(), &keys.live], ["{workspace:acme}/epoch", "{workspace:acme}/live"]);
        assert_eq!(
            (keys.idempotency("k"), keys.log),
            ("{workspace:acme}/once/k".to_owned(), "workspace:acme".to_owned())
        );
        assert_eq!(channels.owner(b"workspace:acme"), Owner::Workspace(acme));
        assert_eq!(channels.owner(channels.probe().as_bytes()), Owner::Probe);
        assert_eq!(channels.owner(b"tidings:control"), Owner::Control);
        for other in [
            &b"workspace:"[..],
            b"other:acme",
            b"workspace:a/b",
            b"workspace:\xff",
            b"workspace:tidings/probe/x",
        ] {
            assert_eq!(channels.owner(other), Owner::Unknown);
        }
    }
}
