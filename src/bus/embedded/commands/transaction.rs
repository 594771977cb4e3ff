//! Transactions: commands that are kept back, and done together.

use bytes::Bytes;

use super::{Call, CommandError, Handler, Outcome, Step, other};
use crate::bus::embedded::keeper::Done;
use crate::bus::embedded::reply::Reply;
use crate::bus::embedded::session::Session;

/// The most commands in a transaction.
const COMMANDS_MAX: usize = 4096;

/// The most bytes that the arguments of a transaction's commands take together.
const BYTES_MAX: usize = 8 << 20;

/// The commands of a client between `MULTI` and `EXEC`.
#[derive(Debug, Default)]
pub(in crate::bus::embedded) struct Transaction {
    queued: Vec<Queued>,
    bytes: usize,
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
    pub(in crate::bus::embedded) fn queue(&mut self, call: &Call<'_>) -> Result<(), CommandError> {
        let bytes: usize = call.arguments.iter().map(Bytes::len).sum();
        let error = if let Handler::Alone(_) = call.command.handler {
            other(format!("ERR the embedded bus takes no '{}' inside a transaction", call.command.name))
        } else if self.queued.len() >= COMMANDS_MAX || self.bytes + bytes > BYTES_MAX {
            other(format!(
                "ERR a transaction of the embedded bus has at most {COMMANDS_MAX} commands and {BYTES_MAX} bytes"
            ))
        } else {
            self.bytes += bytes;
            // Copies: what came in is a part of a whole input buffer, and would keep all of it.
            let arguments = call.arguments.iter().map(|argument| Bytes::copy_from_slice(argument)).collect();
            self.queued.push(Queued { handler: call.command.handler, arguments });
            return Ok(());
        };
        self.spoil();
        Err(error)
    }

    /// Nothing of it will be run.
    pub(in crate::bus::embedded) fn spoil(&mut self) {
        self.is_spoilt = true;
        self.queued = Vec::new();
    }
}

/// `MULTI`
pub(super) fn multi(session: &mut Session, _arguments: &[Bytes]) -> Outcome {
    if session.transaction().is_some() {
        return Err(other("ERR MULTI calls can not be nested"));
    }
    *session.transaction() = Some(Transaction::default());
    Ok(Some(Reply::OK))
}

/// `DISCARD`
pub(super) fn discard(session: &mut Session, _arguments: &[Bytes]) -> Outcome {
    session.transaction().take().ok_or_else(|| other("ERR DISCARD without MULTI"))?;
    Ok(Some(Reply::OK))
}

/// `EXEC`: all commands are done next to each other, stored as one, and announced next to each other.
pub(super) fn exec(session: &mut Session) -> Result<Step, CommandError> {
    let transaction = session.transaction().take().ok_or_else(|| other("ERR EXEC without MULTI"))?;
    if transaction.is_spoilt {
        return Err(other("EXECABORT Transaction discarded because of previous errors."));
    }
    let steps: Vec<Step> = transaction.queued.into_iter().map(|queued| step(session, &queued)).collect();
    Ok(Box::new(|logs| {
        let (mut replies, mut announcements) = (Vec::with_capacity(steps.len()), Vec::new());
        for step in steps {
            let done = step(logs);
            replies.push(done.answer);
            announcements.extend(done.announcements);
        }
        Done { answer: Reply::Array(replies), announcements }
    }))
}

/// One command as a part of the whole. What has nothing to do with the logs is done at once.
fn step(session: &mut Session, queued: &Queued) -> Step {
    let step = match queued.handler {
        Handler::Log(handler) | Handler::Live(_, handler) => handler(session, &queued.arguments),
        Handler::Now(handler) | Handler::Alone(handler) => {
            handler(session, &queued.arguments).map(|reply| said(reply.unwrap_or(Reply::Null)))
        }
        Handler::Exec(handler) => handler(session),
    };
    step.unwrap_or_else(|error| said(Reply::Error(error.to_string())))
}

fn said(reply: Reply) -> Step {
    Box::new(|_| Done::quietly(reply))
}
