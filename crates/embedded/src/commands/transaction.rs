//! Transactions: commands that are kept back, and done together.

use bytes::Bytes;

use super::{Call, CommandError, CommandOutcome, CommandStep, Handler, ReplyLimit, other};
use crate::commands::session::Session;
use crate::listener::budget::Charge;
use crate::log::log_writer::Committed;
use crate::protocol::reply::Reply;

/// The most commands in a transaction.
const COMMANDS_MAX: usize = 4096;

/// The most bytes that the commands of a transaction take together.
const BYTES_MAX: usize = 8 << 20;

/// The memory of a command, and of each of its arguments, besides its bytes.
const OVERHEAD: usize = 64;

/// The usual size of a reply to a command that is no read.
const SHORT_REPLY: usize = 64;

/// The commands of a client between `MULTI` and `EXEC`.
#[derive(Debug)]
pub(crate) struct Transaction {
    queued: Vec<Queued>,
    /// The memory of the queued commands, in bytes.
    bytes: usize,
    charge: Charge,
    /// A command was refused, so that none of them will be run.
    is_spoilt: bool,
}

#[derive(Debug)]
struct Queued {
    handler: Handler,
    arguments: Vec<Bytes>,
}

impl Transaction {
    /// Keeps a command for `EXEC`.
    pub(crate) fn queue(&mut self, call: &Call<'_>) -> Result<(), CommandError> {
        let arguments: usize = call.arguments.iter().map(|argument| OVERHEAD + argument.len()).sum();
        let bytes = self.bytes + OVERHEAD + arguments;
        let error = if let Handler::Alone(_) = call.command.handler {
            other(format!("ERR the embedded bus takes no '{}' inside a transaction", call.command.name))
        } else if self.queued.len() >= COMMANDS_MAX || bytes > BYTES_MAX {
            other(format!(
                "ERR a transaction of the embedded bus has at most {COMMANDS_MAX} commands and {BYTES_MAX} bytes"
            ))
        } else if let Err(over) = self.charge.resize(bytes) {
            over.into()
        } else {
            self.bytes = bytes;
            // Copies: the arguments are parts of a whole input buffer and would keep all of it in
            // memory.
            let arguments = call.arguments.iter().map(|argument| Bytes::copy_from_slice(argument)).collect();
            self.queued.push(Queued { handler: call.command.handler, arguments });
            return Ok(());
        };
        self.spoil();
        Err(error)
    }

    /// Nothing of it will be run.
    pub(crate) fn spoil(&mut self) {
        self.is_spoilt = true;
        self.queued = Vec::new();
        self.bytes = 0;
        // Less is never refused.
        let _ = self.charge.resize(0);
    }

    /// Whether one of its commands reads logs.
    pub(crate) fn reads(&self) -> bool {
        self.queued.iter().any(|queued| matches!(queued.handler, Handler::Read(_)))
    }
}

/// `MULTI`
pub(super) fn multi(session: &mut Session, _arguments: &[Bytes]) -> CommandOutcome {
    if session.transaction().is_some() {
        return Err(other("ERR MULTI calls can not be nested"));
    }
    let charge = session.subscriber().output_buffer().usage().try_hold(0)?;
    *session.transaction() = Some(Transaction { queued: Vec::new(), bytes: 0, charge, is_spoilt: false });
    Ok(Some(Reply::OK))
}

/// `DISCARD`
pub(super) fn discard(session: &mut Session, _arguments: &[Bytes]) -> CommandOutcome {
    session.transaction().take().ok_or_else(|| other("ERR DISCARD without MULTI"))?;
    Ok(Some(Reply::OK))
}

/// `EXEC`: all commands are done next to each other, stored as one, and announced next to each
/// other.
pub(super) fn exec(session: &mut Session) -> Result<CommandStep, CommandError> {
    let transaction = session.transaction().take().ok_or_else(|| other("ERR EXEC without MULTI"))?;
    if transaction.is_spoilt {
        return Err(other("EXECABORT Transaction discarded because of previous errors."));
    }
    let Transaction { queued, charge, .. } = transaction;
    let most = session.subscriber().output_buffer().reply_bytes_max();
    let mut replied = ReplyLimit::new(most);
    replied.set_aside(SHORT_REPLY * queued.len());
    let free = replied.left();
    let steps: Vec<CommandStep> =
        queued.into_iter().map(|queued| step(session, &queued, &mut replied)).collect();
    // Earlier replies are held until all are sent.
    let taken = most - replied.left();
    let replied = session.subscriber().output_buffer().usage().try_hold(free - replied.left())?;
    Ok(Box::new(move |logs, limit| {
        let _held = (charge, replied);
        limit.set_aside(taken);
        let (mut replies, mut announcements) = (Vec::with_capacity(steps.len()), Vec::new());
        for step in steps {
            let done = step(logs, limit);
            replies.push(done.reply);
            announcements.extend(done.announcements);
        }
        Committed { reply: Reply::Array(replies), announcements }
    }))
}

/// One command as a part of the whole. What has nothing to do with the logs is done at once.
fn step(session: &mut Session, queued: &Queued, limit: &mut ReplyLimit) -> CommandStep {
    let step = match queued.handler {
        Handler::Log(handler) | Handler::Read(handler) | Handler::Live(_, handler) => {
            handler(session, &queued.arguments)
        }
        Handler::Now(handler) | Handler::Alone(handler) => {
            handler(session, &queued.arguments).map(|reply| replied(limit.take(reply.unwrap_or(Reply::Null))))
        }
        Handler::Exec(handler) => handler(session),
    };
    step.unwrap_or_else(|error| replied(Reply::Error(error.to_string())))
}

fn replied(reply: Reply) -> CommandStep {
    Box::new(|_, _| Committed::without_announcements(reply))
}
