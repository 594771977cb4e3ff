//! Time, issuer, audience and the meaning of claims.

use serde_json::{Value, json};

use super::support::{SECRET, claims, now, refused, verifier, with_secret};
use crate::jwt::VerifiedToken;
use crate::jwt::token::TOKEN_BYTES_MAX;
use crate::{Action, Denial, DenialReason};
use tidings_event::workspace::WorkspaceId;

/// Verifies a token with these claims and settings beside the usual ones.
async fn check(others: Value, settings: &[(&str, &str)]) -> Result<VerifiedToken, Denial> {
    let settings = [&[("algorithm", "HS256"), ("secret", SECRET)], settings].concat();
    verifier(&settings).verify(&with_secret(&claims(&others))).await
}

#[tokio::test]
async fn token_is_valid_in_its_time_only() {
    let leeway = [("leeway_seconds", "60")];
    let exact = [("leeway_seconds", "0")];
    for (others, settings, expected) in [
        (json!({}), &exact[..], None),
        (json!({ "exp": now() - 30 }), &leeway, None),
        (json!({ "exp": now() as f64 + 100.5 }), &exact, None),
        (json!({ "nbf": now() - 1 }), &exact, None),
        (json!({ "nbf": now() + 30 }), &leeway, None),
        (json!({ "nbf": 0 }), &exact, None),
        (json!({ "exp": now() - 1 }), &exact, Some(DenialReason::Expiry)),
        (json!({ "exp": now() - 61 }), &leeway, Some(DenialReason::Expiry)),
        (json!({ "exp": 0 }), &leeway, Some(DenialReason::Expiry)),
        (json!({ "exp": null }), &leeway, Some(DenialReason::Expiry)),
        (json!({ "exp": "4102444800" }), &leeway, Some(DenialReason::Expiry)),
        (json!({ "exp": -1 }), &leeway, Some(DenialReason::Expiry)),
        (json!({ "exp": 4_102_444_800_000_u64 }), &leeway, Some(DenialReason::Expiry)),
        (json!({ "exp": u64::MAX }), &leeway, Some(DenialReason::Expiry)),
        (json!({ "exp": 1e300 }), &leeway, Some(DenialReason::Expiry)),
        (json!({ "exp": [] }), &leeway, Some(DenialReason::Expiry)),
        (json!({ "nbf": now() + 30 }), &exact, Some(DenialReason::NotBefore)),
        (json!({ "nbf": now() + 90 }), &leeway, Some(DenialReason::NotBefore)),
        (json!({ "nbf": "soon" }), &leeway, Some(DenialReason::NotBefore)),
        (json!({ "nbf": -1 }), &leeway, Some(DenialReason::NotBefore)),
    ] {
        let denial = check(others.clone(), settings).await.err();
        assert_eq!(denial.as_ref().map(|denial| denial.reason), expected, "{others}: {denial:?}");
        assert!(denial.is_none_or(|denial| refused(denial.reason, &denial)));
    }
}

#[tokio::test]
async fn leeway_extends_acceptance_but_not_expiry() {
    let end = now() - 30;
    let verified = check(json!({ "exp": end }), &[("leeway_seconds", "60")]).await.unwrap();
    let seconds = |time: std::time::SystemTime| time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(verified.identity.expires.map(seconds), Some(end));
    assert_eq!(seconds(verified.accepted_until), end + 60);
}

#[tokio::test]
async fn issuer_must_be_configured() {
    let issuers = [("issuer", "https://a,https://b")];
    for (others, settings, expected) in [
        (json!({ "iss": "any" }), &[][..], None),
        (json!({ "iss": "https://b" }), &issuers, None),
        (json!({ "iss": "https://c" }), &issuers, Some(DenialReason::Issuer)),
        (json!({ "iss": "https://a/" }), &issuers, Some(DenialReason::Issuer)),
        (json!({}), &issuers, Some(DenialReason::Issuer)),
        (json!({ "iss": 7 }), &issuers, Some(DenialReason::Issuer)),
        (json!({ "iss": ["https://a"] }), &issuers, Some(DenialReason::Issuer)),
    ] {
        let denial = check(others.clone(), settings).await.err();
        assert_eq!(denial.map(|denial| denial.reason), expected, "{others}");
    }
}

#[tokio::test]
async fn audience_must_be_configured() {
    let audience = [("audience", "tidings,https://events")];
    for (others, settings, expected) in [
        (json!({}), &[][..], None),
        (json!({ "aud": "tidings" }), &audience, None),
        (json!({ "aud": ["other", "https://events"] }), &audience, None),
        (json!({ "aud": "other" }), &audience, Some(DenialReason::Audience)),
        (json!({ "aud": [] }), &audience, Some(DenialReason::Audience)),
        (json!({ "aud": ["tidings", 7] }), &audience, Some(DenialReason::Audience)),
        (json!({ "aud": 7 }), &audience, Some(DenialReason::Audience)),
        (json!({}), &audience, Some(DenialReason::Audience)),
        // With an audience, and without a configured one.
        (json!({ "aud": "other" }), &[], Some(DenialReason::Audience)),
        (json!({ "aud": 7 }), &[], Some(DenialReason::Audience)),
    ] {
        let denial = check(others.clone(), settings).await.err();
        assert_eq!(denial.map(|denial| denial.reason), expected, "{others} {settings:?}");
    }
}

#[tokio::test]
async fn workspaces_form_a_list_or_a_text() {
    let subscribes = async |others: Value, settings: &[(&str, &str)], id: &str| {
        let verified = check(others, settings).await.unwrap();
        verified.scope.permits(Action::Subscribe, &WorkspaceId::parse(id).unwrap())
    };
    for (others, id, expected) in [
        (json!({ "workspaces": ["acme", "team-*"] }), "team-a", true),
        (json!({ "workspaces": "acme team-*" }), "team-a", true),
        (json!({ "workspaces": "acme" }), "acme", true),
        (json!({ "workspaces": "acme" }), "acme2", false),
        (json!({ "workspaces": "" }), "acme", false),
        (json!({ "workspaces": [] }), "acme", false),
        (json!({ "workspaces": null }), "acme", false),
        // Two entries of a list are two patterns; a space within an entry separates nothing.
        (json!({ "workspaces": ["acme team-*"] }), "team-a", false),
    ] {
        assert_eq!(subscribes(others.clone(), &[], id).await, expected, "{others}");
    }
    let url = [("claim_workspaces", "https://example.com/workspaces")];
    let others = json!({ "workspaces": "other", "https://example.com/workspaces": ["acme"] });
    assert!(subscribes(others.clone(), &url, "acme").await);
    assert!(!subscribes(others, &url, "other").await);
    let publishes = check(json!({ "may.write": "acme" }), &[("claim_publish", "may.write")]).await.unwrap();
    assert!(publishes.scope.permits(Action::Publish, &WorkspaceId::parse("acme").unwrap()));
}

#[tokio::test]
async fn claims_have_their_types_and_bounds() {
    let many: Vec<String> = (0..256).map(|n| format!("{n}")).collect();
    let more: Vec<String> = (0..257).map(|n| format!("{n}")).collect();
    assert_eq!(check(json!({ "workspaces": many }), &[]).await.unwrap().scope.subscribe.len(), 256);
    assert_eq!(check(json!({ "sub": null }), &[]).await.unwrap().identity.user, None);
    let named = check(json!({ "sub": 7, "email": "a@b" }), &[("claim_user", "email")]).await.unwrap();
    assert_eq!(named.identity.user.unwrap().as_str(), "a@b");
    for others in [
        json!({ "workspaces": more }),
        json!({ "workspaces": more.join(" ") }),
        json!({ "workspaces": 7 }),
        json!({ "workspaces": { "acme": true } }),
        json!({ "workspaces": ["acme", 7] }),
        json!({ "workspaces": ["x".repeat(257)] }),
        json!({ "publish": true }),
        json!({ "sub": 7 }),
        json!({ "sub": "" }),
        json!({ "sub": "a\nb" }),
        json!({ "sub": "x".repeat(257) }),
        json!({ "jti": 7 }),
        json!({ "jti": "" }),
    ] {
        let denial = check(others.clone(), &[]).await.unwrap_err();
        assert!(refused(DenialReason::Claims, &denial), "{others}: {denial:?}");
    }
}

#[tokio::test]
async fn token_over_the_bound_is_rejected() {
    let verifier = verifier(&[("algorithm", "HS256"), ("secret", SECRET)]);
    let padded = |length| with_secret(&claims(&json!({ "padding": "x".repeat(length) })));
    let fits = padded(5_900);
    assert!(fits.len() < TOKEN_BYTES_MAX);
    assert!(verifier.verify(&fits).await.is_ok());
    let long = padded(6_200);
    assert!(long.len() > TOKEN_BYTES_MAX);
    assert!(refused(DenialReason::Form, &verifier.verify(&long).await.unwrap_err()));
}

#[tokio::test]
async fn claim_is_found_by_its_path() {
    let read = async |others: Value, path: &str| {
        let verified = check(others, &[("claim_workspaces", path)]).await.unwrap();
        verified.scope.subscribe.iter().map(|pattern| pattern.as_str().to_owned()).collect::<Vec<_>>()
    };
    let nested =
        json!({ "realm_access": { "roles": ["acme", "team-*"] }, "app_metadata": { "a": { "b": "c d" } } });
    assert_eq!(read(nested.clone(), "realm_access.roles").await, ["acme", "team-*"]);
    assert_eq!(read(nested.clone(), "app_metadata.a.b").await, ["c", "d"]);
    assert_eq!(read(nested.clone(), "realm_access.groups").await, [""; 0]);
    assert_eq!(read(nested, "workspaces.roles").await, [""; 0]);
    // A name with dots of its own, alone, above an object, and beside the path.
    let url = json!({ "https://example.com/app": { "may.read": "acme" } });
    assert_eq!(read(url, "https://example.com/app.may.read").await, ["acme"]);
    let both = json!({ "realm_access.roles": "flat", "realm_access": { "roles": "nested" } });
    assert_eq!(read(both, "realm_access.roles").await, ["flat"]);
    let settings = [("claim_user", "profile.name"), ("claim_publish", "profile.may")];
    let named = check(json!({ "profile": { "name": "ann", "may": "acme" } }), &settings).await.unwrap();
    assert_eq!(named.identity.user.unwrap().as_str(), "ann");
    assert_eq!(named.scope.publish.len(), 1);
    let wrong = check(json!({ "profile": { "name": 7 } }), &settings).await.unwrap_err();
    assert!(refused(DenialReason::Claims, &wrong) && wrong.to_string().contains("profile.name"), "{wrong}");
}
