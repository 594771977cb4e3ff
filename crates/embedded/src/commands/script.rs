//! The publish script, by its text, its hash, and the name of its function. The script that lists a
//! shared set, by its text. No other script is run.

use std::sync::LazyLock;
use std::time::Instant;

use bytes::Bytes;
use redis::Script;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::streams::id_reply;
use super::{CommandOutcome, CommandStep, number, syntax_error};
use crate::commands::session::Session;
use crate::log::log_writer::Committed;
use crate::log::{NotPublished, Publish};
use crate::protocol::reply::Reply;
use crate::pubsub::subscriber::NAME_BYTES_MAX;
use tidings_bus::redis::NODE_KEYS;
use tidings_bus::redis::shared_set::LIST_SET_SCRIPT;
use tidings_bus::{Item, SetMembers};
use tidings_event::{TraceParent, audience};

/// The function of the publish script.
const FUNCTION: &str = "tidings_publish";

/// The script. What it does is done here by hand: there is no Lua.
const TEXT: &str = include_str!("../../../../scripts/publish.lua");

static HASH: LazyLock<String> = LazyLock::new(|| Script::new(TEXT).get_hash().to_owned());

const OTHER_SCRIPT: &str = "ERR the embedded bus runs no script but scripts/publish.lua of this version of Tidings; for others set redis.url to a Redis server";

const BAD_AUDIENCE: &str = "ERR tidings_publish: the audience is a JSON array of 1 to 1000 user ids; or, for each event, such an array or null, but not null for all";

/// The script's keys: the log, and those beside it, which the bus finds itself.
const KEYS_MAX: usize = 3;

/// The script's arguments up to the further payloads.
const ARGUMENTS_OF_ONE: usize = 6;

/// The audiences of all events of a call together, in bytes: one for all events is in the log with
/// each of them.
const AUDIENCE_BYTES_MAX: usize = 16 << 20;

/// `FCALL tidings_publish 1 channel payload [count] [seconds] [idempotency key] [bytes] [audience]
/// [payload ...]`: publishes durable events; returns their ids.
pub(super) fn call(session: &mut Session, arguments: &[Bytes]) -> Result<CommandStep, Reply> {
    match arguments {
        [function, rest @ ..] if function == FUNCTION => publish(session, rest),
        _ => Err(Reply::error("ERR Function not found")),
    }
}

/// `EVAL script 1 channel payload ...`
pub(super) fn eval(session: &mut Session, arguments: &[Bytes]) -> Result<CommandStep, Reply> {
    match arguments {
        [script, rest @ ..] if is_ours(script) => publish(session, rest),
        [script, rest @ ..] if script == LIST_SET_SCRIPT => list_set(session, rest),
        _ => Err(Reply::error(OTHER_SCRIPT)),
    }
}

/// `EVAL script 1 key ...`: the members of a shared set, by the bounds of this bus. `tidings trace`
/// and its like read the replies of this node.
fn list_set(session: &Session, arguments: &[Bytes]) -> Result<CommandStep, Reply> {
    let [_, key, ..] = arguments else { return Err(syntax_error()) };
    let prefix = format!("{NODE_KEYS}{}", session.context.pubsub.prefix());
    let name = key.strip_prefix(prefix.as_bytes()).and_then(|name| std::str::from_utf8(name).ok());
    let SetMembers { members, left_out } =
        name.map(|name| session.context.shared_sets.list(name, Instant::now())).unwrap_or_default();
    let left_out = Reply::Integer(i64::try_from(left_out).unwrap_or(i64::MAX));
    let members = Reply::Array(members.into_iter().map(Reply::Bulk).collect());
    let reply = Reply::Array(vec![left_out, members]);
    Ok(Box::new(move |_| Committed::without_announcements(reply)))
}

/// `EVALSHA hash 1 channel payload ...`
pub(super) fn eval_hash(session: &mut Session, arguments: &[Bytes]) -> Result<CommandStep, Reply> {
    match arguments {
        [hash, rest @ ..] if hash.eq_ignore_ascii_case(HASH.as_bytes()) => publish(session, rest),
        _ => Err(Reply::error("NOSCRIPT No matching script. Please use EVAL.")),
    }
}

/// `SCRIPT LOAD script`: returns the hash.
pub(super) fn load(_session: &mut Session, arguments: &[Bytes]) -> CommandOutcome {
    match arguments {
        [script] if is_ours(script) => Ok(Some(Reply::Bulk(HASH.clone().into()))),
        _ => Err(Reply::error(OTHER_SCRIPT)),
    }
}

/// `SCRIPT EXISTS hash ...`
pub(super) fn exists(_session: &mut Session, arguments: &[Bytes]) -> CommandOutcome {
    let is_known = |hash: &Bytes| Reply::Integer(hash.eq_ignore_ascii_case(HASH.as_bytes()).into());
    Ok(Some(Reply::Array(arguments.iter().map(is_known).collect())))
}

/// The script is known by its text, whatever blanks are around it.
fn is_ours(script: &[u8]) -> bool {
    script.trim_ascii() == TEXT.trim_ascii().as_bytes()
}

/// Publishes by the number of keys, the keys and the script's arguments.
fn publish(session: &Session, arguments: &[Bytes]) -> Result<CommandStep, Reply> {
    let [keys, rest @ ..] = arguments else { return Err(syntax_error()) };
    let keys = number(keys)?;
    let is_channel = |key: &Bytes| session.context.pubsub.workspace(key).is_some();
    let (log, arguments) = match rest.split_at_checked(keys) {
        Some(([log, ..], arguments)) if keys <= KEYS_MAX && is_channel(log) => (log.clone(), arguments),
        _ => {
            return Err(Reply::error(format!(
                "ERR tidings_publish takes as its key the channel of a workspace, `{}` and its id",
                session.context.pubsub.prefix()
            )));
        }
    };
    let publish = publication(arguments)?;
    let is_batch = arguments.len() > ARGUMENTS_OF_ONE;
    Ok(Box::new(move |logs| match logs.publish(&log, &publish) {
        Ok(published) => {
            let mut ids = published.ids.into_iter().map(id_reply);
            let reply =
                if is_batch { Reply::Array(ids.collect()) } else { ids.next().unwrap_or(Reply::Null) };
            Committed::announcing(reply, &log, published.messages)
        }
        Err(error) => {
            // `OOM` is the code of a server that takes no more for want of memory.
            let code = if matches!(error, NotPublished::KeysFull(_)) { "OOM" } else { "ERR" };
            Committed::without_announcements(Reply::error(format!("{code} tidings_publish: {error}")))
        }
    }))
}

/// The publication that the script's arguments describe.
fn publication(arguments: &[Bytes]) -> Result<Publish, Reply> {
    let [payload, options @ ..] = arguments else {
        return Err(Reply::error("ERR tidings_publish takes an argument, the payload"));
    };
    let option = |number: usize| options.get(number).filter(|option| !option.is_empty());
    let idempotency_key = option(2).cloned();
    if idempotency_key.as_ref().is_some_and(|key| key.len() > NAME_BYTES_MAX) {
        let text = format!("ERR tidings_publish: an idempotency key has at most {NAME_BYTES_MAX} bytes");
        return Err(Reply::error(text));
    }
    let (to, trace) = option(4).map_or(Ok((None, None)), options_of_events)?;
    let payloads = std::iter::once(payload).chain(options.get(ARGUMENTS_OF_ONE - 1..).unwrap_or_default());
    Ok(Publish {
        items: addressed(payloads.cloned().map(Item::from).collect(), to.as_ref())?,
        events: option(0).map(|text| positive(text)).transpose()?,
        age: option(1).map(|text| positive(text)).transpose()?.map(|age| (age as u64).saturating_mul(1000)),
        bytes: option(3).map(|text| positive(text)).transpose()?,
        idempotency_key,
        trace,
    })
}

/// The object that may be in the place of the audience.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TracedAudience {
    traceparent: serde_json::Value,
    #[serde(default, deserialize_with = "given")]
    to: Option<Box<RawValue>>,
}

/// Any JSON, null included: a mistake must not turn a private event into a public one.
fn given<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(json).map(Some)
}

/// The audiences, if there are some, and the trace of a call. An invalid trace counts as none.
fn options_of_events(text: &Bytes) -> Result<(Option<Bytes>, Option<TraceParent>), Reply> {
    if !text.trim_ascii_start().starts_with(b"{") {
        return Ok((Some(text.clone()), None));
    }
    let traced: TracedAudience = serde_json::from_slice(text).map_err(|_| Reply::error(BAD_AUDIENCE))?;
    // Only version 00, as the script.
    let trace = traced.traceparent.as_str().filter(|text| text.starts_with("00"));
    let to = traced.to.map(|to| Bytes::from(to.get().to_owned()));
    Ok((to, trace.and_then(|text| text.parse().ok())))
}

/// Events with their audiences.
fn addressed(mut items: Vec<Item>, to: Option<&Bytes>) -> Result<Vec<Item>, Reply> {
    let Some(to) = to else { return Ok(items) };
    let each = audience::parse_each(to, items.len()).map_err(|_| Reply::error(BAD_AUDIENCE))?;
    if each.iter().flatten().map(|to| to.as_json().len()).sum::<usize>() > AUDIENCE_BYTES_MAX {
        return Err(Reply::error(format!(
            "ERR tidings_publish: the audiences of all events of a call have at most {AUDIENCE_BYTES_MAX} bytes together"
        )));
    }
    for (item, to) in items.iter_mut().zip(each) {
        item.to = to;
    }
    Ok(items)
}

fn positive(text: &[u8]) -> Result<usize, Reply> {
    number(text).ok().filter(|&number| number > 0).ok_or_else(|| {
        let text = text.escape_ascii();
        Reply::error(format!("ERR tidings_publish: `{text}` is no whole number above zero"))
    })
}
