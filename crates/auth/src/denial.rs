//! Denials: the results of failed authentication, with texts for the client.

use tidings_event::UserId;

/// The check that failed. The response contains it, so that a developer knows the value to correct.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DenialReason {
    /// The request has no credentials.
    Credentials,
    /// The token has a wrong form, encoding or size.
    Form,
    /// The configuration does not allow the algorithm of the token.
    Algorithm,
    /// No key for the token is known.
    Key,
    /// The signature does not match the key.
    Signature,
    /// The token has expired, or has no expiry.
    Expiry,
    /// The token is not valid yet.
    NotBefore,
    /// The token is from another issuer.
    Issuer,
    /// The token is for another audience.
    Audience,
    /// A claim has an invalid value.
    Claims,
    /// The client may not read the workspace.
    Subscribe,
    /// The client may not publish to the workspace.
    Publish,
    /// The app rejected the client.
    App,
    /// The app gave no valid response. A retry may help.
    AppUnavailable,
    /// The keys are not available now. A retry may help.
    KeysUnavailable,
    /// The ticket is unknown or no longer known, or is for another workspace.
    Ticket,
    /// Tickets cannot be read now. A retry may help.
    TicketsUnavailable,
    /// A backend has banned this client.
    Disconnected,
}

impl DenialReason {
    /// All checks, in the order of declaration.
    pub const ALL: [Self; 18] = [
        Self::Credentials,
        Self::Form,
        Self::Algorithm,
        Self::Key,
        Self::Signature,
        Self::Expiry,
        Self::NotBefore,
        Self::Issuer,
        Self::Audience,
        Self::Claims,
        Self::Subscribe,
        Self::Publish,
        Self::App,
        Self::AppUnavailable,
        Self::KeysUnavailable,
        Self::Ticket,
        Self::TicketsUnavailable,
        Self::Disconnected,
    ];

    /// Returns the text in the response and the label in metrics.
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

/// The kind of a denial, which determines the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DenialKind {
    /// The client is not authenticated: 401.
    Unauthenticated,
    /// The client is authenticated and lacks the right: 403.
    Forbidden,
    /// The decision is not possible now. The response is one after which an `EventSource`
    /// reconnects.
    Passing,
    /// The client has a ban and must not retry: 204.
    Final,
}

/// The result of a failed authentication.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Denial {
    /// The kind, which determines the response.
    pub kind: DenialKind,
    /// The check that failed.
    pub reason: DenialReason,
    /// The error and its fix, without secrets.
    pub detail: String,
    /// The user, if a method knows it.
    pub user: Option<UserId>,
}

impl Denial {
    /// Creates a denial.
    #[must_use]
    pub fn new(kind: DenialKind, reason: DenialReason, detail: impl Into<String>) -> Self {
        Self { kind, reason, detail: detail.into(), user: None }
    }

    /// Creates a denial for a client that is not authenticated.
    #[must_use]
    pub fn unauthenticated(reason: DenialReason, detail: impl Into<String>) -> Self {
        Self::new(DenialKind::Unauthenticated, reason, detail)
    }

    /// Creates a denial for a known client without the right.
    #[must_use]
    pub fn forbidden(reason: DenialReason, detail: impl Into<String>) -> Self {
        Self::new(DenialKind::Forbidden, reason, detail)
    }

    /// Names the user of the request.
    #[must_use]
    pub fn of_user(mut self, user: Option<UserId>) -> Self {
        self.user = user;
        self
    }

    /// Creates a denial that may be temporary.
    #[must_use]
    pub fn passing(reason: DenialReason, detail: impl Into<String>) -> Self {
        Self::new(DenialKind::Passing, reason, detail)
    }
}
