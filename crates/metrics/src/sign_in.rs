//! The outcomes of attempts to use the console.

/// The outcome of an attempt to begin a session of the console, or to use the admin token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInOutcome {
    /// A session began.
    Accepted,
    /// The token or the link was wrong.
    Rejected,
    /// The address had failed too often, so the token was not compared.
    Limited,
}

impl SignInOutcome {
    pub(crate) const VALUES: [&str; 3] =
        [Self::Accepted.as_str(), Self::Rejected.as_str(), Self::Limited.as_str()];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Limited => "limited",
        }
    }
}
