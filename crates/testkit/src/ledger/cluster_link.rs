//! The link of a publisher to the server of its workspace in a cluster, as a client library of a
//! backend keeps it.

use redis::aio::MultiplexedConnection;
use redis::{Client, Cmd, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value};

use super::publisher::connection_config;

/// How many redirections a search follows.
const STEPS_MAX: usize = 6;

/// Finds the owner of a key's slot and connects to it; `None` if none can be found now.
pub(super) async fn find(servers: &[String], key: &str) -> Option<MultiplexedConnection> {
    let mut url = servers[fastrand::usize(..servers.len())].clone();
    for _ in 0..STEPS_MAX {
        let mut connection = connect(&url).await?;
        match redis::cmd("XLEN").arg(key).query_async::<Value>(&mut connection).await {
            Ok(_) => return Some(connection),
            // The owner still has the slot.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::Ask) => return Some(connection),
            Err(error) => url = format!("redis://{}", error.redirect_node()?.0),
        }
    }
    None
}

/// Runs a command at the owner, and at the server that the owner names while the slot moves.
pub(super) async fn ask(connection: &mut MultiplexedConnection, command: &Cmd) -> Result<Value, RedisError> {
    let outcome = command.query_async::<Value>(connection).await;
    let Err(error) = &outcome else { return outcome };
    if error.kind() != ErrorKind::Server(ServerErrorKind::Ask) {
        return outcome;
    }
    let Some((address, _)) = error.redirect_node() else { return outcome };
    let Some(mut other) = connect(&format!("redis://{address}")).await else { return outcome };
    let mut asking = Pipeline::new();
    asking.cmd("ASKING").ignore().add_command(command.clone());
    let (reply,) = asking.query_async::<(Value,)>(&mut other).await?;
    Ok(reply)
}

async fn connect(url: &str) -> Option<MultiplexedConnection> {
    let client = Client::open(url).expect("the server's address");
    let (config, within) = connection_config();
    let connecting = client.get_multiplexed_async_connection_with_config(&config);
    tokio::time::timeout(within, connecting).await.ok()?.ok()
}
