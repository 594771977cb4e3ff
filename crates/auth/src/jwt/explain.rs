//! A decision, step by step, for people.

use std::time::SystemTime;

use super::form::TokenForm;
use super::verifier::{VerifiedToken, Verifier, VerifierKeys, signed};
use crate::{Denial, DenialReason};

/// How it was decided whether a token counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Every check that could be made, in order. After the first that failed, the others speak of what the token claims
    /// and nobody has proven.
    pub steps: Vec<ExplainStep>,
    /// The decision, which is that of [`Verifier::verify`].
    pub outcome: Result<VerifiedToken, Denial>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainStep {
    /// Which.
    pub check: DenialReason,
    /// What it looked at. Texts of the token stand in quotes, with control characters escaped.
    pub seen: String,
    /// What came of it.
    pub result: Result<(), Denial>,
}

pub(super) async fn explain(verifier: &Verifier, token: &str) -> Explanation {
    let outcome = verifier.verify(token).await;
    let mut steps = Vec::new();
    let mut step = |check, seen, result| steps.push(ExplainStep { check, seen, result });
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
    for (check, result) in verifier.rules.check(&form.claims, now) {
        let seen = match check {
            DenialReason::Expiry => time(&form, "exp", now),
            DenialReason::NotBefore => time(&form, "nbf", now),
            DenialReason::Issuer => form.claims.shown("iss"),
            _ => form.claims.shown("aud"),
        };
        step(check, seen, result);
    }
    let taken = verifier.rules.take(&form.claims).map(|_| ());
    let claims = verifier.rules.names().map(|name| form.claims.shown(name)).join(", ");
    step(DenialReason::Claims, claims, taken);
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

/// A time as RFC 3339, and how far off it is.
fn time(form: &TokenForm<'_>, name: &str, now: SystemTime) -> String {
    let Ok(Some(time)) = form.claims.time(name) else { return form.claims.shown(name) };
    let off = match time.duration_since(now) {
        Ok(ahead) => format!("in {} s", ahead.as_secs()),
        Err(error) => format!("{} s ago", error.duration().as_secs()),
    };
    let text = jiff::Timestamp::try_from(time).map(|time| format!("{time:.0}")).unwrap_or_default();
    format!("{name} {text}, {off}")
}
