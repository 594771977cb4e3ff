//! The publish script as a function of the server (Redis 7 and Valkey). `redis-cli FCALL
//! tidings_publish` then works on any machine without the text of the script.

use redis::{ErrorKind, Value};

use super::connect::describe;
use super::runner::CommandRunner;
use super::script::PublishScript;

/// Loads the function and replaces an older one. Returns the text for `/status`.
pub(super) async fn load(commands: &impl CommandRunner, script: PublishScript) -> String {
    let mut load = redis::cmd("FUNCTION");
    load.arg("LOAD").arg("REPLACE").arg(library(script));
    match commands.ask::<Value>(&load).await {
        Ok(_) => "loaded".to_owned(),
        Err(error) if matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension) => {
            format!("not loaded: {}", describe(&error))
        }
        Err(error) => format!("not loaded, no reply of the server: {}", describe(&error)),
    }
}

/// Returns the text of the library: the script, with its arguments under the names that it uses.
fn library(script: PublishScript) -> String {
    let script = script.text();
    format!(
        "#!lua name=tidings\nredis.register_function('tidings_publish', function(KEYS, ARGV)\n{script}\nend)\n"
    )
}
