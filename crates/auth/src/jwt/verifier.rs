//! The verification of tokens.

use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::join_all;
use http::Uri;
use jsonwebtoken::Algorithm;
use tokio_util::sync::CancellationToken;

use super::claims::{Claims, Rules, issuer_denied};
use super::configured::ConfiguredKeys;
use super::explain::{Explanation, explain};
use super::fetch::Fetcher;
use super::form::TokenForm;
use super::key::VerificationKey;
use super::material::{self, JwtSetupError};
use super::source::{KeySetSource, Refreshed, SourceSettings};
use crate::jwt::config::{KeySource, is_jwks_url};
use crate::{Algorithms, JwtConfig};
use crate::{Denial, DenialReason, Scope};
use tidings_event::Identity;
use tidings_metrics::Metrics;

/// The result of a successful verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    /// The identity. Its `expires` is `exp`: always set, and in the past if the leeway was needed.
    pub identity: Identity,
    /// The allowed workspaces.
    pub scope: Scope,
    /// The time until which the token is accepted: `exp` and the leeway.
    pub accepted_until: SystemTime,
}

/// Verifies tokens by the configured algorithms, keys and rules.
#[derive(Debug)]
pub struct Verifier {
    pub(super) algorithms: Algorithms,
    pub(super) rules: Rules,
    pub(super) keys: VerifierKeys,
}

/// The keys that verify tokens.
#[derive(Debug)]
pub(super) enum VerifierKeys {
    /// Those of the configuration and of its files.
    Configured(ConfiguredKeys),
    /// Those at URLs; at least one.
    Fetched(Box<Fetcher>, Vec<KeySetSource>),
}

impl Verifier {
    /// Creates a verifier. Reads the key files, and so blocks; fetches nothing yet.
    ///
    /// # Errors
    ///
    /// Returns a [`JwtSetupError`] that names the key of the configuration to correct.
    pub fn new(config: &JwtConfig, metrics: &Metrics) -> Result<Self, JwtSetupError> {
        let keys = match (material::source(config)?, ConfiguredKeys::open(config, metrics)?) {
            (_, Some(keys)) => VerifierKeys::Configured(keys),
            (KeySource::Jwks(addresses), None) => {
                let tls = addresses.iter().any(|address| address.starts_with("https:"));
                let fetcher = Fetcher::new(config.jwks_timeout_seconds.duration(), tls)?;
                let sources = sources(config, &SourceSettings::new(config, metrics))?;
                VerifierKeys::Fetched(Box::new(fetcher), sources)
            }
            (_, None) => return Err(JwtSetupError::Sources),
        };
        Ok(Self { algorithms: config.algorithm.clone(), rules: Rules::new(config), keys })
    }

    /// Updates the keys at URLs and in files until `stop` is cancelled. Without it, keys at URLs
    /// are never fetched. Without both it only waits.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        match &self.keys {
            VerifierKeys::Configured(keys) => keys.watch(&stop).await,
            VerifierKeys::Fetched(fetcher, sources) => {
                join_all(sources.iter().map(|source| source.run(fetcher, &stop))).await;
            }
        }
    }

    /// Requests that [`Verifier::run`] reads the key files, changed or not; returns whether there
    /// are any. Keys at URLs are not fetched.
    pub fn reload(&self) -> bool {
        match &self.keys {
            VerifierKeys::Configured(keys) => keys.reload(),
            VerifierKeys::Fetched(..) => false,
        }
    }

    /// Takes the keys that another verifier has fetched from the same URLs.
    pub(super) fn adopt_keys(&self, former: &Self) {
        if let (VerifierKeys::Fetched(_, sources), VerifierKeys::Fetched(_, known)) =
            (&self.keys, &former.keys)
        {
            for source in sources {
                source.adopt_keys(known);
            }
        }
    }

    /// Fetches all keys once, for a command that verifies one token without [`Verifier::run`].
    /// Takes as long as the slowest fetch. Failures show when a token needs a missing key.
    pub async fn fetch_once(&self) {
        if let VerifierKeys::Fetched(fetcher, sources) = &self.keys {
            join_all(sources.iter().map(|source| source.fetch(fetcher))).await;
        }
    }

    /// Returns the URLs without any keys yet, without their queries.
    #[must_use]
    pub fn without_keys(&self) -> Vec<String> {
        match &self.keys {
            VerifierKeys::Configured(_) => vec![],
            VerifierKeys::Fetched(_, sources) => {
                sources.iter().filter(|source| source.keys().is_none()).map(KeySetSource::name).collect()
            }
        }
    }

    /// Verifies a token: form, algorithm, key, signature, time, issuer, audience, claims, in this
    /// order. For an unknown key it waits for a fetch, at most `auth.jwt.jwks_timeout_seconds`.
    ///
    /// Cancellation safe.
    ///
    /// # Errors
    ///
    /// Returns the denial of the first failed check.
    pub async fn verify(&self, token: &str) -> Result<VerifiedToken, Denial> {
        let form = TokenForm::parse(token)?;
        let algorithm = self.algorithm(&form)?;
        let candidates = self.candidates(&form, algorithm).await?;
        signed(&form, algorithm, &candidates)?;
        for (_, checked) in self.rules.check(&form.claims, SystemTime::now()) {
            checked?;
        }
        self.rules.read(&form.claims)
    }

    /// Verifies a token as [`Verifier::verify`] does, and continues after a failed check to report
    /// all of them.
    pub async fn explain(&self, token: &str) -> Explanation {
        explain(self, token).await
    }

    /// Returns the algorithm of a token, if it is configured.
    pub(super) fn algorithm(&self, form: &TokenForm<'_>) -> Result<Algorithm, Denial> {
        form.algorithm.filter(|algorithm| self.algorithms.as_slice().contains(algorithm)).ok_or_else(|| {
            let detail = "the token is signed with an algorithm that is not in auth.jwt.algorithm";
            Denial::unauthenticated(DenialReason::Algorithm, detail)
        })
    }

    /// Returns the keys that may have signed a token; never empty.
    pub(super) async fn candidates(
        &self,
        form: &TokenForm<'_>,
        algorithm: Algorithm,
    ) -> Result<Vec<Arc<VerificationKey>>, Denial> {
        let sources = match &self.keys {
            VerifierKeys::Configured(keys) => return Ok(keys.candidates(algorithm)),
            VerifierKeys::Fetched(_, sources) => sources,
        };
        // Keys verify tokens of their own issuer only. The token's issuer selects the keys, and the
        // signature covers the issuer.
        let issuer = form.claims.text("iss");
        let bound = |source: &&KeySetSource| source.issuer.is_none() || source.issuer.as_deref() == issuer;
        let sources: Vec<&KeySetSource> = sources.iter().filter(bound).collect();
        if sources.is_empty() {
            return Err(issuer_denied("the token is from an issuer (`iss`) that is not in auth.jwt.issuer"));
        }
        let known = || -> Vec<Arc<VerificationKey>> {
            let sets = sources.iter().filter_map(|source| source.keys());
            sets.flat_map(|set| set.candidates(form.key_id.as_deref(), algorithm)).collect()
        };
        let candidates = known();
        if !candidates.is_empty() {
            return Ok(candidates);
        }
        let refreshed = join_all(sources.iter().map(|source| source.refresh())).await;
        let candidates = known();
        if !candidates.is_empty() {
            return Ok(candidates);
        }
        let undecided = sources.iter().zip(refreshed).any(|(source, refreshed)| match refreshed {
            Refreshed::Yes => false,
            Refreshed::Failed => true,
            Refreshed::TooSoon => younger(&form.claims, source),
        });
        Err(if undecided {
            let detail = "the keys for this token are not available now: try again later";
            Denial::passing(DenialReason::KeysUnavailable, detail)
        } else {
            let detail = "no key is known for this token: its `kid` is not among the published keys";
            Denial::unauthenticated(DenialReason::Key, detail)
        })
    }
}

/// Returns whether a token may be younger than the known keys. Then its key may be younger too, and
/// the client should retry after the next fetch. The token's age is not verified, and only selects
/// the denial.
fn younger(claims: &Claims, source: &KeySetSource) -> bool {
    let Some(keys) = source.keys() else { return true };
    claims.time("iat").ok().flatten().is_none_or(|issued| issued >= keys.requested)
}

/// Checks that one of these keys has signed a token.
pub(super) fn signed(
    form: &TokenForm<'_>,
    algorithm: Algorithm,
    candidates: &[Arc<VerificationKey>],
) -> Result<(), Denial> {
    if candidates.iter().any(|key| key.verifies(algorithm, form.signed, form.signature)) {
        return Ok(());
    }
    Err(Denial::unauthenticated(DenialReason::Signature, "the signature does not match the key"))
}

fn sources(config: &JwtConfig, settings: &SourceSettings) -> Result<Vec<KeySetSource>, JwtSetupError> {
    if !config.binds_issuers() {
        return Err(JwtSetupError::Issuers);
    }
    let several = config.jwks_url.len() > 1;
    let source = |(index, text): (usize, &String)| {
        let address: Uri = match text.parse() {
            Ok(address) if is_jwks_url(text, config.jwks_over_http) => address,
            _ => return Err(JwtSetupError::Address(text.clone())),
        };
        let issuer = config.issuer.get(index).filter(|_| several).cloned();
        Ok(KeySetSource::new(address, issuer, settings.clone()))
    };
    config.jwks_url.iter().enumerate().map(source).collect()
}
