//! The publish script, by its text, its hash, and the name of its function. No other script is run.

use std::sync::LazyLock;

use bytes::Bytes;
use redis::Script;

use super::ids::integer;
use super::streams::id_reply;
use super::{CommandError, CommandOutcome, CommandStep, other, shown};
use crate::commands::session::Session;
use crate::log::log_writer::{Announcement, Committed};
use crate::log::{LogSettings, NotPublished, Publish};
use crate::protocol::reply::Reply;
use crate::pubsub::glob;
use crate::pubsub::subscriber::NAME_BYTES_MAX;
use tidings_bus::Item;
use tidings_event::{EntryId, audience};

/// The function of the publish script.
const FUNCTION: &str = "tidings_publish";

/// The library of the function.
const LIBRARY: &str = "tidings";

/// The script. What it does is done here by hand: there is no Lua.
const TEXT: &str = include_str!("../../../../scripts/publish.lua");

static HASH: LazyLock<String> = LazyLock::new(|| Script::new(TEXT).get_hash().to_owned());

const OTHER_SCRIPT: &str = "ERR the embedded bus runs no script but scripts/publish.lua of this version of Tidings; for others set redis.url to a Redis server";

const BAD_AUDIENCE: &str = "ERR tidings_publish: the audience is a JSON array of 1 to 1000 user ids; or, for each event, such an array or null, but not null for all";

/// The script's arguments up to the further payloads.
const ARGUMENTS_OF_ONE: usize = 6;

/// The audiences of all events of a call together, in bytes: one for all events is in the log with
/// each of them.
const AUDIENCE_BYTES_MAX: usize = 16 << 20;

/// `FCALL tidings_publish 1 channel payload [count] [seconds] [idempotency key] [bytes] [audience]
/// [payload ...]`: publishes durable events; returns their ids.
pub(super) fn call(session: &mut Session, arguments: &[Bytes]) -> Result<CommandStep, CommandError> {
    let [function, keys, rest @ ..] = arguments else { return Err(arity("fcall")) };
    if function != FUNCTION {
        return Err(other("ERR Function not found"));
    }
    let keys = integer(keys).ok_or_else(|| other("ERR Bad number of keys provided"))?;
    publish(session, keys, rest)
}

/// `EVAL script 1 channel payload ...`
pub(super) fn eval(session: &mut Session, arguments: &[Bytes]) -> Result<CommandStep, CommandError> {
    let [script, keys, rest @ ..] = arguments else { return Err(arity("eval")) };
    if !is_ours(script) {
        return Err(other(OTHER_SCRIPT));
    }
    publish(session, number_of_keys(keys)?, rest)
}

/// `EVALSHA hash 1 channel payload ...`
pub(super) fn eval_hash(session: &mut Session, arguments: &[Bytes]) -> Result<CommandStep, CommandError> {
    let [hash, keys, rest @ ..] = arguments else { return Err(arity("evalsha")) };
    if !hash.eq_ignore_ascii_case(HASH.as_bytes()) {
        return Err(other("NOSCRIPT No matching script. Please use EVAL."));
    }
    publish(session, number_of_keys(keys)?, rest)
}

fn number_of_keys(keys: &[u8]) -> Result<i64, CommandError> {
    integer(keys).ok_or_else(|| other("ERR value is not an integer or out of range"))
}

/// The script is known by its text, whatever blanks are around it.
fn is_ours(script: &[u8]) -> bool {
    script.trim_ascii() == TEXT.trim_ascii().as_bytes()
}

fn publish(session: &Session, keys: i64, arguments: &[Bytes]) -> Result<CommandStep, CommandError> {
    if usize::try_from(keys).is_ok_and(|keys| keys > arguments.len()) {
        return Err(other("ERR Number of keys can't be greater than number of args"));
    }
    if keys < 0 {
        return Err(other("ERR Number of keys can't be negative"));
    }
    // Further keys are those beside the log, which the script finds itself.
    let keys = usize::try_from(keys).unwrap_or(usize::MAX);
    let Some((1..=3, Some((key, _)), arguments)) = arguments
        .split_at_checked(keys)
        .map(|(keys, arguments)| (keys.len(), keys.split_first(), arguments))
        .filter(|(_, keys, _)| keys.is_some_and(|(key, beside)| are_beside(key, beside)))
    else {
        return Err(other(
            "ERR tidings_publish takes the workspace's channel as its key, and may be given the keys beside its log",
        ));
    };
    if session.pubsub().workspace(key).is_none() {
        let prefix = session.pubsub().prefix();
        let got = shown(key);
        return Err(other(format!(
            "ERR tidings_publish: the key is `{prefix}` and a workspace id, got `{got}`"
        )));
    }
    let (key, call) = (key.clone(), ScriptArguments::parse(arguments)?);
    Ok(Box::new(move |logs, _| {
        let publish = call.within(logs.settings());
        let publishing = match logs.publish(&key, &publish) {
            Ok(publishing) => publishing,
            Err(NotPublished::NoId(_)) => {
                let text = "ERR The stream has exhausted the last possible ID, unable to add more items";
                return Committed::without_announcements(Reply::Error(text.to_owned()));
            }
            // `OOM` is the code of a server that takes no more for want of memory.
            Err(NotPublished::KeysFull(full)) => {
                return Committed::without_announcements(Reply::Error(format!(
                    "OOM tidings_publish: {full}"
                )));
            }
        };
        let announce = |message| Announcement { channel: key.clone(), message };
        let announcements = publishing.messages.into_iter().map(announce).collect();
        Committed { reply: call.reply(&publishing.ids), announcements }
    }))
}

/// Whether keys are those of the epoch and of an idempotency key beside a log.
fn are_beside(log: &[u8], keys: &[Bytes]) -> bool {
    let names = [&b"/epoch"[..], b"/once/"];
    keys.iter().zip(names).all(|(key, name)| {
        let rest = key.strip_prefix(b"{").and_then(|key| key.strip_prefix(log)?.strip_prefix(b"}"));
        rest.is_some_and(|rest| rest.starts_with(name))
    })
}

/// The script's arguments.
struct ScriptArguments {
    items: Vec<Item>,
    events: Option<usize>,
    seconds: Option<usize>,
    bytes: Option<usize>,
    idempotency_key: Option<Bytes>,
    /// Whether the reply has all ids, or the first alone.
    is_batch: bool,
}

impl ScriptArguments {
    fn parse(arguments: &[Bytes]) -> Result<Self, CommandError> {
        let [payload, options @ ..] = arguments else {
            return Err(other("ERR tidings_publish takes an argument, the payload"));
        };
        let mut options = options.iter();
        let (events, seconds) = (number(options.next())?, number(options.next())?);
        let idempotency_key = options.next().filter(|key| !key.is_empty()).cloned();
        if idempotency_key.as_ref().is_some_and(|key| key.len() > NAME_BYTES_MAX) {
            return Err(other(format!(
                "ERR tidings_publish: an idempotency key has at most {NAME_BYTES_MAX} bytes"
            )));
        }
        let bytes = number(options.next())?;
        let to = options.next().filter(|to| !to.is_empty());
        let payloads = std::iter::once(payload).chain(options);
        let items = addressed(payloads.cloned().map(Item::from).collect(), to)?;
        let is_batch = arguments.len() > ARGUMENTS_OF_ONE;
        Ok(Self { items, events, seconds, bytes, idempotency_key, is_batch })
    }

    /// With the configured bounds for those that the command leaves out.
    fn within(&self, settings: &LogSettings) -> Publish {
        let age = u64::try_from(settings.age.as_millis()).unwrap_or(u64::MAX);
        let told_age = self.seconds.map(|seconds| (seconds as u64).saturating_mul(1000));
        Publish {
            items: self.items.clone(),
            events: self.events.unwrap_or(settings.events),
            age: told_age.unwrap_or(age),
            bytes: self.bytes.unwrap_or(settings.bytes),
            idempotency_key: self.idempotency_key.clone(),
        }
    }

    fn reply(&self, ids: &[EntryId]) -> Reply {
        if self.is_batch {
            return Reply::Array(ids.iter().copied().map(id_reply).collect());
        }
        ids.first().copied().map_or(Reply::Null, id_reply)
    }
}

/// Events with their audiences.
fn addressed(mut items: Vec<Item>, to: Option<&Bytes>) -> Result<Vec<Item>, CommandError> {
    let Some(to) = to else { return Ok(items) };
    let each = audience::parse_each(to, items.len()).map_err(|_| other(BAD_AUDIENCE))?;
    if each.iter().flatten().map(|to| to.as_json().len()).sum::<usize>() > AUDIENCE_BYTES_MAX {
        return Err(other(format!(
            "ERR tidings_publish: the audiences of all events of a call have at most {AUDIENCE_BYTES_MAX} bytes together"
        )));
    }
    for (item, to) in items.iter_mut().zip(each) {
        item.to = to;
    }
    Ok(items)
}

/// An optional number above zero; an empty text is none.
fn number(text: Option<&Bytes>) -> Result<Option<usize>, CommandError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    match integer(text).and_then(|number| usize::try_from(number).ok()).filter(|&number| number > 0) {
        Some(number) => Ok(Some(number)),
        None => Err(other(format!("ERR tidings_publish: `{}` is no whole number above zero", shown(text)))),
    }
}

/// `SCRIPT LOAD script`: returns the hash.
pub(super) fn load(_session: &mut Session, arguments: &[Bytes]) -> CommandOutcome {
    match arguments {
        [script] if is_ours(script) => Ok(Some(Reply::Bulk(HASH.clone().into()))),
        _ => Err(other(OTHER_SCRIPT)),
    }
}

/// `SCRIPT EXISTS hash ...`
pub(super) fn known(_session: &mut Session, arguments: &[Bytes]) -> CommandOutcome {
    let is_known = |hash: &Bytes| Reply::Integer(hash.eq_ignore_ascii_case(HASH.as_bytes()).into());
    Ok(Some(Reply::Array(arguments.iter().map(is_known).collect())))
}

/// `FUNCTION LOAD [REPLACE] library`: the library that a broker loads is here already.
pub(super) fn load_library(_session: &mut Session, arguments: &[Bytes]) -> CommandOutcome {
    match arguments {
        [library] | [_, library] if std::str::from_utf8(library).is_ok_and(|text| text.contains(TEXT)) => {
            Ok(Some(Reply::name(LIBRARY)))
        }
        _ => Err(other(OTHER_SCRIPT)),
    }
}

/// `FUNCTION LIST [LIBRARYNAME pattern] [WITHCODE]`
pub(super) fn list_libraries(_session: &mut Session, arguments: &[Bytes]) -> CommandOutcome {
    let (mut is_wanted, mut with_code) = (true, false);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument.eq_ignore_ascii_case(b"libraryname") {
            let pattern = arguments.next().ok_or_else(|| other("ERR library name argument was not given"))?;
            is_wanted = glob::matches(pattern, LIBRARY.as_bytes());
        } else if argument.eq_ignore_ascii_case(b"withcode") {
            with_code = true;
        } else {
            return Err(other(format!("ERR Unknown argument {}", shown(argument))));
        }
    }
    let function = Reply::Map(vec![
        (Reply::name("name"), Reply::name(FUNCTION)),
        (Reply::name("description"), Reply::Null),
        (Reply::name("flags"), Reply::Set(Vec::new())),
    ]);
    let mut library = vec![
        (Reply::name("library_name"), Reply::name(LIBRARY)),
        (Reply::name("engine"), Reply::name("LUA")),
        (Reply::name("functions"), Reply::Array(vec![function])),
    ];
    if with_code {
        library.push((Reply::name("library_code"), Reply::name(TEXT)));
    }
    Ok(Some(Reply::Array(if is_wanted { vec![Reply::Map(library)] } else { Vec::new() })))
}

fn arity(command: &'static str) -> CommandError {
    CommandError::Arguments(command.to_owned())
}
