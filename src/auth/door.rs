//! Whether somebody is let in.

use std::sync::Arc;
use std::time::SystemTime;

use super::orders::Bans;
use super::tickets::Tickets;
use super::{Action, Check, Denial, Identity, Standing};
use crate::workspace::WorkspaceId;

/// What of a request says who it is from.
#[derive(Debug, Clone, Copy)]
pub struct Credentials<'a> {
    /// The ticket in the address, if there is one.
    pub ticket: Option<&'a str>,
}

/// Somebody is let in.
#[derive(Debug)]
pub struct Admission {
    /// Who it is.
    pub identity: Identity,
}

/// Decides who is let in, by all that is configured.
#[derive(Debug)]
pub struct Door {
    tickets: Tickets,
    bans: Arc<Bans>,
}

impl Door {
    /// A door.
    #[must_use]
    pub fn new(tickets: Tickets, bans: Arc<Bans>) -> Self {
        Self { tickets, bans }
    }

    /// Tickets of this node.
    #[must_use]
    pub fn tickets(&self) -> &Tickets {
        &self.tickets
    }

    /// Decides about one request.
    ///
    /// # Errors
    ///
    /// The [`Denial`], in words that may be shown.
    pub async fn admit(
        &self,
        action: Action,
        workspace: &WorkspaceId,
        credentials: Credentials<'_>,
    ) -> Result<Admission, Denial> {
        let identity = match credentials.ticket {
            Some(ticket) if action == Action::Subscribe => self.tickets.redeem(ticket, workspace).await?,
            _ => Identity::default(),
        };
        self.check_bans(workspace, &identity)?;
        Ok(Admission { identity })
    }

    /// Refuses whom a backend told to stay away. To be asked again when a stream is entered among the open ones, since an
    /// order may have come while it was decided about.
    ///
    /// # Errors
    ///
    /// A final [`Denial`].
    pub fn check_bans(&self, workspace: &WorkspaceId, identity: &Identity) -> Result<(), Denial> {
        match self.bans.until(workspace, identity, SystemTime::now()) {
            None => Ok(()),
            Some(_) => Err(Denial::new(
                Standing::Final,
                Check::Disconnected,
                "a backend has disconnected this client and told it to stay away",
            )),
        }
    }
}
