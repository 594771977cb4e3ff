//! The session of one Redis client.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::commands::{self, Call, CommandStep, Handler, ReplyLimit, Transaction, streams};
use crate::listener::budget::Charge;
use crate::listener::login::Password;
use crate::listener::output_buffer::OutputBuffer;
use crate::log::log_writer::{Committed, LogWriter, LogWriterError, PATIENCE, Pending};
use crate::protocol::reply::{Protocol, Reply};
use crate::protocol::request::Request;
use crate::pubsub::PubSub;
use crate::pubsub::subscriber::RedisSubscriber;

/// The commands on logs that a client may have pending. They share a write to the disk.
const WAITING_MAX: usize = 128;

/// The memory of these. A larger command is pending alone.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// The copies of a pending command's bytes: one in a log, or in a message.
const COPIES: usize = 2;

/// The memory of each argument of a pending command, with its reply.
const ARGUMENT_OVERHEAD: usize = 128;

/// The long reads of logs at a time for all clients, and the short ones.
const READS_MAX: [usize; 2] = [2, 4];

/// The reads of logs of all clients at a time. Each holds the largest reply at most, and takes
/// time from publishers. Short reads do not wait for long ones.
#[derive(Debug)]
pub(crate) struct LogReadSlots {
    long: Semaphore,
    short: Semaphore,
}

impl Default for LogReadSlots {
    fn default() -> Self {
        let [long, short] = READS_MAX.map(Semaphore::new);
        Self { long, short }
    }
}

/// A client's side of the conversation. Its subscriptions end when this is dropped.
#[derive(Debug)]
pub(crate) struct Session {
    pubsub: Arc<PubSub>,
    log_writer: LogWriter,
    password: Arc<Password>,
    is_authenticated: bool,
    subscriber: RedisSubscriber,
    name: Bytes,
    transaction: Option<Transaction>,
    /// Pending replies, in the order in which the client gets them.
    waiting: VecDeque<WaitingRead>,
    waiting_bytes: usize,
    reads: Arc<LogReadSlots>,
    end: Option<ReadTurn>,
    /// An error was queued since an inline command began.
    has_failed: bool,
}

/// A pending reply, and the memory of its command until then.
#[derive(Debug)]
struct WaitingRead {
    pending: Pending<Reply>,
    bytes: usize,
    _charge: Charge,
}

/// Whether the conversation goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadTurn {
    /// The next command may follow.
    Next,
    /// The client leaves: no further command is run, and the output is written.
    Over,
    /// The client speaks HTTP: the same.
    Http,
    /// An inline command led to an error: the same.
    Failed,
}

impl Session {
    /// The session of a new client, and its output.
    pub(crate) fn new(
        pubsub: Arc<PubSub>,
        log_writer: LogWriter,
        password: Arc<Password>,
        output_buffer: Arc<OutputBuffer>,
        reads: Arc<LogReadSlots>,
    ) -> Self {
        let subscriber = RedisSubscriber::new(Arc::clone(&pubsub), output_buffer);
        Self {
            pubsub,
            log_writer,
            is_authenticated: !password.is_needed(),
            password,
            subscriber,
            name: Bytes::new(),
            transaction: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            reads,
            end: None,
            has_failed: false,
        }
    }

    /// Runs a command without framing. After an error no further one is run: a page that makes a
    /// browser connect here may have written it.
    pub(crate) async fn run_inline(&mut self, request: &Request) -> ReadTurn {
        self.settle_all().await;
        self.has_failed = false;
        let turn = self.run(request).await;
        self.settle_all().await;
        if turn == ReadTurn::Next && self.has_failed { ReadTurn::Failed } else { turn }
    }

    /// Runs one command. Its replies are queued, or will be by [`Self::settle_next`].
    pub(crate) async fn run(&mut self, request: &Request) -> ReadTurn {
        match commands::look_up(self, request) {
            Ok(Some(call)) => self.call(&call).await,
            Ok(None) => {}
            Err(error) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.spoil();
                }
                self.refuse(error.to_string()).await;
            }
        }
        self.end.unwrap_or(ReadTurn::Next)
    }

    async fn call(&mut self, call: &Call<'_>) {
        let bytes: usize = call.arguments.iter().map(|part| ARGUMENT_OVERHEAD + COPIES * part.len()).sum();
        // Before more is held: a client that has much under way waits for it and is not refused.
        while self.waiting.len() >= WAITING_MAX
            || self.is_waiting() && self.waiting_bytes + bytes > WAITING_BYTES_MAX
        {
            self.settle_next().await;
        }
        let charge = match self.subscriber.output_buffer().usage().try_hold(ARGUMENT_OVERHEAD + bytes) {
            Ok(charge) => charge,
            Err(over) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.spoil();
                }
                return self.refuse(over.to_string()).await;
            }
        };

        if let Some(transaction) = &mut self.transaction
            && call.waits_in_transaction()
        {
            match transaction.queue(call) {
                Ok(()) => self.reply(&Reply::Status("QUEUED")).await,
                Err(error) => self.refuse(error.to_string()).await,
            }
            return;
        }
        let (outcome, reads) = match call.command.handler {
            Handler::Log(handler) => (handler(self, call.arguments), false),
            Handler::Read(handler) => (handler(self, call.arguments), true),
            Handler::Exec(handler) => {
                let reads = self.transaction.as_ref().is_some_and(Transaction::reads);
                (handler(self), reads)
            }
            Handler::Now(handler) | Handler::Alone(handler) | Handler::Live(handler, _) => {
                // The reply follows those of the commands before it.
                self.settle_all().await;
                match handler(self, call.arguments) {
                    Ok(Some(reply)) => self.reply(&reply).await,
                    Ok(None) => {}
                    Err(error) => self.refuse(error.to_string()).await,
                }
                return;
            }
        };
        match outcome {
            Ok(step) if reads => {
                let is_short = !matches!(call.command.handler, Handler::Exec(_));
                self.read(step, is_short && streams::is_short(call.arguments)).await;
            }
            Ok(step) => {
                let pending = self.submit(step).await;
                self.waiting_bytes += bytes;
                self.waiting.push_back(WaitingRead { pending, bytes, _charge: charge });
            }
            Err(error) => self.refuse(error.to_string()).await,
        }
    }

    async fn submit(&self, step: CommandStep) -> Pending<Reply> {
        let most = self.subscriber.output_buffer().reply_bytes_max();
        self.log_writer
            .submit(move |logs| -> Committed<Reply> { step(logs, &mut ReplyLimit::new(most)) })
            .await
    }

    /// Has logs read, in turn with other clients, and waits for the reply. Until the reply counts
    /// as output, it counts as one of the few reads.
    async fn read(&mut self, step: CommandStep, is_short: bool) {
        self.settle_all().await;
        self.subscriber.output_buffer().has_space().await;
        let reads = Arc::clone(&self.reads);
        let reads = if is_short { &reads.short } else { &reads.long };
        // The semaphores are never closed.
        let reply = match timeout(PATIENCE, reads.acquire()).await {
            Ok(_permit) => {
                let reply = self.submit(step).await.reply().await.unwrap_or_else(|error| refusal(&error));
                return self.queue(&reply).await;
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
        let reply = waiting.pending.reply().await.unwrap_or_else(|error| refusal(&error));
        self.queue(&reply).await;
    }

    /// Waits for all pending replies, and queues them. Not cancellation safe: a reply is lost.
    pub(crate) async fn settle_all(&mut self) {
        while self.is_waiting() {
            self.settle_next().await;
        }
    }

    /// Queues an error, behind all pending replies.
    pub(crate) async fn refuse(&mut self, text: String) {
        self.reply(&Reply::Error(text)).await;
    }

    async fn reply(&mut self, reply: &Reply) {
        self.settle_all().await;
        self.queue(reply).await;
    }

    async fn queue(&mut self, reply: &Reply) {
        self.has_failed |= matches!(reply, Reply::Error(_));
        self.subscriber.output_buffer().has_space().await;
        self.subscriber.output_buffer().reply(reply);
    }

    pub(crate) fn pubsub(&self) -> &Arc<PubSub> {
        &self.pubsub
    }

    pub(crate) fn subscriber(&mut self) -> &mut RedisSubscriber {
        &mut self.subscriber
    }

    /// The commands that wait for `EXEC`; `None` outside of a transaction.
    pub(crate) fn transaction(&mut self) -> &mut Option<Transaction> {
        &mut self.transaction
    }

    /// The password of clients.
    pub(crate) fn password(&self) -> &Password {
        &self.password
    }

    /// Whether the client has given the password, or needs none.
    pub(crate) fn is_authenticated(&self) -> bool {
        self.is_authenticated
    }

    /// The client has given the password.
    pub(crate) fn set_authenticated(&mut self) {
        self.is_authenticated = true;
    }

    /// The client has to send the password again, if there is one.
    pub(crate) fn forget_login(&mut self) {
        self.is_authenticated = !self.password.is_needed();
    }

    /// Whether the client may run only a few commands, because RESP2 does not distinguish replies
    /// from messages.
    pub(crate) fn is_restricted(&self) -> bool {
        self.subscriber.count() > 0 && self.protocol() == Protocol::Resp2
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.subscriber.output_buffer().protocol()
    }

    pub(crate) fn set_protocol(&self, protocol: Protocol) {
        self.subscriber.output_buffer().set_protocol(protocol);
    }

    /// The name that the client gave itself; empty for none.
    pub(crate) fn name(&self) -> Bytes {
        self.name.clone()
    }

    pub(crate) fn set_name(&mut self, name: Bytes) {
        self.name = name;
    }

    /// Ends the conversation after this command.
    pub(crate) fn close(&mut self) {
        self.end = Some(ReadTurn::Over);
    }

    /// Ends the conversation: the client speaks HTTP.
    pub(crate) fn hang_up(&mut self) {
        self.end = Some(ReadTurn::Http);
    }
}

/// The error for a command that was not done, or not certainly; Redis uses `MISCONF` when it
/// cannot write.
fn refusal(error: &LogWriterError) -> Reply {
    Reply::Error(match error {
        LogWriterError::Disk(_) => format!("MISCONF {error}"),
        LogWriterError::Stopped | LogWriterError::Late | LogWriterError::Busy => format!("ERR {error}"),
    })
}
