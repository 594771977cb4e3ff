//! Tickets: a ticket opens one stream within seconds, on any node.
//!
//! A page gets a ticket with its token and puts it into the URL of the stream. A token, which lives
//! longer, must not be there, because URLs appear in logs.

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

/// The random bytes of a ticket, as many as in a key, so that no attacker can guess one.
const SECRET_BYTES: usize = 32;

/// Holds the text of a ticket; `Debug` masks it.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket(String);

impl Ticket {
    /// Parses a ticket; returns `None` if the text cannot be one.
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

    /// Returns the text, for the client of the ticket only.
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

/// The value of a ticket on the bus.
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
    /// The end of the ticket itself, in the same unit.
    until: u64,
}

/// The contents of a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketContents {
    /// The workspace whose stream it opens.
    pub workspace: WorkspaceId,
    /// The identity of its stream.
    pub identity: Identity,
    /// Its end.
    pub until: SystemTime,
}

impl TicketContents {
    /// Reads the contents of a ticket, which stays valid. `None` means that the ticket is unknown,
    /// used or expired.
    ///
    /// # Errors
    ///
    /// Returns a [`StoreError`], within a bounded time. Cancellation safe.
    pub async fn read(bus: &dyn Bus, ticket: &Ticket) -> Result<Option<Self>, StoreError> {
        Ok(bus.read(&ticket.name()).await?.and_then(|value| Self::parse(&value)))
    }

    /// Parses the value of a ticket. Other programs can write values that are none.
    fn parse(value: &[u8]) -> Option<Self> {
        let stub: Stub = serde_json::from_slice(value).ok()?;
        let identity = Identity {
            user: stub.user.map(|user| UserId::parse(&user)).transpose().ok()?,
            token: stub.jti.map(|jti| TokenId::parse(&jti)).transpose().ok()?,
            expires: stub.expires.map(moment),
        };
        let workspace = WorkspaceId::parse(&stub.workspace).ok()?;
        Some(Self { workspace, identity, until: moment(stub.until) })
    }
}

/// A redeemed ticket, which can become valid again as long as it opened no stream.
#[derive(Debug)]
pub struct UsedTicket {
    ticket: Ticket,
    stub: Bytes,
    until: SystemTime,
}

/// Issues and redeems tickets.
#[derive(Debug)]
pub struct Tickets {
    bus: Arc<dyn Bus>,
    lifetime: Duration,
    rate: TicketRate,
}

/// The reason for which a ticket was not issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The system has no random bytes.
    #[error("the system has no random numbers")]
    Random,
    /// The user has reached the limit; the next ticket is allowed after this time.
    #[error("this user has as many tickets as auth.tickets_per_user allows on a node: try again later")]
    TooMany(Duration),
    /// The bus did not store the ticket.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Tickets {
    /// Creates tickets with a lifetime, within which one user gets `per_user` of them; `None`
    /// allows any number.
    #[must_use]
    pub fn new(bus: Arc<dyn Bus>, lifetime: Duration, per_user: Option<NonZeroU32>) -> Self {
        Self { bus, lifetime, rate: TicketRate::new(per_user, lifetime) }
    }

    /// Returns the lifetime of a ticket.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Issues a ticket with which its holder may read one workspace as this identity. `address` is
    /// the client's.
    ///
    /// # Errors
    ///
    /// Returns an [`IssueError`], within a bounded time.
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

    /// Redeems a ticket, which becomes invalid; returns its identity.
    ///
    /// # Errors
    ///
    /// Returns a [`Denial`] if the ticket is unknown, used, expired or for another workspace, or if
    /// the bus is unreachable.
    ///
    /// Not cancellation safe: the ticket may be used up.
    pub async fn redeem(
        &self,
        text: &str,
        workspace: &WorkspaceId,
    ) -> Result<(Identity, UsedTicket), Denial> {
        let ticket = Ticket::parse(text).ok_or_else(unknown)?;
        let value = self.bus.take(&ticket.name()).await;
        open(ticket, value, workspace)
    }

    /// Returns the identity of a ticket without using it up.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`redeem`](Self::redeem). Cancellation safe.
    pub async fn inspect(&self, text: &str, workspace: &WorkspaceId) -> Result<Identity, Denial> {
        let ticket = Ticket::parse(text).ok_or_else(unknown)?;
        let value = self.bus.read(&ticket.name()).await;
        open(ticket, value, workspace).map(|(identity, _)| identity)
    }

    /// Makes a ticket valid again for the rest of its lifetime, because its stream was rejected at
    /// a limit. If that fails, the client needs a new ticket.
    pub async fn put_back(&self, used: UsedTicket) {
        let Ok(left) = used.until.duration_since(SystemTime::now()) else { return };
        if let Err(error) = self.bus.put_once(&used.ticket.name(), used.stub, left).await {
            tracing::debug!(%error, "a ticket that opened no stream was not stored again");
        }
    }
}

/// Returns the identity of a ticket from its value on the bus, if it is for this workspace.
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
                "tickets cannot be read now: try again later, with a new one",
            ));
        }
    };
    let contents = TicketContents::parse(&value).ok_or_else(unknown)?;
    if contents.workspace != *workspace {
        return Err(Denial::forbidden(DenialReason::Ticket, "the ticket is for another workspace"));
    }
    Ok((contents.identity, UsedTicket { ticket, stub: value, until: contents.until }))
}

fn unknown() -> Denial {
    Denial::unauthenticated(
        DenialReason::Ticket,
        "the ticket is unknown, used or expired: a ticket opens one stream, within seconds",
    )
}

/// Converts milliseconds to a time. Other programs can write values to the bus that are not times;
/// these become the past.
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
    fn tickets_are_long_different_and_masked() {
        let (one, other) = (Ticket::draw().unwrap(), Ticket::draw().unwrap());
        assert_ne!(one, other);
        assert_eq!(Ticket::parse(one.reveal()), Some(one.clone()));
        assert!(!format!("{one:?}").contains(&one.reveal()[..4]));
        for wrong in ["", "a", &"A".repeat(64), &"0".repeat(63), &format!("{}*", "0".repeat(63))] {
            assert_eq!(Ticket::parse(wrong), None, "{wrong}");
        }
    }
}
