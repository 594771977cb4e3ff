//! The checks of a token step by step, for `tidings token`.

use std::time::SystemTime;

use super::form::TokenForm;
use super::verifier::{VerifiedToken, Verifier, VerifierKeys, signed};
use crate::{Denial, DenialReason};

/// The checks of a token and the decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Each possible check, in order. After the first failed one, the others describe claims that
    /// are not verified.
    pub steps: Vec<ExplainStep>,
    /// The decision, equal to that of [`Verifier::verify`].
    pub outcome: Result<VerifiedToken, Denial>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainStep {
    /// The name of the check.
    pub reason: DenialReason,
    /// The checked value. Texts of the token are in quotes, with control characters escaped.
    pub seen: String,
    /// The outcome.
    pub result: Result<(), Denial>,
}

pub(super) async fn explain(verifier: &Verifier, token: &str) -> Explanation {
    let outcome = verifier.verify(token).await;
    let mut steps = Vec::new();
    let mut step = |reason, seen, result| steps.push(ExplainStep { reason, seen, result });
    let form = match TokenForm::parse(token) {
        Ok(form) => form,
        Err(denial) => {
            step(DenialReason::Form, format!("{} bytes", token.len()), Err(denial));
            return Explanation { steps, outcome };
        }
    };
    let named = form.key_id.as_ref().map_or("no `kid`".to_owned(), |id| format!("kid {id:?}"));
    step(
        DenialReason::Form,
        format!("{} bytes, alg {:?}, {named}", token.len(), form.algorithm_text),
        Ok(()),
    );

    let algorithm = verifier.algorithm(&form);
    step(
        DenialReason::Algorithm,
        format!("accepted: {}", verifier.algorithms),
        algorithm.clone().map(|_| ()),
    );
    if let Ok(algorithm) = algorithm {
        let candidates = verifier.candidates(&form, algorithm).await;
        let tried = candidates.as_ref().map_or(0, Vec::len);
        let keys = format!("{}; {tried} may have signed it", keys(&verifier.keys));
        step(DenialReason::Key, keys, candidates.as_ref().map(|_| ()).map_err(Clone::clone));
        if let Ok(candidates) = candidates {
            step(DenialReason::Signature, format!("{algorithm:?}"), signed(&form, algorithm, &candidates));
        }
    }

    let now = SystemTime::now();
    for (reason, result) in verifier.rules.check(&form.claims, now) {
        let seen = match reason {
            DenialReason::Expiry => time(&form, "exp", now),
            DenialReason::NotBefore => time(&form, "nbf", now),
            DenialReason::Issuer => form.claims.shown("iss"),
            _ => form.claims.shown("aud"),
        };
        step(reason, seen, result);
    }
    let read = verifier.rules.read(&form.claims).map(|_| ());
    let claims = verifier.rules.names().map(|name| form.claims.shown(name)).join(", ");
    step(DenialReason::Claims, claims, read);
    Explanation { steps, outcome }
}

fn keys(keys: &VerifierKeys) -> String {
    match keys {
        VerifierKeys::Configured(_) => "the configured keys".to_owned(),
        VerifierKeys::Fetched(_, sources) => {
            let known = sources.iter().map(|source| {
                let count = source.keys().map_or(0, |keys| keys.len());
                format!("{count} known from {}", source.name())
            });
            known.collect::<Vec<_>>().join(", ")
        }
    }
}

/// Formats a time as RFC 3339, with its distance from now.
fn time(form: &TokenForm<'_>, name: &str, now: SystemTime) -> String {
    let Ok(Some(time)) = form.claims.time(name) else { return form.claims.shown(name) };
    let off = match time.duration_since(now) {
        Ok(ahead) => format!("in {} s", ahead.as_secs()),
        Err(error) => format!("{} s ago", error.duration().as_secs()),
    };
    let text = jiff::Timestamp::try_from(time).map(|time| format!("{time:.0}")).unwrap_or_default();
    format!("{name} {text}, {off}")
}
