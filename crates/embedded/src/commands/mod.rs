//! The commands that the embedded bus takes: the table, and the way from a request to its handler.

mod client;
mod pubsub;
mod script;
pub(crate) mod session;
mod streams;
mod transaction;

use bytes::Bytes;

use self::pubsub::{subscribe, unsubscribe};
use crate::commands::session::Session;
use crate::log::Logs;
use crate::log::log_writer::Committed;
use crate::protocol::reply::Reply;
use crate::pubsub::SubscriptionKind::{Channel, Pattern};
use crate::pubsub::subscriber::NAME_BYTES_MAX;

/// The result of a handler: `None` if the whole reply is in the client's output buffer already.
/// The other reply is an error.
type CommandOutcome = Result<Option<Reply>, Reply>;

/// The work on the logs, and the reply to the client.
type CommandStep = Box<dyn FnOnce(&mut Logs) -> Committed<Reply> + Send>;

type CommandFunction = fn(&mut Session, &[Bytes]) -> CommandOutcome;
type Prepare = fn(&mut Session, &[Bytes]) -> Result<CommandStep, Reply>;

/// Runs a command with the arguments behind its name.
#[derive(Debug, Clone, Copy)]
enum Handler {
    /// It is done at once, and not inside a transaction.
    Now(CommandFunction),
    /// It is done at once, also inside a transaction.
    Urgent(CommandFunction),
    /// It is done at once, but in a transaction in its turn.
    Live(CommandFunction, Prepare),
    /// It is done with the logs.
    Log(Prepare),
    /// It reads logs, and may have a large reply. It is not done inside a transaction.
    Read(Prepare),
    /// It ends a transaction.
    Exec(Prepare),
}

/// One command, or one subcommand, whose name is then `command|subcommand`.
#[derive(Debug, Clone, Copy)]
struct CommandEntry {
    name: &'static str,
    /// The least and the greatest number of arguments.
    arguments: (usize, usize),
    handler: Handler,
    /// Whether a RESP2 client that has subscriptions may run it.
    while_subscribed: bool,
    /// Whether a client may run it that has not given the password.
    before_login: bool,
}

/// The bytes of an unknown command's name that its error shows.
const NAME_SHOWN_BYTES: usize = 128;

const MANY: usize = usize::MAX;

const fn command(name: &'static str, arguments: (usize, usize), handler: Handler) -> CommandEntry {
    CommandEntry { name, arguments, handler, while_subscribed: false, before_login: false }
}

const fn always(name: &'static str, arguments: (usize, usize), handler: Handler) -> CommandEntry {
    CommandEntry { while_subscribed: true, ..command(name, arguments, handler) }
}

/// The same, and run for a client that has not given the password, too.
const fn open(command: CommandEntry) -> CommandEntry {
    CommandEntry { before_login: true, ..command }
}

const COMMANDS: &[CommandEntry] = &[
    open(command("hello", (0, MANY), Handler::Now(client::hello))),
    open(command("auth", (1, 2), Handler::Now(client::auth))),
    open(always("quit", (0, MANY), Handler::Urgent(client::quit))),
    always("ping", (0, 1), Handler::Now(client::ping)),
    command("echo", (1, 1), Handler::Now(client::echo)),
    command("select", (1, 1), Handler::Now(client::select)),
    command("client|setname", (1, 1), Handler::Now(client::ignore)),
    command("client|setinfo", (2, 2), Handler::Now(client::ignore)),
    command("info", (0, MANY), Handler::Now(client::info)),
    always("subscribe", (1, MANY), Handler::Now(|client, names| subscribe(client, Channel, names))),
    always("unsubscribe", (0, MANY), Handler::Now(|client, names| unsubscribe(client, Channel, names))),
    always("psubscribe", (1, MANY), Handler::Now(|client, names| subscribe(client, Pattern, names))),
    always("punsubscribe", (0, MANY), Handler::Now(|client, names| unsubscribe(client, Pattern, names))),
    command("pubsub|channels", (0, 1), Handler::Now(pubsub::channels)),
    command("publish", (2, 2), Handler::Live(pubsub::publish, pubsub::publish_later)),
    command("xadd", (4, MANY), Handler::Log(streams::add)),
    command("xlen", (1, 1), Handler::Log(streams::length)),
    command("xrange", (3, 5), Handler::Read(|client, arguments| streams::range(client, arguments, false))),
    command("xrevrange", (3, 5), Handler::Read(|client, arguments| streams::range(client, arguments, true))),
    command("del", (1, MANY), Handler::Log(streams::delete)),
    command("expire", (2, 2), Handler::Log(streams::expire)),
    command("fcall", (2, MANY), Handler::Log(script::call)),
    command("eval", (2, MANY), Handler::Log(script::eval)),
    command("evalsha", (2, MANY), Handler::Log(script::eval_hash)),
    command("script|load", (1, 1), Handler::Now(script::load)),
    command("script|exists", (1, MANY), Handler::Now(script::exists)),
    command("multi", (0, 0), Handler::Urgent(transaction::multi)),
    command("discard", (0, 0), Handler::Urgent(transaction::discard)),
    command("exec", (0, 0), Handler::Exec(transaction::exec)),
];

/// Finds the command of a request, and whether the client may run it now. Returns it with the
/// arguments behind its name.
fn look_up<'a>(
    session: &Session,
    request: &'a [Bytes],
) -> Result<(&'static CommandEntry, &'a [Bytes]), Reply> {
    let find = |command: &'static CommandEntry| Some((command, command.arguments_of(request)?));
    let Some((command, arguments)) = COMMANDS.iter().find_map(find) else {
        let name = request.first().map_or(&[][..], |name| &name[..name.len().min(NAME_SHOWN_BYTES)]);
        return Err(Reply::Error(format!(
            "ERR unknown command '{}' or subcommand. This is the embedded bus of Tidings: docs/protocol.md lists its commands; for others set redis.url to a Redis server",
            name.escape_ascii()
        )));
    };
    let (name, (least, most)) = (command.name, command.arguments);
    if !(least..=most).contains(&arguments.len()) {
        return Err(Reply::Error(format!("ERR wrong number of arguments for '{name}' command")));
    }
    if !command.before_login && !session.is_authenticated() {
        return Err(Reply::error("NOAUTH Authentication required."));
    }
    if !command.while_subscribed && session.is_restricted() {
        return Err(Reply::Error(format!(
            "ERR Can't execute '{name}': a RESP2 client with subscriptions may change them, PING and QUIT"
        )));
    }
    Ok((command, arguments))
}

impl CommandEntry {
    /// The arguments behind the name, if the request is for this command.
    fn arguments_of<'a>(&self, request: &'a [Bytes]) -> Option<&'a [Bytes]> {
        self.name.split('|').try_fold(request, |words, name| {
            let (word, rest) = words.split_first()?;
            word.eq_ignore_ascii_case(name.as_bytes()).then_some(rest)
        })
    }
}

/// The work on the logs that announces nothing.
fn step(work: impl FnOnce(&mut Logs) -> Reply + Send + 'static) -> CommandStep {
    Box::new(move |logs| Committed::without_announcements(work(logs)))
}

/// The error for arguments that a command does not take.
fn syntax_error() -> Reply {
    Reply::error("ERR syntax error")
}

/// A number as text.
fn number<T: std::str::FromStr>(text: &[u8]) -> Result<T, Reply> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| Reply::error("ERR value is not an integer or out of range"))
}

/// The key of a log. It is as long as a channel's name at most.
fn log_key(key: &Bytes) -> Result<Bytes, Reply> {
    if key.len() > NAME_BYTES_MAX {
        let text = format!("ERR a key of the embedded bus has at most {NAME_BYTES_MAX} bytes");
        return Err(Reply::error(text));
    }
    Ok(key.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_once_and_in_lower_case() {
        let mut names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
        assert!(names.iter().all(|name| !name.bytes().any(|byte| byte.is_ascii_uppercase())));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), COMMANDS.len());
    }

    #[test]
    fn command_and_subcommand_are_found_in_any_case() {
        let request: Vec<Bytes> = ["CLIENT", "SetName", "worker"].map(Bytes::from).to_vec();
        let found: Vec<_> =
            COMMANDS.iter().filter(|command| command.arguments_of(&request).is_some()).collect();
        assert!(matches!(found[..], [CommandEntry { name: "client|setname", .. }]), "{found:?}");
        assert!(COMMANDS.iter().all(|command| command.arguments_of(&request[..1]).is_none()));
    }
}
