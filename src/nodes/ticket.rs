//! The explanation of a ticket, which is read and stays valid.

use serde::Serialize;

use tidings_auth::tickets::{Ticket, TicketContents};
use tidings_bus::Bus;
use tidings_event::Identity;
use tidings_event::workspace::WorkspaceId;

/// The refusal of a ticket that the bus does not have.
const UNKNOWN: &str = "the ticket is unknown, used or expired";

/// What a ticket would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TicketVerdict {
    /// Whether it would open a stream of the workspace; `None` if it could not be read.
    pub permitted: Option<bool>,
    /// The reason for which it opens none, or could not be read.
    pub fault: Option<String>,
    /// Its workspace.
    pub workspace: Option<String>,
    /// Its user.
    pub user: Option<String>,
    /// Its end, in milliseconds since the Unix epoch.
    pub until_ms: Option<u64>,
    /// The end of its stream, in the same unit; `None` if the stream has no end.
    pub stream_until_ms: Option<u64>,
}

/// A ticket with its contents, if the bus has it.
#[derive(Debug)]
pub(super) struct ReadTicket {
    contents: Option<TicketContents>,
    fault: Option<String>,
    is_read: bool,
}

impl ReadTicket {
    /// Reads a ticket. `bus` is `None` if no program but the node can read it.
    pub(super) async fn read(bus: Option<&dyn Bus>, text: &str) -> Self {
        let unread = |fault: &str| Self { contents: None, fault: Some(fault.to_owned()), is_read: false };
        let Some(ticket) = Ticket::parse(text) else {
            let fault = Some("the text is no ticket: a ticket has 64 characters of 0-9 a-f".to_owned());
            return Self { contents: None, fault, is_read: true };
        };
        let Some(bus) = bus else {
            return unread("a ticket of the embedded bus is known to its node alone: use its console");
        };
        match TicketContents::read(bus, &ticket).await {
            Ok(contents) => {
                let fault = contents.is_none().then(|| UNKNOWN.to_owned());
                Self { contents, fault, is_read: true }
            }
            Err(error) => unread(&error.to_string()),
        }
    }

    /// The workspace of the ticket, if it is known.
    pub(super) fn workspace(&self) -> Option<&WorkspaceId> {
        self.contents.as_ref().map(|contents| &contents.workspace)
    }

    /// The reason for which its contents are not known.
    pub(super) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Decides whether it opens a stream of a workspace. Returns its identity too, if it does.
    pub(super) fn decide(self, workspace: &WorkspaceId) -> (TicketVerdict, Identity) {
        let mut verdict = TicketVerdict {
            permitted: self.is_read.then_some(false),
            fault: self.fault,
            workspace: None,
            user: None,
            until_ms: None,
            stream_until_ms: None,
        };
        let Some(TicketContents { workspace: of_ticket, identity, until }) = self.contents else {
            return (verdict, Identity::default());
        };
        verdict.workspace = Some(of_ticket.to_string());
        verdict.user = identity.user.as_ref().map(|user| user.as_str().to_owned());
        verdict.until_ms = Some(super::unix_ms(until));
        verdict.stream_until_ms = identity.expires.map(super::unix_ms);
        if of_ticket != *workspace {
            verdict.fault = Some(format!("the ticket is for workspace {of_ticket}"));
            return (verdict, Identity::default());
        }
        verdict.permitted = Some(true);
        (verdict, identity)
    }
}
