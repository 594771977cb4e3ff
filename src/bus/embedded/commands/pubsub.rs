//! Publishing and subscribing.

use std::time::SystemTime;

use bytes::Bytes;

use super::{CommandError, Outcome, other, shown};
use crate::bus::embedded::exchange::Kind;
use crate::bus::embedded::reply::Reply;
use crate::bus::embedded::session::Session;

/// The function of the publish script.
const PUBLISH_FUNCTION: &[u8] = b"tidings_publish";

/// `PUBLISH channel message`: a live event; answers how many got it.
pub(super) fn publish(session: &mut Session, arguments: &[Bytes]) -> Outcome {
    let [channel, message] = arguments else { return Ok(None) };
    Ok(Some(Reply::count(session.exchange().publish(channel, message))))
}

/// `FCALL tidings_publish 1 channel payload`: a durable event; answers its id.
pub(super) fn fcall(session: &mut Session, arguments: &[Bytes]) -> Outcome {
    let [function, keys, rest @ ..] = arguments else { return Ok(None) };
    if function != PUBLISH_FUNCTION {
        return Err(other("ERR Function not found"));
    }
    let keys: i64 = integer(keys).ok_or_else(|| other("ERR Bad number of keys provided"))?;
    if keys < 0 {
        return Err(other("ERR Number of keys can't be negative"));
    }
    if usize::try_from(keys).is_ok_and(|keys| keys > rest.len()) {
        return Err(other("ERR Number of keys can't be greater than number of args"));
    }
    let (1, [key, payload]) = (keys, rest) else {
        return Err(other(
            "ERR tidings_publish takes one key, the workspace's channel, and one argument, the payload",
        ));
    };
    let workspace = session.exchange().workspace(key).ok_or_else(|| {
        let prefix = session.exchange().prefix();
        other(format!("ERR tidings_publish: the key is `{prefix}` and a workspace id, got `{}`", shown(key)))
    })?;
    let id = session.exchange().publish_logged(&workspace, payload, SystemTime::now());
    Ok(Some(Reply::Bulk(id.to_string().into())))
}

/// `SUBSCRIBE channel ...`
pub(super) fn subscribe(session: &mut Session, arguments: &[Bytes]) -> Outcome {
    subscribe_to(Kind::Channel, session, arguments)
}

/// `PSUBSCRIBE pattern ...`
pub(super) fn psubscribe(session: &mut Session, arguments: &[Bytes]) -> Outcome {
    subscribe_to(Kind::Pattern, session, arguments)
}

/// `UNSUBSCRIBE [channel ...]`
pub(super) fn unsubscribe(session: &mut Session, arguments: &[Bytes]) -> Outcome {
    unsubscribe_from(Kind::Channel, session, arguments)
}

/// `PUNSUBSCRIBE [pattern ...]`
pub(super) fn punsubscribe(session: &mut Session, arguments: &[Bytes]) -> Outcome {
    unsubscribe_from(Kind::Pattern, session, arguments)
}

fn subscribe_to(kind: Kind, session: &mut Session, names: &[Bytes]) -> Outcome {
    for name in names {
        session.subscriber().subscribe(kind, name).map_err(CommandError::from)?;
    }
    Ok(None)
}

fn unsubscribe_from(kind: Kind, session: &mut Session, names: &[Bytes]) -> Outcome {
    if names.is_empty() {
        session.subscriber().unsubscribe_all(kind);
    }
    for name in names {
        session.subscriber().unsubscribe(kind, name);
    }
    Ok(None)
}

/// `PUBSUB CHANNELS [pattern]`
pub(super) fn channels(session: &mut Session, arguments: &[Bytes]) -> Outcome {
    let pattern = match arguments {
        [] => None,
        [pattern] => Some(pattern.as_ref()),
        _ => {
            let text = "ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP.";
            return Err(other(text));
        }
    };
    let channels = session.exchange().channels(pattern);
    Ok(Some(Reply::Array(channels.into_iter().map(Reply::Bulk).collect())))
}

/// `PUBSUB NUMSUB [channel ...]`: an array of names and counts, in RESP3 too.
pub(super) fn numsub(session: &mut Session, arguments: &[Bytes]) -> Outcome {
    let listeners = |name: &Bytes| Reply::count(session.exchange().listeners(name));
    let pairs = arguments.iter().flat_map(|name| [Reply::Bulk(name.clone()), listeners(name)]);
    Ok(Some(Reply::Array(pairs.collect())))
}

/// `PUBSUB NUMPAT`
pub(super) fn numpat(session: &mut Session, _arguments: &[Bytes]) -> Outcome {
    Ok(Some(Reply::count(session.exchange().patterns())))
}

/// A whole number as text.
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
