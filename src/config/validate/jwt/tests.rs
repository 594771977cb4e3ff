use crate::config::Sources;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn load(settings: &[(&str, &str)]) -> Result<(), String> {
    let environment = settings
        .iter()
        .map(|(key, value)| {
            let variable = format!("TIDINGS__AUTH__{}", key.to_ascii_uppercase().replace('.', "__"));
            (variable, (*value).to_owned())
        })
        .collect();
    let loaded = Sources { environment, ..Sources::default() }.load();
    loaded.map(|_| ()).map_err(|error| error.to_string())
}

#[test]
fn each_kind_of_key_goes_with_its_algorithms() {
    for settings in [
        &[("mode", "jwt"), ("jwt.algorithm", "HS256"), ("jwt.secret", SECRET)][..],
        &[("mode", "jwt"), ("jwt.algorithm", "HS256,HS384"), ("jwt.secret_file", "/secret")],
        &[("mode", "forward,jwt"), ("jwt.algorithm", "ES256"), ("jwt.public_key", "PEM")],
        &[("mode", "jwt"), ("jwt.algorithm", "EdDSA"), ("jwt.public_key_file", "/key.pem")],
        &[("mode", "jwt"), ("jwt.algorithm", "RS256,ES256"), ("jwt.jwks_url", "https://a/jwks")],
        &[
            ("mode", "jwt"),
            ("jwt.algorithm", "RS256"),
            ("jwt.jwks_url", "https://a/jwks,https://b/jwks"),
            ("jwt.issuer", "https://a,https://b"),
        ],
        &[
            ("mode", "jwt"),
            ("jwt.algorithm", "RS256"),
            ("jwt.jwks_url", "http://keycloak.auth:8080/jwks"),
            ("jwt.jwks_over_http", "true"),
        ],
        &[("mode", "jwt"), ("jwt.algorithm", "HS256"), ("jwt.secret_file", "/new,/old")],
        // For `tidings token`, and ready to be switched on.
        &[("mode", "none"), ("jwt.algorithm", "HS256"), ("jwt.secret", SECRET)],
    ] {
        let loaded = load(settings);
        // Another method of the same mode may ask for keys of its own.
        let mine = loaded.err().filter(|error| error.contains("auth.jwt"));
        assert_eq!(mine, None, "{settings:?}");
    }
}

#[test]
fn contradicting_settings_are_rejected_with_a_fix() {
    for (settings, words) in [
        (&[("mode", "jwt")][..], &["tokens need a key", "TIDINGS__AUTH__JWT__SECRET"][..]),
        (&[("mode", "jwt"), ("jwt.secret", SECRET)], &["auth.jwt.algorithm", "never taken from a token"]),
        (&[("mode", "jwt"), ("jwt.algorithm", "HS256")], &["tokens need a key"]),
        (
            &[("mode", "jwt"), ("jwt.algorithm", "RS256"), ("jwt.secret", SECRET)],
            &["HS256, HS384 and HS512 take auth.jwt.secret"],
        ),
        (
            &[("mode", "jwt"), ("jwt.algorithm", "HS256"), ("jwt.public_key_file", "/key.pem")],
            &["auth.jwt.public_key_file is [\"/key.pem\"]"],
        ),
        (
            &[("jwt.algorithm", "HS256"), ("jwt.secret", SECRET), ("jwt.secret_file", "/secret")],
            &["keys come from one place"],
        ),
        (&[("jwt.algorithm", "none")], &["expected HS256, HS384, HS512 for a shared secret"]),
        (&[("jwt.jwks_url", "http://id.example.com/jwks")], &["http only on this machine"]),
        (&[("jwt.secret_previous", SECRET)], &["set that too"]),
        (&[("jwt.key_reload_seconds", "0")], &["more than 0 seconds"]),
        (&[("jwt.jwks_url", "https://a/,https://b/"), ("jwt.issuer", "a")], &["as many issuers"]),
        (&[("jwt.leeway_seconds", "601")], &["0 to 600 seconds"]),
        (&[("jwt.cookie", "a b")], &["the name of a cookie"]),
        (&[("jwt.claim_user", "")], &["the name of a claim"]),
        (&[("jwt.jwks_timeout_seconds", "0")], &["more than 0 seconds"]),
    ] {
        let error = load(settings).unwrap_err();
        for word in words {
            assert!(error.contains(word), "{settings:?}: {error}");
        }
        assert!(!error.contains(&SECRET[1..]), "{error}");
    }
}

#[test]
fn no_message_shows_a_key() {
    for (key, value) in [
        ("jwt.secret", "s3cret"),
        ("jwt.secret_previous", "s3cret"),
        ("jwt.public_key", "-----BEGIN PRIVATE KEY-----\ns3cret"),
        ("jwt.jwks_url", "https://user:s3cret@host/jwks"),
    ] {
        let settings =
            [("mode", "jwt"), ("jwt.algorithm", "HS512"), ("jwt.secret_file", "/secret"), (key, value)];
        let error = load(&settings).unwrap_err();
        assert!(error.contains(key) && !error.contains("s3cret"), "{error}");
    }
}

#[test]
fn a_short_secret_does_on_this_machine_alone() {
    for (listen, algorithm, secret, told) in [
        ("127.0.0.1:8080", "HS256", "short", None),
        ("0.0.0.0:8080", "HS256", SECRET, None),
        ("0.0.0.0:8080", "HS256", &SECRET[1..], Some("at least 32 bytes for HS256")),
        ("0.0.0.0:8080", "HS256,HS512", SECRET, Some("at least 64 bytes for HS256, HS512")),
    ] {
        let variables = [
            ("TIDINGS__SERVER__LISTEN", listen),
            ("TIDINGS__AUTH__MODE", "jwt"),
            ("TIDINGS__AUTH__JWT__ALGORITHM", algorithm),
            ("TIDINGS__AUTH__JWT__SECRET", secret),
        ];
        let environment = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let error = Sources { environment, ..Sources::default() }.load().err().map(|error| error.to_string());
        match (&error, told) {
            (None, None) => {}
            (Some(error), Some(told)) => {
                assert!(error.contains(told) && error.contains("openssl rand"), "{error}");
            }
            _ => panic!("{listen} {algorithm}: {error:?}"),
        }
    }
}
