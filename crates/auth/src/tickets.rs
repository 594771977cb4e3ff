//! Tickets: a word that lets its bearer open one stream, within seconds, on any node. A page gets one with its token and
//! puts it into the stream's address, where a token that lives longer has no place: addresses end up in logs.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::ticket_rate::TicketRate;
use super::{Denial, DenialReason};
use tidings_bus::{Bus, StoreError};
use tidings_event::workspace::WorkspaceId;
use tidings_event::{Identity, TokenId, UserId};

/// Random bytes in a ticket: as many as in a key, so that nobody guesses one.
const SECRET_BYTES: usize = 32;

/// A ticket's text; `Debug` masks it.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket(String);

impl Ticket {
    /// Takes what a client sent. `None` where it cannot be a ticket.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        (text.len() == 2 * SECRET_BYTES && text.bytes().all(digit)).then(|| Self(text.to_owned()))
    }

    fn draw() -> Result<Self, getrandom::Error> {
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret)?;
        Ok(Self(secret.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// The text: for its bearer alone.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    fn name(&self) -> String {
        format!("ticket.{}", self.0)
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(***)")
    }
}

/// What a ticket stands for, as the bus keeps it.
#[derive(Debug, Serialize, Deserialize)]
struct Stub {
    workspace: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    /// Milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    /// When the ticket itself ends, likewise.
    until: u64,
}

/// A ticket that was taken, and may be put back as long as it opened nothing.
#[derive(Debug)]
pub struct UsedTicket {
    ticket: Ticket,
    stub: Bytes,
    until: SystemTime,
}

/// Issues tickets and takes them.
#[derive(Debug)]
pub struct Tickets {
    bus: Arc<dyn Bus>,
    lifetime: Duration,
    rate: TicketRate,
}

/// A ticket cannot be issued now.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The system gives no random bytes.
    #[error("the system gives no random numbers")]
    Random,
    /// The user has as many as may be issued to one for now; there may be one after this time.
    #[error("this user has as many tickets as a node issues to one (auth.tickets_per_user)")]
    TooMany(Duration),
    /// The bus does not keep it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Tickets {
    /// Tickets that are good for a time, within which one user gets `per_user` of them; `None`: any number.
    #[must_use]
    pub fn new(bus: Arc<dyn Bus>, lifetime: Duration, per_user: Option<NonZeroU32>) -> Self {
        Self { bus, lifetime, rate: TicketRate::new(per_user, lifetime) }
    }

    /// How long a ticket is good.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Issues a ticket with which whoever bears it may read one workspace as this identity. `address` is the client's.
    ///
    /// # Errors
    ///
    /// [`IssueError`], within a bounded time.
    pub async fn issue(
        &self,
        workspace: &WorkspaceId,
        identity: &Identity,
        address: IpAddr,
    ) -> Result<Ticket, IssueError> {
        self.rate.check(identity, address).map_err(IssueError::TooMany)?;
        let ticket = Ticket::draw().map_err(|_| IssueError::Random)?;
        let stub = Stub {
            workspace: workspace.as_str().to_owned(),
            user: identity.user.as_ref().map(|user| user.as_str().to_owned()),
            jti: identity.token.as_ref().map(|token| token.as_str().to_owned()),
            expires: identity.expires.map(milliseconds),
            until: milliseconds(SystemTime::now() + self.lifetime),
        };
        let value = serde_json::to_vec(&stub).map_err(|error| StoreError::Refused(error.to_string()))?;
        self.bus.put_once(&ticket.name(), Bytes::from(value), self.lifetime).await?;
        Ok(ticket)
    }

    /// Takes a ticket, which is worth nothing afterwards, and answers for whom it was issued.
    ///
    /// # Errors
    ///
    /// A [`Denial`] where it is unknown, used, ended, or for another workspace, or where that cannot be found out now.
    /// Not cancellation safe: a ticket may be gone.
    pub async fn redeem(
        &self,
        text: &str,
        workspace: &WorkspaceId,
    ) -> Result<(Identity, UsedTicket), Denial> {
        let ticket = Ticket::parse(text).ok_or_else(unknown)?;
        let value = self.bus.take(&ticket.name()).await;
        open(ticket, value, workspace)
    }

    /// Answers for whom a ticket was issued, and leaves it.
    ///
    /// # Errors
    ///
    /// As [`redeem`](Self::redeem). Cancellation safe.
    pub async fn inspect(&self, text: &str, workspace: &WorkspaceId) -> Result<Identity, Denial> {
        let ticket = Ticket::parse(text).ok_or_else(unknown)?;
        let value = self.bus.read(&ticket.name()).await;
        open(ticket, value, workspace).map(|(identity, _)| identity)
    }

    /// Puts a ticket back for what it is still good: there was no room for its stream, and its bearer shall try again. Where that
    /// fails the bearer needs a new one.
    pub async fn put_back(&self, used: UsedTicket) {
        let Ok(left) = used.until.duration_since(SystemTime::now()) else { return };
        if let Err(error) = self.bus.put_once(&used.ticket.name(), used.stub, left).await {
            tracing::debug!(%error, "a ticket that opened nothing was not put back");
        }
    }
}

/// What a ticket stands for by what the bus keeps under its name, if it is for this workspace.
fn open(
    ticket: Ticket,
    value: Result<Option<Bytes>, StoreError>,
    workspace: &WorkspaceId,
) -> Result<(Identity, UsedTicket), Denial> {
    let value = match value {
        Ok(Some(value)) => value,
        Ok(None) => return Err(unknown()),
        Err(_) => {
            return Err(Denial::passing(
                DenialReason::TicketsUnavailable,
                "tickets cannot be read at the moment: try again later, with a new one",
            ));
        }
    };
    let stub: Stub = serde_json::from_slice(&value).map_err(|_| unknown())?;
    let used = UsedTicket { ticket, stub: value, until: moment(stub.until) };
    if stub.workspace != workspace.as_str() {
        return Err(Denial::forbidden(DenialReason::Ticket, "the ticket is for another workspace"));
    }
    let identity = Identity {
        user: stub.user.map(|user| UserId::parse(&user)).transpose().map_err(|_| unknown())?,
        token: stub.jti.map(|jti| TokenId::parse(&jti)).transpose().map_err(|_| unknown())?,
        expires: stub.expires.map(moment),
    };
    Ok((identity, used))
}

fn unknown() -> Denial {
    Denial::unauthenticated(
        DenialReason::Ticket,
        "the ticket is unknown, used or has ended: a ticket opens one stream, within seconds",
    )
}

/// Whoever is on the bus can write there what is no moment; that one has passed.
fn moment(milliseconds: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds)).unwrap_or(UNIX_EPOCH)
}

fn milliseconds(moment: SystemTime) -> u64 {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_long_unlike_each_other_and_never_shown() {
        let (one, other) = (Ticket::draw().unwrap(), Ticket::draw().unwrap());
        assert_ne!(one, other);
        assert_eq!(Ticket::parse(one.reveal()), Some(one.clone()));
        assert!(!format!("{one:?}").contains(&one.reveal()[..4]));
        for wrong in ["", "a", &"A".repeat(64), &"0".repeat(63), &format!("{}*", "0".repeat(63))] {
            assert_eq!(Ticket::parse(wrong), None, "{wrong}");
        }
    }
}
