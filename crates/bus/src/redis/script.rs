//! The publish script, in the variants for the kinds of servers.

use std::fmt::Write as _;

/// The script that adds events to the log and announces them in one step. `redis-cli --eval` runs
/// it too.
pub(super) const PUBLISH_SCRIPT: &str = include_str!("../../../../scripts/publish.lua");

/// The line of the script that names the command for announcements. A node names it, because it
/// knows its server; without a name, the script asks the server.
const ANNOUNCE: &str = "local announce\n";

/// The kind of servers on which a script runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PublishScript {
    /// One server: subscribers use SUBSCRIBE.
    OneServer,
    /// A cluster: subscribers use SSUBSCRIBE.
    Cluster,
}

impl PublishScript {
    /// Returns the text of the script.
    pub(super) fn text(self) -> String {
        let command = match self {
            Self::OneServer => "PUBLISH",
            Self::Cluster => "SPUBLISH",
        };
        let (before, behind) = PUBLISH_SCRIPT.split_once(ANNOUNCE).unwrap_or((PUBLISH_SCRIPT, ""));
        let mut text = String::with_capacity(PUBLISH_SCRIPT.len() + 16);
        // Writing to a string does not fail.
        let _ = write!(text, "{before}local announce = '{command}'\n{behind}");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_name_the_command_and_differ_in_nothing_else() {
        assert_eq!(PUBLISH_SCRIPT.matches(ANNOUNCE).count(), 1);
        for (script, command) in [(PublishScript::OneServer, "PUBLISH"), (PublishScript::Cluster, "SPUBLISH")]
        {
            let text = script.text();
            let named = format!("local announce = '{command}'\n");
            assert_eq!(text.replace(&named, ANNOUNCE), PUBLISH_SCRIPT);
        }
    }
}
