use serde_json::json;

use super::super::tests::support::Pair;
use super::*;

fn algorithms(text: &str) -> Algorithms {
    serde_json::from_value(text.into()).unwrap()
}

fn parse(keys: &Value, algorithms: &Algorithms) -> Result<KeySet, KeySetError> {
    let text = json!({ "keys": keys }).to_string();
    KeySet::parse(text.as_bytes(), algorithms, SystemTime::now())
}

fn with(mut jwk: Value, name: &str, value: Value) -> Value {
    jwk[name] = value;
    jwk
}

/// A key serves its own kind of algorithm alone.
#[test]
fn only_usable_keys_are_kept() {
    let all = algorithms("RS256,ES256,ES384,EdDSA");
    let rsa = Pair::Rsa.jwk("a");
    for good in [
        rsa.clone(),
        with(rsa.clone(), "use", json!("sig")),
        with(rsa.clone(), "key_ops", json!(["verify", "sign"])),
        with(rsa.clone(), "alg", json!("RS256")),
        Pair::P256.jwk("a"),
        Pair::P384.jwk("a"),
        Pair::Ed25519.jwk("a"),
    ] {
        assert_eq!(parse(&json!([good]), &all).map(|set| set.len()), Ok(1), "{good}");
    }
    let short = json!("AAAA");
    for bad in [
        with(rsa.clone(), "use", json!("enc")),
        with(rsa.clone(), "key_ops", json!(["encrypt"])),
        with(rsa.clone(), "alg", json!("RS512")),
        with(rsa.clone(), "alg", json!("RSA-OAEP")),
        with(rsa.clone(), "n", short.clone()),
        with(rsa.clone(), "n", json!("A".repeat(1400))),
        with(rsa.clone(), "n", json!("***")),
        with(rsa.clone(), "kid", json!("x".repeat(257))),
        with(rsa, "kty", json!("oct")),
        json!({ "kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "kid": "a" }),
        with(Pair::P256.jwk("a"), "x", short.clone()),
        with(Pair::P256.jwk("a"), "crv", json!("P-384")),
        with(Pair::P256.jwk("a"), "crv", json!("P-521")),
        with(Pair::Ed25519.jwk("a"), "x", short),
        with(Pair::Ed25519.jwk("a"), "x", json!("")),
        with(Pair::Ed25519.jwk("a"), "crv", json!("X25519")),
        json!({ "kty": 7 }),
        json!("a"),
    ] {
        assert_eq!(parse(&json!([bad]), &all).map(|set| set.len()), Err(KeySetError::Empty(1)), "{bad}");
        // A usable key beside it is kept.
        assert_eq!(parse(&json!([bad, Pair::P256.jwk("b")]), &all).map(|set| set.len()), Ok(1));
    }
    assert!(parse(&json!([Pair::P256.jwk("a")]), &algorithms("RS256")).is_err());
    for text in ["", "[]", "{}", r#"{"keys":{}}"#, "<html>"] {
        assert_eq!(KeySet::parse(text.as_bytes(), &all, SystemTime::now()).err(), Some(KeySetError::Form));
    }
}

#[test]
fn token_selects_keys_by_id_and_algorithm() {
    let all = algorithms("RS256,RS512,ES256");
    let only = with(Pair::Rsa.jwk("c"), "alg", json!("RS512"));
    let set =
        parse(&json!([Pair::Rsa.jwk("a"), Pair::P256.jwk("a"), Pair::P256.jwk("b"), only]), &all).unwrap();
    let count = |id, algorithm| set.candidates(id, algorithm).len();
    assert_eq!(count(Some("a"), Algorithm::RS256), 1);
    assert_eq!(count(Some("a"), Algorithm::ES256), 1);
    assert_eq!(count(Some("b"), Algorithm::RS256), 0);
    assert_eq!(count(Some("c"), Algorithm::RS256), 0);
    assert_eq!(count(Some("c"), Algorithm::RS512), 1);
    assert_eq!(count(None, Algorithm::ES256), 2);
    assert_eq!(count(Some("d"), Algorithm::ES256), 0);
    let many: Vec<Value> = (0..100).map(|n| Pair::P256.jwk(&n.to_string())).collect();
    let set = parse(&many.into(), &all).unwrap();
    assert_eq!((set.len(), set.candidates(None, Algorithm::ES256).len()), (KEYS_MAX, TRIES_MAX));
}
