//! Why somebody is not let in, in words that may be shown to whoever asks.

/// The check that was not passed. Its word is part of the answer, so that a client and its developer know what to mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DenialReason {
    /// The request brings nothing that proves who it is from.
    Credentials,
    /// The token is no token: its form, its encoding, or its size.
    Form,
    /// The token is signed in a way that the configuration does not allow.
    Algorithm,
    /// No key is known for the token.
    Key,
    /// The signature is not that of the key.
    Signature,
    /// The token has ended, or does not say when it ends.
    Expiry,
    /// The token's time has not come yet.
    NotBefore,
    /// The token is from somebody else.
    Issuer,
    /// The token is meant for somebody else.
    Audience,
    /// A claim is not what it should be.
    Claims,
    /// The workspace may not be read.
    Subscribe,
    /// The workspace may not be written to.
    Publish,
    /// The app was asked, and said no.
    App,
    /// The app was asked, and gave no answer that counts; trying again may help.
    AppUnavailable,
    /// The keys cannot be had at the moment; trying again may help.
    KeysUnavailable,
    /// The ticket is not known (any more), or is for another workspace.
    Ticket,
    /// Tickets cannot be read at the moment; trying again may help.
    TicketsUnavailable,
    /// A backend has disconnected this client, and it is to stay away.
    Disconnected,
}

impl DenialReason {
    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Form => "form",
            Self::Algorithm => "algorithm",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Expiry => "expiry",
            Self::NotBefore => "not-before",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Claims => "claims",
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::App => "app",
            Self::AppUnavailable => "app-unavailable",
            Self::KeysUnavailable => "keys-unavailable",
            Self::Ticket => "ticket",
            Self::TicketsUnavailable => "tickets-unavailable",
            Self::Disconnected => "disconnected",
        }
    }
}

/// How a denial is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DenialKind {
    /// Nobody is known to be there: 401.
    Unauthenticated,
    /// Somebody is, and may not: 403.
    Forbidden,
    /// It cannot be decided now: closed, in a way that an `EventSource` survives.
    Passing,
    /// The client shall stay away, and not try again: 204.
    Final,
}

/// Somebody is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Denial {
    /// How it is meant.
    pub standing: DenialKind,
    /// Which check was not passed.
    pub check: DenialReason,
    /// What is wrong and what to do, without anything secret.
    pub detail: String,
}

impl Denial {
    /// A denial.
    #[must_use]
    pub fn new(standing: DenialKind, check: DenialReason, detail: impl Into<String>) -> Self {
        Self { standing, check, detail: detail.into() }
    }

    /// Nobody is known to be there.
    #[must_use]
    pub fn unauthenticated(check: DenialReason, detail: impl Into<String>) -> Self {
        Self::new(DenialKind::Unauthenticated, check, detail)
    }

    /// Somebody is, and may not.
    #[must_use]
    pub fn forbidden(check: DenialReason, detail: impl Into<String>) -> Self {
        Self::new(DenialKind::Forbidden, check, detail)
    }

    /// It cannot be decided now.
    #[must_use]
    pub fn passing(check: DenialReason, detail: impl Into<String>) -> Self {
        Self::new(DenialKind::Passing, check, detail)
    }
}
