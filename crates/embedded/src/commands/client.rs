//! Commands of a client about itself and its connection.

use bytes::Bytes;

use super::{CommandOutcome, number, syntax_error};
use crate::commands::session::Session;
use crate::listener::login::USER;
use crate::protocol::reply::{Protocol, Reply};

/// The version of Redis whose replies these are. Clients choose features by it.
const REDIS_VERSION: &str = "7.0.0";

/// `PING [message]`
pub(super) fn ping(session: &mut Session, arguments: &[Bytes]) -> CommandOutcome {
    let message = arguments.first().cloned();
    Ok(Some(if session.is_restricted() {
        Reply::Array(vec![Reply::name("pong"), Reply::Bulk(message.unwrap_or_default())])
    } else {
        message.map_or(Reply::Status("PONG"), Reply::Bulk)
    }))
}

/// `ECHO message`
pub(super) fn echo(_session: &mut Session, arguments: &[Bytes]) -> CommandOutcome {
    Ok(arguments.first().cloned().map(Reply::Bulk))
}

/// `QUIT`
pub(super) fn quit(session: &mut Session, _arguments: &[Bytes]) -> CommandOutcome {
    session.close();
    Ok(Some(Reply::OK))
}

/// `HELLO [2|3 [AUTH user password] [SETNAME name]]`. The version changes only when all of it is
/// right.
pub(super) fn hello(session: &mut Session, arguments: &[Bytes]) -> CommandOutcome {
    let protocol = match arguments.first().map(|version| &version[..]) {
        None => session.protocol(),
        Some(b"2") => Protocol::Resp2,
        Some(b"3") => Protocol::Resp3,
        Some(_) => return Err(Reply::error("NOPROTO unsupported protocol version")),
    };
    let mut options = arguments.get(1..).unwrap_or_default();
    while let [option, rest @ ..] = options {
        options = match rest {
            [user, password, rest @ ..] if option.eq_ignore_ascii_case(b"auth") => {
                session.log_in(user, password)?;
                rest
            }
            [_name, rest @ ..] if option.eq_ignore_ascii_case(b"setname") => rest,
            _ => return Err(syntax_error()),
        };
    }
    if !session.is_authenticated() {
        return Err(Reply::error("NOAUTH HELLO needs the option AUTH <user> <password>"));
    }
    session.set_protocol(protocol);
    Ok(Some(Reply::Map(vec![
        ("server", Reply::name("redis")),
        ("version", Reply::name(REDIS_VERSION)),
        ("proto", Reply::Integer(if protocol == Protocol::Resp2 { 2 } else { 3 })),
        ("id", Reply::Integer(session.client_id())),
        ("mode", Reply::name("standalone")),
        ("role", Reply::name("master")),
        ("modules", Reply::Array(Vec::new())),
    ])))
}

/// `AUTH [user] password`. An authenticated client stays so after a later wrong password, as in
/// Redis.
pub(super) fn auth(session: &mut Session, arguments: &[Bytes]) -> CommandOutcome {
    match arguments {
        [password] => session.log_in(USER, password)?,
        [user, password] => session.log_in(user, password)?,
        _ => return Err(syntax_error()),
    }
    Ok(Some(Reply::OK))
}

/// `SELECT 0`. There is one database; channels belong to none.
pub(super) fn select(_session: &mut Session, arguments: &[Bytes]) -> CommandOutcome {
    match arguments.first().map(|index| number::<i32>(index)).transpose()? {
        Some(0) => Ok(Some(Reply::OK)),
        _ => Err(Reply::error("ERR DB index is out of range")),
    }
}

/// `CLIENT SETNAME name` and `CLIENT SETINFO attribute text`: libraries send them when they
/// connect. They have no effect.
pub(super) fn ignore(_session: &mut Session, _arguments: &[Bytes]) -> CommandOutcome {
    Ok(Some(Reply::OK))
}

/// `INFO [section ...]`: the fields that libraries read before they use a server, in any section.
pub(super) fn info(_session: &mut Session, _arguments: &[Bytes]) -> CommandOutcome {
    let version = env!("CARGO_PKG_VERSION");
    Ok(Some(Reply::Bulk(Bytes::from(format!(
        "# Server\r\nredis_version:{REDIS_VERSION}\r\nredis_mode:standalone\r\ntidings_version:{version}\r\n\r\n\
         # Persistence\r\nloading:0\r\n\r\n# Replication\r\nrole:master\r\nconnected_slaves:0\r\n"
    )))))
}
