//! Names of channels.

use tidings_event::NodeId;
use tidings_event::workspace::WorkspaceId;

/// What stands between the prefix and a node's name in the channel of its probes. The slash cannot stand in a workspace
/// id, and the common prefix puts the channel under the same access rule as the workspaces'.
const PROBE: &str = "tidings/probe/";

/// What stands between the prefix and the name of a kept value.
const KEPT: &str = "tidings/kept/";

/// The set of the orders that are in force.
const ORDERS: &str = "tidings/orders";

/// How this node's channels are called.
#[derive(Debug, Clone)]
pub(super) struct Channels {
    prefix: String,
    probe: String,
    control: String,
}

/// The keys of a log and of what stands beside it. All have the same hash tag, so that a cluster keeps them in one slot.
#[derive(Debug, Clone)]
pub(super) struct LogKeys {
    /// The log, which is the channel too.
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

    /// What is kept of a publication with an idempotency key.
    pub(super) fn once(&self, key: &str) -> String {
        format!("{{{}}}/once/{key}", self.log)
    }
}

/// Whose channel it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A workspace's.
    Workspace(WorkspaceId),
    /// This node's own, for probes.
    Probe,
    /// That of backends, for orders.
    Control,
    /// None that this node subscribes to.
    Unknown,
}

impl Channels {
    pub(super) fn new(prefix: &str, control: &str, node: NodeId) -> Self {
        let probe = format!("{prefix}{PROBE}{node}");
        Self { prefix: prefix.to_owned(), probe, control: control.to_owned() }
    }

    /// The channel, and log key, of a workspace.
    pub(super) fn of(&self, workspace: &WorkspaceId) -> String {
        format!("{}{workspace}", self.prefix)
    }

    /// The keys of a workspace's log and of what stands beside it.
    pub(super) fn log(&self, workspace: &WorkspaceId) -> LogKeys {
        LogKeys::new(self.of(workspace))
    }

    /// The channel of this node's probes.
    pub(super) fn probe(&self) -> &str {
        &self.probe
    }

    /// The channel of orders.
    pub(super) fn control(&self) -> &str {
        &self.control
    }

    /// The key of a kept value.
    pub(super) fn kept(&self, name: &str) -> String {
        format!("{}{KEPT}{name}", self.prefix)
    }

    /// The key of the orders that are in force.
    pub(super) fn orders(&self) -> String {
        format!("{}{ORDERS}", self.prefix)
    }

    /// Whose channel a name is.
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
    fn names_and_back() {
        let channels = Channels::new("workspace:", "tidings:control", NodeId::random());
        let acme = WorkspaceId::parse("acme").unwrap();
        assert_eq!(channels.of(&acme), "workspace:acme");
        let keys = channels.log(&acme);
        assert_eq!([keys.epoch.as_str(), &keys.live], ["{workspace:acme}/epoch", "{workspace:acme}/live"]);
        assert_eq!(
            (keys.once("k"), keys.log),
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
