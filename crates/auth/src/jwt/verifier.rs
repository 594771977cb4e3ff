//! Decides whether a token counts.

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

/// What a token proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    /// Who brings it. Its `expires` is the token's `exp`: always there, and past where the leeway was needed.
    pub identity: Identity,
    /// What it allows.
    pub scope: Scope,
    /// Until when it is accepted: `exp` and the leeway.
    pub accepted_until: SystemTime,
}

/// Checks tokens by the configured algorithms, keys and rules.
#[derive(Debug)]
pub struct Verifier {
    pub(super) algorithms: Algorithms,
    pub(super) rules: Rules,
    pub(super) keys: VerifierKeys,
}

/// The keys that vouch for tokens.
#[derive(Debug)]
pub(super) enum VerifierKeys {
    /// Those of the configuration and of its files.
    Configured(ConfiguredKeys),
    /// Those at addresses. There is at least one.
    Fetched(Box<Fetcher>, Vec<KeySetSource>),
}

impl Verifier {
    /// Takes a configuration. Reads the files of keys and thus blocks; fetches nothing yet.
    ///
    /// # Errors
    ///
    /// [`JwtSetupError`] says which key of the configuration is to be mended.
    pub fn new(config: &JwtConfig, metrics: &Metrics) -> Result<Self, JwtSetupError> {
        let keys = match (material::source(config)?, ConfiguredKeys::open(config)?) {
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

    /// Keeps keys at addresses and in files fresh until it is told to stop. Without it, keys at addresses are never had. Where
    /// there are neither it only waits for the end.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        match &self.keys {
            VerifierKeys::Configured(keys) => keys.watch(&stop).await,
            VerifierKeys::Fetched(fetcher, sources) => {
                join_all(sources.iter().map(|source| source.run(fetcher, &stop))).await;
            }
        }
    }

    /// Has the files of keys read again by [`Verifier::run`], whether or not they have changed; returns whether there are any.
    /// Keys at addresses are left alone.
    pub fn reload(&self) -> bool {
        match &self.keys {
            VerifierKeys::Configured(keys) => keys.reload(),
            VerifierKeys::Fetched(..) => false,
        }
    }

    /// Fetches all keys once: for a command that checks one token and has no use for [`Verifier::run`]. Takes as long as
    /// the slowest fetch may; what cannot be fetched is found missing when a token needs it.
    pub async fn fetch_once(&self) {
        if let VerifierKeys::Fetched(fetcher, sources) = &self.keys {
            join_all(sources.iter().map(|source| source.fetch(fetcher))).await;
        }
    }

    /// The addresses whose keys were never had, without their queries.
    #[must_use]
    pub fn without_keys(&self) -> Vec<String> {
        match &self.keys {
            VerifierKeys::Configured(_) => vec![],
            VerifierKeys::Fetched(_, sources) => {
                sources.iter().filter(|source| source.keys().is_none()).map(KeySetSource::name).collect()
            }
        }
    }

    /// Checks a token: form, algorithm, key, signature, time, issuer, audience, claims, in this order. A key that is not
    /// known is asked for, which takes up to `auth.jwt.jwks_timeout_seconds`.
    ///
    /// Cancellation safe.
    ///
    /// # Errors
    ///
    /// The first check that the token does not pass.
    pub async fn verify(&self, token: &str) -> Result<VerifiedToken, Denial> {
        let form = TokenForm::parse(token)?;
        let algorithm = self.algorithm(&form)?;
        let candidates = self.candidates(&form, algorithm).await?;
        signed(&form, algorithm, &candidates)?;
        for (_, checked) in self.rules.check(&form.claims, SystemTime::now()) {
            checked?;
        }
        self.rules.take(&form.claims)
    }

    /// Checks a token as [`Verifier::verify`] does, and goes on after what it does not pass, so as to tell everything.
    pub async fn explain(&self, token: &str) -> Explanation {
        explain(self, token).await
    }

    /// The algorithm of a token, if it is one of those that are configured.
    pub(super) fn algorithm(&self, form: &TokenForm<'_>) -> Result<Algorithm, Denial> {
        form.algorithm.filter(|algorithm| self.algorithms.as_slice().contains(algorithm)).ok_or_else(|| {
            let detail = "the token is signed with an algorithm that is not in auth.jwt.algorithm";
            Denial::unauthenticated(DenialReason::Algorithm, detail)
        })
    }

    /// The keys that may have signed a token; never none.
    pub(super) async fn candidates(
        &self,
        form: &TokenForm<'_>,
        algorithm: Algorithm,
    ) -> Result<Vec<Arc<VerificationKey>>, Denial> {
        let sources = match &self.keys {
            VerifierKeys::Configured(keys) => return Ok(keys.candidates(algorithm)),
            VerifierKeys::Fetched(_, sources) => sources,
        };
        // Keys vouch for the issuer that they are bound to and for no other; whose keys are looked at is up to the token,
        // and which issuer it names is part of what its signature covers.
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
            let detail = "the keys for this token cannot be had at the moment: try again";
            Denial::passing(DenialReason::KeysUnavailable, detail)
        } else {
            let detail = "no key is known for this token: its `kid` is not among the published keys";
            Denial::unauthenticated(DenialReason::Key, detail)
        })
    }
}

/// Whether a token may be younger than the keys that are known: then its key may be too, and it is to be tried again once
/// they may be fetched again. What it says of its age is not proven, and decides only how it is refused.
fn younger(claims: &Claims, source: &KeySetSource) -> bool {
    let Some(keys) = source.keys() else { return true };
    claims.time("iat").ok().flatten().is_none_or(|issued| issued >= keys.asked)
}

/// Whether one of these keys has signed a token.
pub(super) fn signed(
    form: &TokenForm<'_>,
    algorithm: Algorithm,
    candidates: &[Arc<VerificationKey>],
) -> Result<(), Denial> {
    if candidates.iter().any(|key| key.verifies(algorithm, form.signed, form.signature)) {
        return Ok(());
    }
    Err(Denial::unauthenticated(DenialReason::Signature, "the signature is not that of the key"))
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
