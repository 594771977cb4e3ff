//! Publishing and subscribing.

use std::sync::Arc;

use bytes::Bytes;

use super::{CommandOutcome, CommandStep, syntax_error};
use crate::commands::session::Session;
use crate::listener::output_buffer::too_large;
use crate::log::log_writer::Committed;
use crate::protocol::reply::Reply;
use crate::pubsub::{SubscriptionKind, glob};

/// `PUBLISH channel message`: a live event; returns the number of receivers.
pub(super) fn publish(session: &mut Session, arguments: &[Bytes]) -> CommandOutcome {
    let [channel, message] = arguments else { return Err(syntax_error()) };
    Ok(Some(Reply::count(session.context.pubsub.publish(channel, message))))
}

/// `PUBLISH channel message` in a transaction: published when the commands before it are stored.
pub(super) fn publish_later(session: &mut Session, arguments: &[Bytes]) -> Result<CommandStep, Reply> {
    let [channel, message] = arguments else { return Err(syntax_error()) };
    let (pubsub, channel, message) = (Arc::clone(&session.context.pubsub), channel.clone(), message.clone());
    Ok(Box::new(move |_| {
        Committed::announcing(Reply::count(pubsub.receivers(&channel)), &channel, vec![message])
    }))
}

/// `SUBSCRIBE channel ...` and `PSUBSCRIBE pattern ...`
pub(super) fn subscribe(session: &mut Session, kind: SubscriptionKind, names: &[Bytes]) -> CommandOutcome {
    for name in names {
        session.subscriber.subscribe(kind, name)?;
    }
    Ok(None)
}

/// `UNSUBSCRIBE [channel ...]` and `PUNSUBSCRIBE [pattern ...]`
pub(super) fn unsubscribe(session: &mut Session, kind: SubscriptionKind, names: &[Bytes]) -> CommandOutcome {
    if names.is_empty() {
        session.subscriber.unsubscribe_all(kind);
    }
    for name in names {
        session.subscriber.unsubscribe(kind, name);
    }
    Ok(None)
}

/// `PUBSUB CHANNELS [pattern]`
pub(super) fn channels(session: &mut Session, arguments: &[Bytes]) -> CommandOutcome {
    let pattern = arguments.first().map_or(&b"*"[..], |pattern| pattern);
    glob::check(pattern)?;
    let most = session.output_buffer().reply_bytes_max();
    Ok(Some(match session.context.pubsub.channels(pattern, most) {
        Some(channels) => Reply::Array(channels.into_iter().map(Reply::Bulk).collect()),
        None => too_large(most),
    }))
}
