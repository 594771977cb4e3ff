//! The decision whether a request is authenticated and authorized.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::HeaderMap;

use super::control::Bans;
use super::forward::{AuthRequest, ForwardAuth};
use super::jwt::{CurrentTokens, TokenMethod, VerifiedToken, bearer};
use super::recheck::{Recheck, Watched};
use super::tickets::{Tickets, UsedTicket};
use super::{Action, Denial, DenialKind, DenialReason};
use tidings_event::workspace::WorkspaceId;
use tidings_event::{Identity, Keys};
use tidings_limits::{AddressCounts, AddressFull, StreamHandle};
use tidings_metrics::{AuthenticationMethod, AuthenticationOutcome, AuthenticationTimes};

/// If a token has less time left than this, it counts as valid by the leeway for clocks only.
const LEEWAY_FROM: Duration = Duration::from_secs(2);

/// The parts of a request that can authenticate its client.
#[derive(Debug)]
pub struct Credentials<'a> {
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The query of the request, not decoded.
    pub query: &'a str,
    /// The ticket in the query, if the route accepts tickets.
    pub ticket: Option<&'a str>,
    /// The path of the request.
    pub path: &'a str,
    /// The client's address.
    pub address: std::net::IpAddr,
    /// `http` or `https`, as the client used it.
    pub scheme: &'a str,
    /// The host in the request.
    pub host: Option<&'a str>,
}

/// The result of a successful authentication.
#[derive(Debug)]
pub struct Grant {
    /// The identity of the client.
    pub identity: Identity,
    /// The request to the app, if the app accepted the client.
    auth_request: Option<AuthRequest>,
    /// The ticket, if the client used one.
    ticket: Option<UsedTicket>,
}

/// A way to find the user of a request: by a token, or by a request to the app.
#[derive(Debug)]
pub enum Method {
    /// A token in the request.
    Jwt(Arc<TokenMethod>),
    /// A request to the app.
    Forward {
        /// The client of the app.
        forward: ForwardAuth,
        /// The open decisions of each client address, so that no address can fill the queue to the
        /// app.
        requests_per_address: Arc<AddressCounts>,
    },
}

impl Method {
    fn label(&self) -> AuthenticationMethod {
        match self {
            Self::Jwt(_) => AuthenticationMethod::Jwt,
            Self::Forward { .. } => AuthenticationMethod::Forward,
        }
    }
}

/// Authenticates requests with all configured methods.
#[derive(Debug)]
pub struct Authenticator {
    /// In the order in which they are tried. Without methods, every request is accepted.
    methods: Vec<Method>,
    tickets: Tickets,
    bans: Arc<Bans>,
    recheck: Option<Arc<Recheck>>,
    times: AuthenticationTimes,
}

impl Authenticator {
    /// Creates an authenticator. Without methods it accepts each request to which no ban applies.
    /// Each attempt of a method adds its time to `times`.
    #[must_use]
    pub fn new(
        methods: Vec<Method>,
        tickets: Tickets,
        bans: Arc<Bans>,
        recheck: Option<Arc<Recheck>>,
        times: AuthenticationTimes,
    ) -> Self {
        Self { methods, tickets, bans, recheck, times }
    }

    /// Returns the tickets of this node.
    #[must_use]
    pub fn tickets(&self) -> &Tickets {
        &self.tickets
    }

    /// Authenticates one request. A ticket counts first, then each method in order; the first one
    /// that accepts decides.
    ///
    /// Not cancellation safe for a request with a ticket: the ticket may be used up.
    ///
    /// # Errors
    ///
    /// Returns the most specific [`Denial`] of the ticket and all methods. Its text may be shown to
    /// the client.
    pub async fn authenticate(
        &self,
        action: Action,
        workspace: &WorkspaceId,
        credentials: &Credentials<'_>,
    ) -> Result<Grant, Denial> {
        let mut denial: Option<Denial> = None;
        if let (Some(ticket), Action::Subscribe) = (credentials.ticket, action) {
            let began = Instant::now();
            let redeemed = self.tickets.redeem(ticket, workspace).await;
            self.observe(AuthenticationMethod::Ticket, began, &redeemed);
            match redeemed {
                Ok((identity, used)) => {
                    self.check_bans(workspace, &identity)?;
                    return Ok(Grant { identity, auth_request: None, ticket: Some(used) });
                }
                Err(error) => denial = Some(error),
            }
        }
        self.try_methods(action, workspace, credentials, denial).await
    }

    /// Decides whether the client may read the workspace, as [`authenticate`](Self::authenticate)
    /// does, but does not use up a ticket. Cancellation safe.
    ///
    /// # Errors
    ///
    /// Returns a [`Denial`], whose text may be shown to the client.
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
        self.try_methods(Action::Subscribe, workspace, credentials, denial).await.map(|_| ())
    }

    async fn try_methods(
        &self,
        action: Action,
        workspace: &WorkspaceId,
        credentials: &Credentials<'_>,
        mut denial: Option<Denial>,
    ) -> Result<Grant, Denial> {
        if self.methods.is_empty() {
            return self.grant(workspace, Identity::default(), None);
        }
        for method in &self.methods {
            let began = Instant::now();
            let outcome = match method {
                Method::Jwt(tokens) => {
                    authenticate_token(&tokens.current(), action, workspace, credentials).await
                }
                Method::Forward { forward, requests_per_address } => {
                    authenticate_with_app(forward, requests_per_address, action, workspace, credentials).await
                }
            };
            self.observe(method.label(), began, &outcome);
            match outcome {
                Ok((identity, auth_request)) => return self.grant(workspace, identity, auth_request),
                Err(error) => denial = Some(more_specific(denial, error)),
            }
        }
        Err(denial.unwrap_or_else(no_credentials))
    }

    /// Adds the time of an attempt.
    fn observe<T>(&self, method: AuthenticationMethod, began: Instant, outcome: &Result<T, Denial>) {
        let outcome = match outcome {
            Ok(_) => AuthenticationOutcome::Accepted,
            Err(denial) if denial.kind == DenialKind::Passing => AuthenticationOutcome::Failed,
            Err(_) => AuthenticationOutcome::Denied,
        };
        self.times.observe(method, outcome, began.elapsed());
    }

    fn grant(
        &self,
        workspace: &WorkspaceId,
        identity: Identity,
        auth_request: Option<AuthRequest>,
    ) -> Result<Grant, Denial> {
        self.check_bans(workspace, &identity)?;
        Ok(Grant { identity, auth_request, ticket: None })
    }

    /// Rejects a client with a ban. Call it again after the registration of the stream, because a
    /// ban may have been added in between.
    ///
    /// # Errors
    ///
    /// Returns a final [`Denial`].
    pub fn check_bans(&self, workspace: &WorkspaceId, identity: &Identity) -> Result<(), Denial> {
        match self.bans.until(workspace, identity.keys(), SystemTime::now()) {
            None => Ok(()),
            Some(_) => Err(Denial::new(
                DenialKind::Final,
                DenialReason::Disconnected,
                "a backend has disconnected and banned this client: do not reconnect",
            )
            .of_user(identity.user.clone())),
        }
    }

    /// Returns the end of the ban of a client for a workspace, if there is one.
    #[must_use]
    pub fn banned_until(&self, workspace: &WorkspaceId, keys: Keys) -> Option<SystemTime> {
        self.bans.until(workspace, keys, SystemTime::now())
    }

    /// Makes the ticket of a grant valid again, because its stream was rejected at a limit.
    pub async fn release_ticket(&self, grant: Grant) {
        if let Some(used) = grant.ticket {
            self.tickets.put_back(used).await;
        }
    }

    /// Returns the identity for a ticket that is issued for this grant.
    ///
    /// The node does not ask the app again about a ticket. So the app's decision expires after the
    /// interval after which the node would ask again.
    #[must_use]
    pub fn ticket_identity(&self, grant: &Grant) -> Identity {
        let mut identity = grant.identity.clone();
        if let (Some(recheck), Some(_)) = (&self.recheck, &grant.auth_request) {
            identity.expires = Some(SystemTime::now() + recheck.interval());
        }
        identity
    }

    /// Starts repeated authentication of an open stream, if the app accepted it.
    pub fn watch(&self, stream: StreamHandle, workspace: WorkspaceId, grant: Grant) {
        if let (Some(recheck), Some(auth_request)) = (&self.recheck, grant.auth_request) {
            recheck.watch(Watched { stream, workspace, identity: grant.identity, auth_request });
        }
    }
}

type MethodOutcome = Result<(Identity, Option<AuthRequest>), Denial>;

async fn authenticate_token(
    tokens: &CurrentTokens,
    action: Action,
    workspace: &WorkspaceId,
    credentials: &Credentials<'_>,
) -> MethodOutcome {
    let CurrentTokens { sources, verifier } = tokens;
    let token = bearer::find(credentials.headers, credentials.query, sources)?.ok_or_else(no_credentials)?;
    let VerifiedToken { mut identity, scope, accepted_until } = verifier.verify(token.reveal()).await?;
    if scope.permits(action, workspace) {
        // Without the leeway, such a token would expire at once. The stream would end and the
        // client reconnect with the same token, again and again.
        if identity.expires.is_some_and(|at| at <= SystemTime::now() + LEEWAY_FROM) {
            identity.expires = Some(accepted_until);
        }
        return Ok((identity, None));
    }
    let (reason, access) = match action {
        Action::Subscribe => (DenialReason::Subscribe, "reading"),
        Action::Publish => (DenialReason::Publish, "publishing to"),
    };
    Err(Denial::forbidden(
        reason,
        format!("the token does not allow {access} this workspace: get another token"),
    )
    .of_user(identity.user))
}

async fn authenticate_with_app(
    forward: &ForwardAuth,
    requests_per_address: &Arc<AddressCounts>,
    action: Action,
    workspace: &WorkspaceId,
    credentials: &Credentials<'_>,
) -> MethodOutcome {
    let Credentials { headers, address, scheme, host, path, query, .. } = credentials;
    let _place = requests_per_address.acquire(*address).map_err(|AddressFull| {
        Denial::passing(
            DenialReason::AppUnavailable,
            "too many decisions about clients of this address are open: try again later",
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
        "the request has no credentials: send a token in `Authorization: Bearer`, or a ticket",
    )
}

/// Returns the more specific of two denials.
///
/// A temporary one comes first, because its method may accept the client later, and a 4xx ends an
/// `EventSource` for good. Next are missing rights of a known client, then wrong credentials, then
/// missing credentials.
fn more_specific(known: Option<Denial>, other: Denial) -> Denial {
    let rank = |denial: &Denial| match (denial.kind, denial.reason) {
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
    fn more_specific_denial_is_returned() {
        let none = no_credentials;
        let expired = || Denial::unauthenticated(DenialReason::Expiry, "");
        let forbidden = || Denial::forbidden(DenialReason::App, "");
        let passing = || Denial::passing(DenialReason::AppUnavailable, "");
        assert_eq!(more_specific(None, none()), none());
        for (one, other) in [(none(), expired()), (expired(), forbidden()), (forbidden(), passing())] {
            assert_eq!(more_specific(Some(one.clone()), other.clone()), other);
            assert_eq!(more_specific(Some(other.clone()), one), other);
        }
        let first = Denial::unauthenticated(DenialReason::Signature, "");
        assert_eq!(
            more_specific(Some(first.clone()), expired()),
            first,
            "of equal ones, that of the first method"
        );
    }
}
