//! The session of one Redis client.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::timeout;

use super::transaction::Transaction;
use super::{CommandEntry, CommandStep, Handler, look_up, streams};
use crate::listener::budget::Charge;
use crate::listener::connection::ClientContext;
use crate::listener::login::admits;
use crate::listener::output_buffer::OutputBuffer;
use crate::log::log_writer::{LogWriterError, PATIENCE, Pending};
use crate::protocol::reply::{Protocol, Reply};
use crate::protocol::request::Request;
use crate::pubsub::subscriber::RedisSubscriber;

/// The commands on logs that a client may have pending. They share a write to the disk.
const WAITING_MAX: usize = 128;

/// The memory of these. A larger command is pending alone.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// The copies of a pending command's bytes: one in a log, or in a message.
const COPIES: usize = 2;

/// The memory of a pending command, and of each of its arguments, with its reply.
const OVERHEAD: usize = 128;

/// The long reads of logs at a time for all clients, and the short ones. Each holds the largest
/// reply at most, and takes time from publishers. Short reads do not wait for long ones.
pub(crate) const READS_MAX: [usize; 2] = [2, 4];

/// A client's side of the conversation. Its subscriptions end when this is dropped.
pub(crate) struct Session {
    pub(crate) context: ClientContext,
    is_authenticated: bool,
    pub(super) subscriber: RedisSubscriber,
    /// The commands that wait for `EXEC`; `None` outside of a transaction.
    pub(super) transaction: Option<Transaction>,
    /// Pending replies, in the order in which the client gets them.
    waiting: VecDeque<WaitingRead>,
    waiting_bytes: usize,
    is_over: bool,
}

/// A pending reply, and the memory of its command until then.
struct WaitingRead {
    pending: Pending<Reply>,
    bytes: usize,
    _charge: Charge,
}

impl Session {
    /// The session of a new client, and its output.
    pub(crate) fn new(context: ClientContext, output_buffer: Arc<OutputBuffer>) -> Self {
        Self {
            is_authenticated: context.password.is_empty(),
            subscriber: RedisSubscriber::new(Arc::clone(&context.pubsub), output_buffer),
            context,
            transaction: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            is_over: false,
        }
    }

    /// Runs one command. Its replies are queued, or will be by [`Self::settle_next`]. Returns
    /// whether the next command may follow: after `QUIT` the output is written, and no further one
    /// is run.
    pub(crate) async fn run(&mut self, request: &Request) -> bool {
        let done = match look_up(self, request) {
            Ok((command, arguments)) => self.call(command, arguments).await,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            if let Some(transaction) = &mut self.transaction {
                transaction.spoil();
            }
            self.reply(&error).await;
        }
        !self.is_over
    }

    async fn call(&mut self, command: &CommandEntry, arguments: &[Bytes]) -> Result<(), Reply> {
        let bytes: usize = arguments.iter().map(|part| OVERHEAD + COPIES * part.len()).sum();
        let bytes = OVERHEAD + bytes;
        // Before more is held: a client that has much under way waits for it and is not refused.
        while self.waiting.len() >= WAITING_MAX
            || self.is_waiting() && self.waiting_bytes + bytes > WAITING_BYTES_MAX
        {
            self.settle_next().await;
        }
        let charge = self.output_buffer().usage().try_hold(bytes)?;
        match command.handler {
            Handler::Log(prepare) | Handler::Live(_, prepare) if self.transaction.is_some() => {
                // Copies: the arguments are parts of a whole input buffer and would keep all of it
                // in memory.
                let copies = arguments.iter().map(|argument| Bytes::copy_from_slice(argument));
                let step = prepare(self, &copies.collect::<Vec<_>>())?;
                if let Some(transaction) = &mut self.transaction {
                    transaction.queue(step, bytes)?;
                }
                self.reply(&Reply::Status("QUEUED")).await;
            }
            Handler::Now(_) | Handler::Read(_) if self.transaction.is_some() => {
                let text = format!("ERR the embedded bus takes no '{}' inside a transaction", command.name);
                return Err(Reply::Error(text));
            }
            Handler::Now(run) | Handler::Urgent(run) | Handler::Live(run, _) => {
                // The reply follows those of the commands before it.
                self.settle_all().await;
                if let Some(reply) = run(self, arguments)? {
                    self.queue(&reply).await;
                }
            }
            Handler::Log(prepare) | Handler::Exec(prepare) => {
                let step = prepare(self, arguments)?;
                let pending = self.context.log_writer.submit(step).await;
                self.waiting_bytes += bytes;
                self.waiting.push_back(WaitingRead { pending, bytes, _charge: charge });
            }
            Handler::Read(prepare) => {
                let step = prepare(self, arguments)?;
                self.read(step, streams::is_short(arguments)).await;
            }
        }
        Ok(())
    }

    /// Has logs read, in turn with other clients, and waits for the reply. Until the reply counts
    /// as output, it counts as one of the few reads.
    async fn read(&mut self, step: CommandStep, is_short: bool) {
        self.settle_all().await;
        self.output_buffer().has_space().await;
        let reads = Arc::clone(&self.context.reads);
        let reply = match timeout(PATIENCE, reads[usize::from(is_short)].acquire()).await {
            // The semaphores are never closed.
            Ok(_permit) => {
                let reply = replied(self.context.log_writer.submit(step).await).await;
                return self.output_buffer().reply(&reply);
            }
            Err(_) => refusal(&LogWriterError::Busy),
        };
        self.queue(&reply).await;
    }

    /// Whether replies are pending.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Waits for the next pending reply, and queues it. Not cancellation safe: the reply is lost.
    pub(crate) async fn settle_next(&mut self) {
        let Some(waiting) = self.waiting.pop_front() else { return };
        self.waiting_bytes -= waiting.bytes;
        let reply = replied(waiting.pending).await;
        self.queue(&reply).await;
    }

    /// Waits for all pending replies, and queues them. Not cancellation safe: a reply is lost.
    pub(crate) async fn settle_all(&mut self) {
        while self.is_waiting() {
            self.settle_next().await;
        }
    }

    /// Queues a reply, behind all pending ones.
    pub(crate) async fn reply(&mut self, reply: &Reply) {
        self.settle_all().await;
        self.queue(reply).await;
    }

    async fn queue(&mut self, reply: &Reply) {
        self.output_buffer().has_space().await;
        self.output_buffer().reply(reply);
    }

    /// The output of the client.
    pub(crate) fn output_buffer(&self) -> &Arc<OutputBuffer> {
        self.subscriber.output_buffer()
    }

    /// Whether the client has given the password, or needs none.
    pub(crate) fn is_authenticated(&self) -> bool {
        self.is_authenticated
    }

    /// The client is authenticated if the name and the password are right.
    pub(super) fn log_in(&mut self, user: &[u8], password: &[u8]) -> Result<(), Reply> {
        if !admits(&self.context.password, user, password) {
            return Err(Reply::error("WRONGPASS invalid username-password pair or user is disabled."));
        }
        self.is_authenticated = true;
        Ok(())
    }

    /// Whether the client may run only a few commands, because RESP2 does not distinguish replies
    /// from messages.
    pub(super) fn is_restricted(&self) -> bool {
        self.subscriber.count() > 0 && self.protocol() == Protocol::Resp2
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.output_buffer().protocol()
    }

    pub(super) fn set_protocol(&self, protocol: Protocol) {
        self.output_buffer().set_protocol(protocol);
    }

    /// The client's number.
    pub(super) fn client_id(&self) -> i64 {
        i64::try_from(self.subscriber.id().0).unwrap_or(i64::MAX)
    }

    /// Ends the conversation after this command.
    pub(super) fn close(&mut self) {
        self.is_over = true;
    }
}

async fn replied(pending: Pending<Reply>) -> Reply {
    pending.reply().await.unwrap_or_else(|error| refusal(&error))
}

/// The error for a command that was not done, or not certainly; Redis uses `MISCONF` when it
/// cannot write.
fn refusal(error: &LogWriterError) -> Reply {
    let code = if matches!(error, LogWriterError::Disk(_)) { "MISCONF" } else { "ERR" };
    Reply::Error(format!("{code} {error}"))
}
