//! Commands about the server.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::client::REDIS_VERSION;
use super::{COMMANDS, CommandOutcome};
use crate::commands::session::Session;
use crate::protocol::reply::Reply;

/// `COMMAND`: no details, which no client needs.
pub(super) fn command(_session: &mut Session, _arguments: &[Bytes]) -> CommandOutcome {
    Ok(Some(Reply::Array(Vec::new())))
}

/// `COMMAND COUNT`
pub(super) fn command_count(_session: &mut Session, _arguments: &[Bytes]) -> CommandOutcome {
    let mut names: Vec<&str> = COMMANDS.iter().filter_map(|command| command.name.split('|').next()).collect();
    names.sort_unstable();
    names.dedup();
    Ok(Some(Reply::count(names.len())))
}

/// `COMMAND DOCS [command ...]`: no help texts. redis-cli asks for them, and has its own.
pub(super) fn command_docs(_session: &mut Session, _arguments: &[Bytes]) -> CommandOutcome {
    Ok(Some(Reply::Map(Vec::new())))
}

/// `COMMAND INFO [command ...]`: nothing known of each.
pub(super) fn command_info(_session: &mut Session, arguments: &[Bytes]) -> CommandOutcome {
    Ok(Some(Reply::Array(arguments.iter().map(|_| Reply::Null).collect())))
}

/// `INFO [section ...]`: the fields that libraries read before they use a server, in any section.
pub(super) fn info(_session: &mut Session, _arguments: &[Bytes]) -> CommandOutcome {
    let version = env!("CARGO_PKG_VERSION");
    Ok(Some(Reply::Text(format!(
        "# Server\r\nredis_version:{REDIS_VERSION}\r\nredis_mode:standalone\r\ntidings_version:{version}\r\n\r\n\
         # Persistence\r\nloading:0\r\n\r\n# Replication\r\nrole:master\r\nconnected_slaves:0\r\n"
    ))))
}

/// `TIME`
pub(super) fn time(_session: &mut Session, _arguments: &[Bytes]) -> CommandOutcome {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let text = |number: u64| Reply::Bulk(number.to_string().into());
    Ok(Some(Reply::Array(vec![text(now.as_secs()), text(now.subsec_micros().into())])))
}
