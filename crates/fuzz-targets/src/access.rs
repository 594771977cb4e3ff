//! The input of clients that authenticate.

use std::sync::LazyLock;

use futures_util::FutureExt as _;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderValue};

use tidings::config::Sources;
use tidings_auth::jwt::{TokenSources, Verifier, bearer};
use tidings_metrics::Metrics;

/// The secret behind [`GENUINE`]; of no use anywhere else.
const SECRET: &str = "a secret that is public, for tests only";

/// All tokens of the corpus that were signed with the secret and keep to the rules. They are good
/// until the year 2100.
const GENUINE: &[&str] = &[
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ1MSIsImV4cCI6NDEwMjQ0NDgwMCwid29ya3NwYWNlcyI6WyJhY21lIiwidGVhbS0qIl19.8aqE0IS018_Uvp0CeoK01glcy0pbKwn0HKnbdiRfy6g",
    "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjQxMDI0NDQ4MDAsIndvcmtzcGFjZXMiOiIqIiwicHVibGlzaCI6WyJhY21lIl0sImp0aSI6InQxIiwibmJmIjoxfQ.t4F6foZgxP64DolYZ9BUujSPnS-MgDOU2LFXpf806us",
    "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIiwidHlwIjoiSldUIn0.eyJzdWIiOiJ1MiIsImV4cCI6NDEwMjQ0NDgwMC41LCJpc3MiOiJtZSIsIndvcmtzcGFjZXMiOlsiYSJdfQ.6d8lsEgUqalKFpzJicyJign7Pe19cEXs_7-IpHkjElc",
];

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let flags = [("auth.jwt.secret", SECRET), ("auth.jwt.algorithm", "HS256")];
    let flags = flags.map(|(key, value)| (key, value.to_owned(), "--set")).to_vec();
    let loaded = Sources { flags, ..Sources::default() }.load();
    let Ok(loaded) = loaded else { panic!("the configuration is in order") };
    let Ok(verifier) = Verifier::new(&loaded.config.auth.jwt, &Metrics::new()) else { panic!("a key") };
    verifier
});

/// A token: it is valid if exactly these bytes were signed. The explanation of the decision is the
/// decision.
pub fn token(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // Nothing is fetched, so nothing is waited for.
    let Some(decided) = VERIFIER.verify(&text).now_or_never() else { panic!("it waits") };
    let Some(explained) = VERIFIER.explain(&text).now_or_never() else { panic!("it waits") };
    assert_eq!(decided.is_ok(), GENUINE.contains(&&*text), "{text:?}: {decided:?}");
    assert_eq!(explained.outcome, decided);
    assert_eq!(explained.steps.iter().all(|step| step.result.is_ok()), decided.is_ok(), "{explained:?}");
    assert!(
        explained.steps.iter().all(|step| !step.seen.contains(|c: char| c.is_control())),
        "{explained:?}"
    );
}

/// The places of tokens. The input is a query, `Authorization` and any number of `Cookie` headers,
/// one a line. A token that is found is in one of these places. Other places give none.
pub fn token_places(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let query = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let mut headers = HeaderMap::new();
    for (number, line) in lines.take(64).enumerate() {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(if number == 0 { AUTHORIZATION } else { COOKIE }, value);
        }
    }
    let everywhere = TokenSources { cookie: Some("session".to_owned()), query: true };
    if let Ok(Some(token)) = bearer::find(&headers, &query, &everywhere) {
        let text = token.reveal();
        let in_header = headers.values().any(|value| contains(value.as_bytes(), text.as_bytes()));
        let in_query =
            form_urlencoded::parse(query.as_bytes()).any(|(name, value)| name == "token" && value == text);
        assert!(in_header || in_query, "{text:?}");
        assert!(!format!("{token:?}").contains(text) || text.len() < 8, "a token shows itself");
    }
    headers.remove(AUTHORIZATION);
    assert!(matches!(bearer::find(&headers, &query, &TokenSources::default()), Ok(None)));
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len().max(1)).any(|window| window == part)
}
