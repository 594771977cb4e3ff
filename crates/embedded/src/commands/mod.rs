//! The commands that the embedded bus takes: the table, and the way from a request to its handler.

mod client;
mod ids;
mod keys;
mod pubsub;
mod reply_limit;
mod script;
mod server;
pub(crate) mod session;
pub(crate) mod streams;
mod transaction;
mod trimming;

use bytes::Bytes;

pub(crate) use reply_limit::ReplyLimit;
pub(crate) use transaction::Transaction;

use crate::commands::session::Session;
use crate::listener::budget::OverBudget;
use crate::log::Logs;
use crate::log::log_writer::Committed;
use crate::protocol::reply::Reply;
use crate::pubsub::subscriber::SubscriberError;

/// The result of a handler; `None` if the whole reply is in the client's output buffer already.
type CommandOutcome = Result<Option<Reply>, CommandError>;

/// The work on the logs, and the reply to the client, as far as the limit on replies permits.
pub(crate) type CommandStep = Box<dyn FnOnce(&mut Logs, &mut ReplyLimit) -> Committed<Reply> + Send>;

type CommandFunction = fn(&mut Session, &[Bytes]) -> CommandOutcome;
type Prepare = fn(&mut Session, &[Bytes]) -> Result<CommandStep, CommandError>;

/// Runs a command with the arguments behind its name.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Handler {
    /// It is done at once.
    Now(CommandFunction),
    /// It is done at once, and is not taken inside a transaction.
    Alone(CommandFunction),
    /// It is done with the logs.
    Log(Prepare),
    /// It reads logs, and may have a large reply.
    Read(Prepare),
    /// It is done at once, but in a transaction in its turn.
    Live(CommandFunction, Prepare),
    /// It ends a transaction.
    Exec(fn(&mut Session) -> Result<CommandStep, CommandError>),
}

/// One command, or one subcommand, whose name is then `command|subcommand`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommandEntry {
    name: &'static str,
    /// The least and the greatest number of arguments. Handlers rely on it.
    arguments: (usize, usize),
    /// Whether a RESP2 client that has subscriptions may run it.
    while_subscribed: bool,
    /// Whether it is run at once also inside a transaction.
    is_urgent: bool,
    /// Whether a client may run it that has not given the password.
    before_login: bool,
    pub(crate) handler: Handler,
}

/// A command as a client wants it run.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) command: &'static CommandEntry,
    pub(crate) arguments: &'a [Bytes],
}

impl Call<'_> {
    /// Whether it waits for `EXEC` inside a transaction.
    pub(crate) fn waits_in_transaction(&self) -> bool {
        !self.command.is_urgent
    }
}

const MANY: usize = usize::MAX;

const fn command(name: &'static str, arguments: (usize, usize), handler: Handler) -> CommandEntry {
    CommandEntry { name, arguments, while_subscribed: false, is_urgent: false, before_login: false, handler }
}

const fn always(name: &'static str, arguments: (usize, usize), handler: Handler) -> CommandEntry {
    CommandEntry { while_subscribed: true, ..command(name, arguments, handler) }
}

/// The same, and run at once also inside a transaction.
const fn urgent(command: CommandEntry) -> CommandEntry {
    CommandEntry { is_urgent: true, ..command }
}

/// The same, and run for a client that has not given the password, too.
const fn open(command: CommandEntry) -> CommandEntry {
    CommandEntry { before_login: true, ..command }
}

const COMMANDS: &[CommandEntry] = &[
    always("ping", (0, 1), Handler::Now(client::ping)),
    always("subscribe", (1, MANY), Handler::Alone(pubsub::subscribe)),
    always("unsubscribe", (0, MANY), Handler::Alone(pubsub::unsubscribe)),
    always("psubscribe", (1, MANY), Handler::Alone(pubsub::psubscribe)),
    always("punsubscribe", (0, MANY), Handler::Alone(pubsub::punsubscribe)),
    open(urgent(always("quit", (0, MANY), Handler::Alone(client::quit)))),
    open(urgent(always("reset", (0, 0), Handler::Alone(client::reset)))),
    command("publish", (2, 2), Handler::Live(pubsub::publish, pubsub::publish_later)),
    command("pubsub|channels", (0, MANY), Handler::Now(pubsub::channels)),
    command("pubsub|numsub", (0, MANY), Handler::Now(pubsub::numsub)),
    command("pubsub|numpat", (0, 0), Handler::Now(pubsub::numpat)),
    command("xadd", (4, MANY), Handler::Log(streams::add)),
    command("xlen", (1, 1), Handler::Log(streams::length)),
    command("xrange", (3, MANY), Handler::Read(streams::range_forwards)),
    command("xrevrange", (3, MANY), Handler::Read(streams::range_backwards)),
    command("xtrim", (3, MANY), Handler::Log(streams::trim)),
    command("xinfo|stream", (1, MANY), Handler::Read(streams::info)),
    command("del", (1, MANY), Handler::Log(keys::delete)),
    command("exists", (1, MANY), Handler::Log(keys::exists)),
    command("expire", (2, MANY), Handler::Log(keys::expire)),
    command("ttl", (1, 1), Handler::Log(keys::time_to_live)),
    command("type", (1, 1), Handler::Log(keys::kind)),
    urgent(command("multi", (0, 0), Handler::Alone(transaction::multi))),
    urgent(command("exec", (0, 0), Handler::Exec(transaction::exec))),
    urgent(command("discard", (0, 0), Handler::Alone(transaction::discard))),
    command("fcall", (2, MANY), Handler::Log(script::call)),
    command("eval", (2, MANY), Handler::Log(script::eval)),
    command("evalsha", (2, MANY), Handler::Log(script::eval_hash)),
    command("script|load", (1, 1), Handler::Now(script::load)),
    command("script|exists", (1, MANY), Handler::Now(script::known)),
    command("function|list", (0, MANY), Handler::Now(script::list_libraries)),
    command("function|load", (1, MANY), Handler::Now(script::load_library)),
    command("echo", (1, 1), Handler::Now(client::echo)),
    open(command("hello", (0, MANY), Handler::Alone(client::hello))),
    open(command("auth", (1, MANY), Handler::Alone(client::auth))),
    command("select", (1, 1), Handler::Now(client::select)),
    command("client|id", (0, 0), Handler::Now(client::id)),
    command("client|getname", (0, 0), Handler::Now(client::get_name)),
    command("client|setname", (1, 1), Handler::Now(client::set_name)),
    command("client|setinfo", (2, 2), Handler::Now(client::set_info)),
    command("client|no-evict", (1, 1), Handler::Now(client::on_or_off)),
    command("client|no-touch", (1, 1), Handler::Now(client::on_or_off)),
    command("command", (0, 0), Handler::Now(server::command)),
    command("command|count", (0, 0), Handler::Now(server::command_count)),
    command("command|docs", (0, MANY), Handler::Now(server::command_docs)),
    command("command|info", (0, MANY), Handler::Now(server::command_info)),
    command("info", (0, MANY), Handler::Now(server::info)),
    command("time", (0, 0), Handler::Now(server::time)),
    // A browser that a page on the web made to talk to this port sends one of these before
    // anything that the page chose. Redis ends such connections, and so is this one.
    open(urgent(always("post", (0, MANY), Handler::Alone(client::hang_up)))),
    open(urgent(always("host:", (0, MANY), Handler::Alone(client::hang_up)))),
];

/// Why a command was not run. The texts are those of Redis 7.0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(
        "ERR unknown command '{0}'. This is the embedded bus of Tidings: it takes PUBLISH, SUBSCRIBE, PSUBSCRIBE, PUBSUB, FCALL tidings_publish, EVAL of its script, XADD, XRANGE, XREVRANGE, XLEN, XTRIM, XINFO STREAM, DEL, EXISTS, EXPIRE, TTL, TYPE, MULTI and EXEC; for everything else set redis.url to a Redis server"
    )]
    UnknownCommand(String),
    #[error("ERR unknown subcommand '{subcommand}'. Try {} HELP.", .command.to_ascii_uppercase())]
    UnknownSubcommand { command: String, subcommand: String },
    #[error("ERR wrong number of arguments for '{0}' command")]
    Arguments(String),
    #[error(
        "ERR Can't execute '{0}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
    )]
    Subscribed(&'static str),
    #[error("NOAUTH Authentication required.")]
    Stranger,
    #[error("EXECABORT Transaction discarded because of: NOAUTH Authentication required.")]
    StrangerExec,
    #[error(transparent)]
    Subscriber(#[from] SubscriberError),
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    /// Any other text, beginning with its code.
    #[error("{0}")]
    Other(String),
}

/// Finds the command of a request, and whether the client may run it now. A request without a name
/// is none.
pub(crate) fn look_up<'a>(session: &Session, request: &'a [Bytes]) -> Result<Option<Call<'a>>, CommandError> {
    let Some((name, arguments)) = request.split_first() else { return Ok(None) };
    let (command, arguments) = find(name, arguments)?;
    let (least, most) = command.arguments;
    if arguments.len() < least || arguments.len() > most {
        return Err(CommandError::Arguments(command.name.to_owned()));
    }
    if !command.before_login && !session.is_authenticated() {
        let ends_transaction = matches!(command.handler, Handler::Exec(_));
        return Err(if ends_transaction { CommandError::StrangerExec } else { CommandError::Stranger });
    }
    if !command.while_subscribed && session.is_restricted() {
        return Err(CommandError::Subscribed(command.name));
    }
    Ok(Some(Call { command, arguments }))
}

/// Finds the command of a name, or of a name and the first argument, and returns the arguments
/// behind it.
fn find<'a>(
    name: &[u8],
    arguments: &'a [Bytes],
) -> Result<(&'static CommandEntry, &'a [Bytes]), CommandError> {
    let shown = shown(name).to_ascii_lowercase();
    let is_container = COMMANDS.iter().any(|command| sub(command, name).is_some());
    if is_container && let Some((subcommand, rest)) = arguments.split_first() {
        let found = COMMANDS.iter().find(|command| {
            sub(command, name).is_some_and(|known| subcommand.eq_ignore_ascii_case(known.as_bytes()))
        });
        let unknown =
            || CommandError::UnknownSubcommand { command: shown, subcommand: self::shown(subcommand) };
        return found.map(|command| (command, rest)).ok_or_else(unknown);
    }
    let found = COMMANDS.iter().find(|command| name.eq_ignore_ascii_case(command.name.as_bytes()));
    match found {
        Some(command) => Ok((command, arguments)),
        None if is_container => Err(CommandError::Arguments(shown)),
        None => Err(CommandError::UnknownCommand(self::shown(name))),
    }
}

/// The name of a subcommand, if the command is one of the container of this name.
fn sub(command: &'static CommandEntry, container: &[u8]) -> Option<&'static str> {
    let (name, subcommand) = command.name.split_once('|')?;
    container.eq_ignore_ascii_case(name.as_bytes()).then_some(subcommand)
}

/// Whether a command has this name, subcommands apart.
pub(crate) fn is_name(name: &[u8]) -> bool {
    COMMANDS.iter().any(|command| first_word(command).as_bytes().eq_ignore_ascii_case(name))
}

/// Whether a command's name begins like this.
pub(crate) fn begins_name(begin: &[u8]) -> bool {
    COMMANDS.iter().any(|command| {
        first_word(command).as_bytes().get(..begin.len()).is_some_and(|part| part.eq_ignore_ascii_case(begin))
    })
}

fn first_word(command: &CommandEntry) -> &'static str {
    command.name.split_once('|').map_or(command.name, |(container, _)| container)
}

/// A client's text in an error: at most 128 bytes of it, as in Redis.
fn shown(word: &[u8]) -> String {
    String::from_utf8_lossy(&word[..word.len().min(128)]).into_owned()
}

fn other(text: impl Into<String>) -> CommandError {
    CommandError::Other(text.into())
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
    fn unknown_command_gets_the_list_of_commands() {
        let Err(error) = find(b"GET", &[]) else { panic!("GET was found") };
        let text = error.to_string();
        assert!(text.starts_with("ERR unknown command 'GET'. "), "{text}");
        assert!(text.contains("SUBSCRIBE") && text.ends_with("set redis.url to a Redis server"), "{text}");
    }
}
