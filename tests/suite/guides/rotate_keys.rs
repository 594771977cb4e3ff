//! `docs/guides/rotate-keys.md`: a rotation by its commands rejects no client.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use super::Document;
use super::terminal::Terminal;
use crate::support::sse::Connect;
use crate::support::token::bearer;
use crate::support::{Broker, BrokerOptions, DEADLINE, eventually};

const SECTION: &str = "A secret in files";

/// A token that the secret in a file signs.
fn token(terminal: &Terminal, file: &str) -> String {
    let secret = std::fs::read_to_string(terminal.path().join(file)).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({ "sub": "u1", "workspaces": ["acme"], "exp": now + 3600 });
    let key = EncodingKey::from_secret(secret.trim_end().as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap()
}

#[tokio::test]
async fn rotation_by_files_rejects_no_client() {
    let document = Document::read("docs/guides/rotate-keys.md");
    let [make, give, prove, remove] = document.blocks(SECTION, "sh")[..] else { panic!("four blocks") };
    let terminal = Terminal::new();
    terminal.run(make).await;
    terminal.write("tidings.toml", document.block(SECTION, "toml"));
    let old = token(&terminal, "secret");

    let files = ["secret", "secret-next"].map(|name| terminal.path().join(name).display().to_string());
    let config =
        document.block(SECTION, "toml").replace(r#"["secret", "secret-next"]"#, &format!("{files:?}"));
    terminal.write("node.toml", &config);
    let options = BrokerOptions::embedded()
        .argument("--config")
        .argument(&terminal.path().join("node.toml").display().to_string())
        .set("auth.jwt.key_reload_seconds", 0.1);
    let broker = Broker::start_ready(options).await;
    let with = |token: &str| Connect::default().header("Authorization", &bearer(token));
    let status = async |token: &str| broker.connect_with("acme", with(token)).await.status().as_u16();
    let mut open = broker.connect_with("acme", with(&old)).await;
    open.connected().await;

    terminal.run(give).await;
    let new = token(&terminal, "secret-next");
    eventually("the new key counts", DEADLINE, async || status(&new).await == 200).await;
    assert_eq!(status(&old).await, 200);
    for token in [&old, &new] {
        let told = terminal.run(&format!("TOKEN={token}\n{prove}")).await;
        assert!(told.contains("ok    signature"), "{told}");
    }

    terminal.run(remove).await;
    eventually("the old key counts no more", DEADLINE, async || status(&old).await == 401).await;
    assert_eq!(status(&new).await, 200);
    assert!(open.end().is_none(), "the open stream stays");
    document.every_block_ran(&[]);
}
