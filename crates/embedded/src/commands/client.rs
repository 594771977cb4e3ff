//! Commands of a client about itself and its connection.

use bytes::Bytes;

use super::ids::integer;
use super::{CommandError, CommandOutcome, other, shown};
use crate::commands::session::Session;
use crate::protocol::reply::{Protocol, Reply};
use crate::pubsub::subscriber::NAME_BYTES_MAX;

/// The version of Redis whose replies these are. Clients choose features by it.
pub(super) const REDIS_VERSION: &str = "7.0.0";

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

/// Ends the connection without a reply.
pub(super) fn hang_up(session: &mut Session, _arguments: &[Bytes]) -> CommandOutcome {
    session.hang_up();
    Ok(None)
}

/// `RESET`: the connection is as new.
pub(super) fn reset(session: &mut Session, _arguments: &[Bytes]) -> CommandOutcome {
    session.subscriber().leave();
    *session.transaction() = None;
    session.set_protocol(Protocol::Resp2);
    session.set_name(Bytes::new());
    session.forget_login();
    Ok(Some(Reply::Status("RESET")))
}

/// `HELLO [2|3 [AUTH user password] [SETNAME name]]`. As in Redis, a name stays given when an
/// option behind it is wrong, and the version changes only when all of it is right.
pub(super) fn hello(session: &mut Session, arguments: &[Bytes]) -> CommandOutcome {
    let protocol = arguments.first().map(|version| protocol(version)).transpose()?;
    let mut options = arguments.get(1..).unwrap_or_default();
    while let [option, rest @ ..] = options {
        options = match rest {
            [user, password, rest @ ..] if option.eq_ignore_ascii_case(b"auth") => {
                log_in(session, session.password().admits(user, password))?;
                rest
            }
            [name, rest @ ..] if option.eq_ignore_ascii_case(b"setname") => {
                session.set_name(checked_name(name)?);
                rest
            }
            _ => return Err(other(format!("ERR Syntax error in HELLO option '{}'", shown(option)))),
        };
    }
    if !session.is_authenticated() {
        return Err(other(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
        ));
    }
    if let Some(protocol) = protocol {
        session.set_protocol(protocol);
    }
    let spoken = match session.protocol() {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    };
    Ok(Some(Reply::Map(vec![
        (Reply::name("server"), Reply::name("redis")),
        (Reply::name("version"), Reply::name(REDIS_VERSION)),
        (Reply::name("proto"), Reply::Integer(spoken)),
        (Reply::name("id"), client_id(session)),
        (Reply::name("mode"), Reply::name("standalone")),
        (Reply::name("role"), Reply::name("master")),
        (Reply::name("modules"), Reply::Array(Vec::new())),
    ])))
}

fn protocol(version: &[u8]) -> Result<Protocol, CommandError> {
    match integer(version) {
        Some(2) => Ok(Protocol::Resp2),
        Some(3) => Ok(Protocol::Resp3),
        Some(_) => Err(other("NOPROTO unsupported protocol version")),
        None => Err(other("ERR Protocol version is not an integer or out of range")),
    }
}

/// `AUTH [user] password`. An authenticated client stays so after a later wrong password, as in
/// Redis.
pub(super) fn auth(session: &mut Session, arguments: &[Bytes]) -> CommandOutcome {
    let admitted = match arguments {
        [_password] if !session.password().is_needed() => {
            return Err(other(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
            ));
        }
        [password] => session.password().admits_nameless(password),
        [user, password] => session.password().admits(user, password),
        _ => return Err(other("ERR syntax error")),
    };
    log_in(session, admitted).map(|()| Some(Reply::OK))
}

fn log_in(session: &mut Session, admitted: bool) -> Result<(), CommandError> {
    if admitted {
        session.set_authenticated();
        return Ok(());
    }
    Err(other("WRONGPASS invalid username-password pair or user is disabled."))
}

/// `SELECT 0`. There is one database; channels belong to none.
pub(super) fn select(_session: &mut Session, arguments: &[Bytes]) -> CommandOutcome {
    match arguments.first().and_then(|index| integer(index)).and_then(|index| i32::try_from(index).ok()) {
        Some(0) => Ok(Some(Reply::OK)),
        Some(_) => Err(other("ERR DB index is out of range")),
        None => Err(other("ERR value is not an integer or out of range")),
    }
}

/// `CLIENT ID`
pub(super) fn id(session: &mut Session, _arguments: &[Bytes]) -> CommandOutcome {
    Ok(Some(client_id(session)))
}

fn client_id(session: &mut Session) -> Reply {
    Reply::Integer(i64::try_from(session.subscriber().id().0).unwrap_or(i64::MAX))
}

/// `CLIENT GETNAME`
pub(super) fn get_name(session: &mut Session, _arguments: &[Bytes]) -> CommandOutcome {
    let name = session.name();
    Ok(Some(if name.is_empty() { Reply::Null } else { Reply::Bulk(name) }))
}

/// `CLIENT SETNAME name`; an empty name is none.
pub(super) fn set_name(session: &mut Session, arguments: &[Bytes]) -> CommandOutcome {
    if let Some(name) = arguments.first() {
        session.set_name(checked_name(name)?);
    }
    Ok(Some(Reply::OK))
}

fn checked_name(name: &Bytes) -> Result<Bytes, CommandError> {
    if !is_one_word(name) {
        return Err(other("ERR Client names cannot contain spaces, newlines or special characters."));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(other(format!(
            "ERR a client name of the embedded bus has at most {NAME_BYTES_MAX} bytes"
        )));
    }
    // A copy: the argument is a part of the whole input buffer and would keep all of it in memory.
    Ok(Bytes::copy_from_slice(name))
}

/// `CLIENT SETINFO LIB-NAME|LIB-VER text`, of Redis 7.2: libraries send it when they connect. The
/// value is not used.
pub(super) fn set_info(_session: &mut Session, arguments: &[Bytes]) -> CommandOutcome {
    let [attribute, text] = arguments else { return Ok(None) };
    let shown = shown(attribute);
    let known = ["lib-name", "lib-ver"].iter().any(|known| shown.eq_ignore_ascii_case(known));
    match (known, is_one_word(text)) {
        (true, true) => Ok(Some(Reply::OK)),
        (true, false) => {
            Err(other(format!("ERR {shown} cannot contain spaces, newlines or special characters.")))
        }
        (false, _) => Err(other(format!("ERR Unrecognized option '{shown}'"))),
    }
}

/// `CLIENT NO-EVICT on|off` and `CLIENT NO-TOUCH on|off`: nothing is evicted here, and there is
/// nothing to touch.
pub(super) fn on_or_off(_session: &mut Session, arguments: &[Bytes]) -> CommandOutcome {
    match arguments.first() {
        Some(word) if word.eq_ignore_ascii_case(b"on") || word.eq_ignore_ascii_case(b"off") => {
            Ok(Some(Reply::OK))
        }
        _ => Err(other("ERR syntax error")),
    }
}

fn is_one_word(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_graphic)
}
