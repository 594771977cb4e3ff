//! `tidings token`.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::commands::{Finished, run_tidings, run_tidings_with_input};
use crate::support::directory::{repository, repository_file};

const SECRET: &str = "a secret of sixty-four bytes, which is enough for every HS hash.";

const WITH_SECRET: [(&str, &str); 3] =
    [("auth.mode", "jwt"), ("auth.jwt.algorithm", "HS256"), ("auth.jwt.secret", SECRET)];

/// The path of a key for tests.
fn key(name: &str) -> String {
    repository().join("tests/keys").join(name).display().to_string()
}

async fn new(arguments: &[&str], settings: &[(&str, &str)]) -> String {
    let printed = run_tidings(&[&["token", "new"], arguments].concat(), settings).await.success();
    let token = printed.strip_suffix('\n').unwrap().to_owned();
    assert_eq!(token.split('.').count(), 3, "{printed}");
    token
}

async fn explain(token: &str, workspace: &str, settings: &[(&str, &str)]) -> Finished {
    run_tidings_with_input(&["token", "explain", "-", workspace], settings, &format!("{token}\n")).await
}

/// The line of a check, without its mark, which must be this one.
fn line<'a>(printed: &'a str, mark: &str, check: &str) -> &'a str {
    let start = format!("{mark:<4}  {check}");
    printed.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{start} in {printed}"))
}

/// A server that returns these keys to every request.
async fn keys(jwks: Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let body = jwks.to_string();
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await.unwrap();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    url
}

#[tokio::test]
async fn a_new_token_lets_in_where_it_says() {
    let arguments = ["--workspace", "acme", "--workspace", "team-*", "--publish", "acme", "--user", "u1"];
    let token = new(&[&arguments[..], &["--ttl", "30m", "--id", "t1"]].concat(), &WITH_SECRET).await;
    let printed = explain(&token, "team-a", &WITH_SECRET).await.success();
    assert!(line(&printed, "ok", "form").contains("alg \"HS256\""));
    line(&printed, "ok", "algorithm");
    line(&printed, "ok", "key");
    line(&printed, "ok", "signature");
    let expiry = line(&printed, "ok", "expiry");
    assert!(expiry.contains("exp 20") && expiry.contains("Z, in 17"), "{expiry}");
    assert!(line(&printed, "ok", "claims").contains("sub \"u1\", jti \"t1\""), "{printed}");
    assert!(line(&printed, "yes", "\"u1\" may subscribe to team-a").ends_with("by \"team-*\""));
    line(&printed, "no", "\"u1\" may not publish to team-a");
    let printed = explain(&token, "acme", &WITH_SECRET).await.success();
    line(&printed, "yes", "\"u1\" may publish to acme");

    // As an argument too; and by its exit code, where it may not.
    let finished = run_tidings(&["token", "explain", &token, "acme"], &WITH_SECRET).await;
    // The time that is left may be a second less.
    let lasting = |text: &str| {
        let lines = text.lines().filter(|line| !line.contains("expiry: ")).map(str::to_owned);
        lines.collect::<Vec<_>>()
    };
    assert_eq!(lasting(&finished.success()), lasting(&printed));
    let finished = explain(&token, "other", &WITH_SECRET).await;
    line(&finished.stdout, "no", "\"u1\" may not subscribe to other");
    finished.failure(1);
}

#[tokio::test]
async fn every_failed_check_is_reported() {
    let token = new(&["--workspace", "acme", "--ttl", "1s"], &WITH_SECRET).await;
    let other = SECRET.to_uppercase();
    let settings = [
        ("auth.mode", "jwt"),
        ("auth.jwt.algorithm", "HS256"),
        ("auth.jwt.secret", &*other),
        ("auth.jwt.issuer", "https://id"),
        ("auth.jwt.audience", "tidings"),
    ];
    let finished = explain(&token, "acme", &settings).await;
    for check in ["signature", "issuer", "audience"] {
        line(&finished.stdout, "FAIL", check);
    }
    assert!(line(&finished.stdout, "no", "it is refused").contains("`signature`"));
    finished.failure(1);

    let rsa = [("auth.jwt.algorithm", "RS256"), ("auth.jwt.public_key_file", &*key("rsa.public.pem"))];
    let finished = explain(&token, "acme", &rsa).await;
    line(&finished.stdout, "note", "auth.mode does not use jwt");
    assert!(line(&finished.stdout, "FAIL", "algorithm").contains("RS256"));
    finished.failure(1);

    let finished = explain("nonsense\u{1b}[31m", "acme", &WITH_SECRET).await;
    line(&finished.stdout, "FAIL", "form");
    assert!(!finished.stdout.contains('\u{1b}'));
    finished.failure(1);
}

#[tokio::test]
async fn a_private_key_signs_for_each_kind_of_public_key() {
    for (algorithm, name) in
        [("RS384", "rsa"), ("PS256", "rsa"), ("ES256", "p256"), ("ES384", "p384"), ("EdDSA", "ed25519")]
    {
        let public = key(&format!("{name}.public.pem"));
        let settings =
            [("auth.mode", "jwt"), ("auth.jwt.algorithm", algorithm), ("auth.jwt.public_key_file", &*public)];
        let private = key(&format!("{name}.pem"));
        let token = new(&["--workspace", "acme", "--key", &private], &settings).await;
        let printed = explain(&token, "acme", &settings).await.success();
        assert!(line(&printed, "ok", "signature").contains(algorithm), "{printed}");
        line(&printed, "yes", "a user without an id may subscribe");
    }
}

#[tokio::test]
async fn keys_at_an_address_are_fetched_and_named() {
    let pem = repository_file("tests/keys/ed25519.public.pem");
    // The last 32 bytes of the key's DER, of which the base64 in the PEM has 60 characters: 12
    // bytes precede them.
    let x = pem.lines().nth(1).unwrap()[16..].trim_end_matches('=').replace('+', "-").replace('/', "_");
    let url =
        keys(json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "k1", "use": "sig" }] }))
            .await;
    let settings = [
        ("auth.mode", "jwt"),
        ("auth.jwt.algorithm", "EdDSA"),
        ("auth.jwt.jwks_url", &*url),
        ("auth.jwt.issuer", "https://id"),
        ("auth.jwt.audience", "tidings"),
    ];
    let private = key("ed25519.pem");
    let token = new(&["--workspace", "acme", "--key", &private, "--kid", "k1"], &settings).await;
    let printed = explain(&token, "acme", &settings).await.success();
    assert!(line(&printed, "ok", "key").contains(&format!("1 known from {url}")), "{printed}");
    line(&printed, "ok", "issuer: iss \"https://id\"");

    let token = new(&["--workspace", "acme", "--key", &private, "--kid", "k2"], &settings).await;
    let finished = explain(&token, "acme", &settings).await;
    line(&finished.stdout, "FAIL", "key");
    finished.failure(1);
    let gone = [&settings[..2], &[("auth.jwt.jwks_url", "http://127.0.0.1:1/jwks")]].concat();
    let finished = explain(&token, "acme", &gone).await;
    assert!(line(&finished.stdout, "no", "it is refused").contains("`keys-unavailable`"));
    finished.failure(1);
}

#[tokio::test]
async fn keys_over_http_from_another_host_need_a_setting() {
    let url = keys(json!({ "keys": [] })).await;
    // The resolver knows this address, and the rule for this machine does not.
    let elsewhere = url.replace("127.0.0.1", "127.1");
    let settings =
        [("auth.mode", "jwt"), ("auth.jwt.algorithm", "EdDSA"), ("auth.jwt.jwks_url", &*elsewhere)];
    let told = run_tidings(&["check"], &settings).await.failure(2);
    assert!(told.contains("auth.jwt.jwks_over_http = true"), "{told}");
    let allowed = [&settings[..], &[("auth.jwt.jwks_over_http", "true")]].concat();
    let finished = run_tidings(&["check"], &allowed).await;
    assert!(finished.stdout.contains(&format!("none that can be used from {elsewhere}")), "{finished:?}");

    let pem = repository_file("tests/keys/ed25519.public.pem");
    let x = pem.lines().nth(1).unwrap()[16..].trim_end_matches('=').replace('+', "-").replace('/', "_");
    let url = keys(json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": x }] })).await;
    let url = url.replace("127.0.0.1", "127.1");
    let allowed =
        [&settings[..2], &[("auth.jwt.jwks_url", &*url), ("auth.jwt.jwks_over_http", "true")]].concat();
    let token = new(&["--workspace", "acme", "--key", &key("ed25519.pem")], &allowed).await;
    let printed = explain(&token, "acme", &allowed).await.success();
    line(&printed, "ok", "signature");
}

#[tokio::test]
async fn impossible_request_is_a_usage_error() {
    let public = key("rsa.public.pem");
    for (arguments, settings, word) in [
        (&["new", "--workspace", "acme"][..], &[][..], "auth.jwt.algorithm is not set"),
        (&["new"], &WITH_SECRET, "--workspace"),
        (&["new", "--workspace", "a b"], &WITH_SECRET, "matches no workspace"),
        (&["new", "--workspace", "acme", "--ttl", "soon"], &WITH_SECRET, "--ttl"),
        (&["new", "--workspace", "acme", "--user", ""], &WITH_SECRET, "--user"),
        (
            &["new", "--workspace", "acme"],
            &[("auth.jwt.algorithm", "RS256"), ("auth.jwt.public_key_file", &public)],
            "--key",
        ),
        (&["new", "--workspace", "acme", "--key", &key("p256.pem")], &WITH_SECRET, "--key"),
        (&["explain", "a.b.c", "acme"], &[("auth.jwt.algorithm", "HS256")], "exactly one of"),
        (&["explain", "a.b.c", "a b"], &WITH_SECRET, "A-Z a-z 0-9 . _ ~ -"),
        (&["explain", "a.b.c"], &WITH_SECRET, "<WORKSPACE>"),
    ] {
        let stderr = run_tidings(&[&["token"], arguments].concat(), settings).await.failure(2);
        assert!(stderr.contains(word), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("sixty-four"), "{stderr}");
    }
}

#[tokio::test]
async fn the_keys_for_tokens_are_checked() {
    let printed = run_tidings(&["check"], &WITH_SECRET).await.success();
    line(&printed, "ok", "keys for tokens: there, for HS256");
    for (algorithm, setting, value, word) in [
        ("RS256", "auth.jwt.public_key_file", "/nowhere/key.pem", "cannot read /nowhere/key.pem"),
        ("RS256", "auth.jwt.jwks_url", "http://127.0.0.1:1/jwks", "from http://127.0.0.1:1/jwks"),
    ] {
        let settings = [("auth.mode", "jwt"), ("auth.jwt.algorithm", algorithm), (setting, value)];
        let finished = run_tidings(&["check"], &settings).await;
        assert!(line(&finished.stdout, "FAIL", "keys for tokens").contains(word), "{finished:?}");
        finished.failure(1);
    }
}
