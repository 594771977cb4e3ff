//! Publishing and subscribing.

use std::sync::Arc;

use bytes::Bytes;

use super::{CommandError, CommandOutcome, CommandStep, other};
use crate::commands::session::Session;
use crate::listener::output_buffer::too_large;
use crate::log::log_writer::{Announcement, Committed};
use crate::protocol::reply::Reply;
use crate::pubsub::SubscriptionKind;

/// `PUBLISH channel message`: a live event; returns the number of receivers.
pub(super) fn publish(session: &mut Session, arguments: &[Bytes]) -> CommandOutcome {
    let [channel, message] = arguments else { return Ok(None) };
    Ok(Some(Reply::count(session.pubsub().publish(channel, message))))
}

/// `PUBLISH channel message` in a transaction: published when the commands before it are stored.
pub(super) fn publish_later(session: &mut Session, arguments: &[Bytes]) -> Result<CommandStep, CommandError> {
    let [channel, message] = arguments else { return Err(CommandError::Arguments("publish".to_owned())) };
    let pubsub = Arc::clone(session.pubsub());
    let announcement = Announcement { channel: channel.clone(), message: message.clone() };
    Ok(Box::new(move |_, _| Committed {
        reply: Reply::count(pubsub.receivers(&announcement.channel)),
        announcements: vec![announcement],
    }))
}

/// `SUBSCRIBE channel ...`
pub(super) fn subscribe(session: &mut Session, arguments: &[Bytes]) -> CommandOutcome {
    subscribe_to(SubscriptionKind::Channel, session, arguments)
}

/// `PSUBSCRIBE pattern ...`
pub(super) fn psubscribe(session: &mut Session, arguments: &[Bytes]) -> CommandOutcome {
    subscribe_to(SubscriptionKind::Pattern, session, arguments)
}

/// `UNSUBSCRIBE [channel ...]`
pub(super) fn unsubscribe(session: &mut Session, arguments: &[Bytes]) -> CommandOutcome {
    unsubscribe_from(SubscriptionKind::Channel, session, arguments)
}

/// `PUNSUBSCRIBE [pattern ...]`
pub(super) fn punsubscribe(session: &mut Session, arguments: &[Bytes]) -> CommandOutcome {
    unsubscribe_from(SubscriptionKind::Pattern, session, arguments)
}

fn subscribe_to(kind: SubscriptionKind, session: &mut Session, names: &[Bytes]) -> CommandOutcome {
    for name in names {
        session.subscriber().subscribe(kind, name).map_err(CommandError::from)?;
    }
    Ok(None)
}

fn unsubscribe_from(kind: SubscriptionKind, session: &mut Session, names: &[Bytes]) -> CommandOutcome {
    if names.is_empty() {
        session.subscriber().unsubscribe_all(kind);
    }
    for name in names {
        session.subscriber().unsubscribe(kind, name);
    }
    Ok(None)
}

/// `PUBSUB CHANNELS [pattern]`
pub(super) fn channels(session: &mut Session, arguments: &[Bytes]) -> CommandOutcome {
    let pattern = match arguments {
        [] => None,
        [pattern] => Some(pattern.as_ref()),
        _ => {
            let text = "ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP.";
            return Err(other(text));
        }
    };
    let most = session.subscriber().output_buffer().reply_bytes_max();
    Ok(Some(match session.pubsub().channels(pattern, most) {
        Some(channels) => Reply::Array(channels.into_iter().map(Reply::Bulk).collect()),
        None => too_large(most),
    }))
}

/// `PUBSUB NUMSUB [channel ...]`: an array of names and counts, in RESP3 too.
pub(super) fn numsub(session: &mut Session, arguments: &[Bytes]) -> CommandOutcome {
    let listeners = |name: &Bytes| Reply::count(session.pubsub().listeners(name));
    let pairs = arguments.iter().flat_map(|name| [Reply::Bulk(name.clone()), listeners(name)]);
    Ok(Some(Reply::Array(pairs.collect())))
}

/// `PUBSUB NUMPAT`
pub(super) fn numpat(session: &mut Session, _arguments: &[Bytes]) -> CommandOutcome {
    Ok(Some(Reply::count(session.pubsub().patterns())))
}
