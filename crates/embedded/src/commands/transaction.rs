//! Transactions: commands that are kept back, and done together.

use bytes::{Bytes, BytesMut};

use super::{CommandOutcome, CommandStep};
use crate::commands::session::Session;
use crate::listener::budget::Charge;
use crate::listener::output_buffer::too_large;
use crate::log::log_writer::Committed;
use crate::protocol::reply::Reply;

/// The most commands in a transaction.
const COMMANDS_MAX: usize = 4096;

/// The most memory that the commands of a transaction take together, in bytes.
const BYTES_MAX: usize = 16 << 20;

/// The commands of a client between `MULTI` and `EXEC`.
pub(super) struct Transaction {
    steps: Vec<CommandStep>,
    /// The memory of the commands, in bytes.
    bytes: usize,
    charge: Charge,
    /// A command was refused, so that none of them will be run.
    is_spoilt: bool,
}

impl Transaction {
    /// Keeps a command for `EXEC`, which takes so many bytes.
    pub(super) fn queue(&mut self, step: CommandStep, bytes: usize) -> Result<(), Reply> {
        let bytes = self.bytes + bytes;
        if self.steps.len() >= COMMANDS_MAX || bytes > BYTES_MAX {
            return Err(Reply::error(format!(
                "ERR a transaction of the embedded bus has at most {COMMANDS_MAX} commands and {BYTES_MAX} bytes"
            )));
        }
        self.charge.resize(bytes)?;
        self.bytes = bytes;
        self.steps.push(step);
        Ok(())
    }

    /// Nothing of it will be run.
    pub(super) fn spoil(&mut self) {
        (self.is_spoilt, self.steps, self.bytes) = (true, Vec::new(), 0);
        // Less is never refused.
        let _ = self.charge.resize(0);
    }
}

/// `MULTI`
pub(super) fn multi(session: &mut Session, _arguments: &[Bytes]) -> CommandOutcome {
    if session.transaction.is_some() {
        return Err(Reply::error("ERR MULTI calls can not be nested"));
    }
    let charge = session.output_buffer().usage().try_hold(0)?;
    session.transaction = Some(Transaction { steps: Vec::new(), bytes: 0, charge, is_spoilt: false });
    Ok(Some(Reply::OK))
}

/// `DISCARD`
pub(super) fn discard(session: &mut Session, _arguments: &[Bytes]) -> CommandOutcome {
    session.transaction.take().ok_or_else(|| Reply::error("ERR DISCARD without MULTI"))?;
    Ok(Some(Reply::OK))
}

/// `EXEC`: all commands are done next to each other, stored as one, and announced next to each
/// other.
pub(super) fn exec(session: &mut Session, _arguments: &[Bytes]) -> Result<CommandStep, Reply> {
    let Some(Transaction { steps, charge, is_spoilt, .. }) = session.transaction.take() else {
        return Err(Reply::error("ERR EXEC without MULTI"));
    };
    if is_spoilt {
        return Err(Reply::error("EXECABORT Transaction discarded because of previous errors."));
    }
    let (protocol, most) = (session.protocol(), session.output_buffer().reply_bytes_max());
    Ok(Box::new(move |logs| {
        let _held = charge;
        let (mut encoded, mut announcements) = (BytesMut::new(), Vec::new());
        Reply::write_array_head(steps.len(), &mut encoded);
        for step in steps {
            let done = step(logs);
            announcements.extend(done.announcements);
            // The replies to one publication and its repetitions may be long.
            if encoded.len() <= most {
                done.reply.write(protocol, &mut encoded);
            }
        }
        let reply = if encoded.len() > most { too_large(most) } else { Reply::Encoded(encoded.freeze()) };
        Committed { reply, announcements }
    }))
}
