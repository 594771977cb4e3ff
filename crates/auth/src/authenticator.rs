//! Whether somebody is let in.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderMap;

use super::control::Bans;
use super::forward::{AuthRequest, ForwardAuth};
use super::jwt::{TokenSources, VerifiedToken, Verifier, bearer};
use super::recheck::{Recheck, Watched};
use super::tickets::{Tickets, UsedTicket};
use super::{Action, Denial, DenialKind, DenialReason};
use tidings_event::Identity;
use tidings_event::workspace::WorkspaceId;
use tidings_limits::{AddressCounts, AddressFull, StreamHandle};

/// A token that has less than this left counts as one that is good by the leeway for clocks.
const LEEWAY_FROM: Duration = Duration::from_secs(2);

/// What of a request says who it is from.
#[derive(Debug)]
pub struct Credentials<'a> {
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// Its query, as it stands.
    pub query: &'a str,
    /// The ticket in the query, where one is taken.
    pub ticket: Option<&'a str>,
    /// Its path.
    pub path: &'a str,
    /// The client's address.
    pub address: std::net::IpAddr,
    /// `http` or `https`, as the client has it.
    pub scheme: &'a str,
    /// The host that the client asked.
    pub host: Option<&'a str>,
}

/// Somebody is let in.
#[derive(Debug)]
pub struct Grant {
    /// Who it is.
    pub identity: Identity,
    /// What the app was asked with, where it was the app that let in.
    auth_request: Option<AuthRequest>,
    /// The ticket that let in, if it was one.
    ticket: Option<UsedTicket>,
}

/// A way to find out who is there.
#[derive(Debug)]
pub enum Method {
    /// By a token.
    Jwt {
        /// Where tokens are looked for.
        sources: TokenSources,
        /// What is made of them.
        verifier: Arc<Verifier>,
    },
    /// By asking the app.
    Forward {
        /// Who asks.
        forward: ForwardAuth,
        /// How many questions each client address has under way: nobody alone may fill the queue before the app.
        askers: Arc<AddressCounts>,
    },
}

/// Decides who is let in, by all that is configured.
#[derive(Debug)]
pub struct Authenticator {
    /// In the order in which they are tried. Empty: everybody is let in.
    methods: Vec<Method>,
    tickets: Tickets,
    bans: Arc<Bans>,
    recheck: Option<Arc<Recheck>>,
}

impl Authenticator {
    /// A door. Without methods it is open to everybody whom no order keeps out.
    #[must_use]
    pub fn new(
        methods: Vec<Method>,
        tickets: Tickets,
        bans: Arc<Bans>,
        recheck: Option<Arc<Recheck>>,
    ) -> Self {
        Self { methods, tickets, bans, recheck }
    }

    /// Tickets of this node.
    #[must_use]
    pub fn tickets(&self) -> &Tickets {
        &self.tickets
    }

    /// Decides about one request: a ticket counts first, then each method is tried, and the first that lets in decides.
    /// Not cancellation safe where a ticket is brought: it may be gone.
    ///
    /// # Errors
    ///
    /// The [`Denial`], in words that may be shown: the one that says most, where several methods deny.
    pub async fn admit(
        &self,
        action: Action,
        workspace: &WorkspaceId,
        credentials: &Credentials<'_>,
    ) -> Result<Grant, Denial> {
        let mut denial: Option<Denial> = None;
        if let (Some(ticket), Action::Subscribe) = (credentials.ticket, action) {
            match self.tickets.redeem(ticket, workspace).await {
                Ok((identity, used)) => {
                    self.check_bans(workspace, &identity)?;
                    return Ok(Grant { identity, auth_request: None, ticket: Some(used) });
                }
                Err(error) => denial = Some(error),
            }
        }
        self.by_methods(action, workspace, credentials, denial).await
    }

    /// Decides whether the workspace may be read, as [`admit`](Self::admit) does, and leaves a ticket that is brought. Cancellation safe.
    ///
    /// # Errors
    ///
    /// The [`Denial`], in words that may be shown.
    pub async fn inspect(
        &self,
        workspace: &WorkspaceId,
        credentials: &Credentials<'_>,
    ) -> Result<(), Denial> {
        let mut denial = None;
        if let Some(ticket) = credentials.ticket {
            match self.tickets.inspect(ticket, workspace).await {
                Ok(identity) => return self.check_bans(workspace, &identity),
                Err(error) => denial = Some(error),
            }
        }
        self.by_methods(Action::Subscribe, workspace, credentials, denial).await.map(|_| ())
    }

    async fn by_methods(
        &self,
        action: Action,
        workspace: &WorkspaceId,
        credentials: &Credentials<'_>,
        mut denial: Option<Denial>,
    ) -> Result<Grant, Denial> {
        if self.methods.is_empty() {
            return self.let_in(workspace, Identity::default(), None);
        }
        for method in &self.methods {
            let outcome = match method {
                Method::Jwt { sources, verifier } => {
                    by_token(sources, verifier, action, workspace, credentials).await
                }
                Method::Forward { forward, askers } => {
                    by_app(forward, askers, action, workspace, credentials).await
                }
            };
            match outcome {
                Ok((identity, auth_request)) => return self.let_in(workspace, identity, auth_request),
                Err(error) => denial = Some(more_telling(denial, error)),
            }
        }
        Err(denial.unwrap_or_else(no_credentials))
    }

    fn let_in(
        &self,
        workspace: &WorkspaceId,
        identity: Identity,
        auth_request: Option<AuthRequest>,
    ) -> Result<Grant, Denial> {
        self.check_bans(workspace, &identity)?;
        Ok(Grant { identity, auth_request, ticket: None })
    }

    /// Refuses whom a backend told to stay away. To be asked again when a stream stands among the open ones, since an
    /// order may have come while it was decided about.
    ///
    /// # Errors
    ///
    /// A final [`Denial`].
    pub fn check_bans(&self, workspace: &WorkspaceId, identity: &Identity) -> Result<(), Denial> {
        match self.bans.until(workspace, identity.keys(), SystemTime::now()) {
            None => Ok(()),
            Some(_) => Err(Denial::new(
                DenialKind::Final,
                DenialReason::Disconnected,
                "a backend has disconnected this client and told it to stay away",
            )),
        }
    }

    /// Somebody was let in and there is no room: a ticket counts once more.
    pub async fn turn_away(&self, admission: Grant) {
        if let Some(used) = admission.ticket {
            self.tickets.put_back(used).await;
        }
    }

    /// What a ticket stands for that is issued on this admission. The app's word is not asked for again by way of a ticket, so
    /// it counts for no longer than it would otherwise until it is asked for again.
    #[must_use]
    pub fn ticket_identity(&self, admission: &Grant) -> Identity {
        let mut identity = admission.identity.clone();
        if let (Some(recheck), Some(_)) = (&self.recheck, &admission.auth_request) {
            identity.expires = Some(SystemTime::now() + recheck.interval());
        }
        identity
    }

    /// Has an open stream's right to be open looked at again now and then, where it is the app's word.
    pub fn watch(&self, stream: StreamHandle, workspace: WorkspaceId, admission: Grant) {
        if let (Some(recheck), Some(auth_request)) = (&self.recheck, admission.auth_request) {
            recheck.watch(Watched { stream, workspace, identity: admission.identity, auth_request });
        }
    }
}

type MethodOutcome = Result<(Identity, Option<AuthRequest>), Denial>;

async fn by_token(
    sources: &TokenSources,
    verifier: &Verifier,
    action: Action,
    workspace: &WorkspaceId,
    credentials: &Credentials<'_>,
) -> MethodOutcome {
    let token = bearer::find(credentials.headers, credentials.query, sources)?.ok_or_else(no_credentials)?;
    let VerifiedToken { mut identity, scope, accepted_until } = verifier.verify(token.reveal()).await?;
    if scope.permits(action, workspace) {
        // A token that is only good by the leeway for clocks is good until that has passed: a stream that ended at once
        // would come back with the same one, again and again.
        if identity.expires.is_some_and(|at| at <= SystemTime::now() + LEEWAY_FROM) {
            identity.expires = Some(accepted_until);
        }
        return Ok((identity, None));
    }
    let (check, what) = match action {
        Action::Subscribe => (DenialReason::Subscribe, "reading"),
        Action::Publish => (DenialReason::Publish, "publishing to"),
    };
    Err(Denial::forbidden(check, format!("the token does not allow {what} this workspace")))
}

async fn by_app(
    forward: &ForwardAuth,
    askers: &Arc<AddressCounts>,
    action: Action,
    workspace: &WorkspaceId,
    credentials: &Credentials<'_>,
) -> MethodOutcome {
    let Credentials { headers, address, scheme, host, path, query, .. } = credentials;
    let _place = askers.enter(*address).map_err(|AddressFull| {
        Denial::passing(
            DenialReason::AppUnavailable,
            "too many of this address are being asked about at the moment: try again later",
        )
    })?;
    let uri = if query.is_empty() { (*path).to_owned() } else { format!("{path}?{query}") };
    let auth_request = forward.auth_request(headers, *address, scheme, *host, &uri);
    let decision = forward.ask(workspace, action, &auth_request).await?;
    Ok((decision.identity, Some(auth_request)))
}

fn no_credentials() -> Denial {
    Denial::unauthenticated(
        DenialReason::Credentials,
        "this broker wants to know who you are: send a token in `Authorization: Bearer`, or a ticket",
    )
}

/// Of two denials the one that is told. What may pass comes first, for the method that cannot decide now might let in, and a
/// 4xx would end an `EventSource` for good. Then what somebody known may not do, then what is wrong with credentials,
/// and at last that there are none.
fn more_telling(known: Option<Denial>, other: Denial) -> Denial {
    let rank = |denial: &Denial| match (denial.standing, denial.check) {
        (DenialKind::Final, _) => 4,
        (DenialKind::Passing, _) => 3,
        (DenialKind::Forbidden, _) => 2,
        (DenialKind::Unauthenticated, DenialReason::Credentials) => 0,
        (DenialKind::Unauthenticated, _) => 1,
    };
    match known {
        Some(known) if rank(&known) >= rank(&other) => known,
        _ => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A temporary denial wins over a final one if another method may still grant.
    #[test]
    fn of_two_denials_the_one_that_says_more_is_told() {
        let none = no_credentials;
        let expired = || Denial::unauthenticated(DenialReason::Expiry, "");
        let forbidden = || Denial::forbidden(DenialReason::App, "");
        let passing = || Denial::passing(DenialReason::AppUnavailable, "");
        assert_eq!(more_telling(None, none()), none());
        for (one, other) in [(none(), expired()), (expired(), forbidden()), (forbidden(), passing())] {
            assert_eq!(more_telling(Some(one.clone()), other.clone()), other);
            assert_eq!(more_telling(Some(other.clone()), one), other);
        }
        let first = Denial::unauthenticated(DenialReason::Signature, "");
        assert_eq!(more_telling(Some(first.clone()), expired()), first, "of equals the first method's");
    }
}
