//! One Redis client's socket.

use std::future::pending;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::select;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::codec::FramedRead;
use tokio_util::sync::CancellationToken;

use crate::commands::session::Session;
use crate::listener::budget::ClientBudget;
use crate::listener::login::{LOGIN_TIME, UNAUTHENTICATED_OUTPUT_BYTES};
use crate::listener::output_buffer::OutputBuffer;
use crate::listener::unauthenticated::{Unauthenticated, UnauthenticatedPlace};
use crate::log::log_writer::LogWriter;
use crate::protocol::reply::Reply;
use crate::protocol::request::{Request, RequestDecoder, RequestError};
use crate::pubsub::PubSub;
use crate::shared_sets::SharedSets;
use tidings_settings::SecretText;

/// The time after which a client that takes no byte of its output is disconnected.
const WRITE_STALL_MAX: Duration = Duration::from_secs(30);

/// A client that has begun a command and sends no further byte is disconnected after this time, at
/// the latest after twice the time. Between commands a client may wait without limit.
const READ_STALL_MAX: Duration = LOGIN_TIME;

/// The parts of the bus that clients use, and the rules for each of them.
#[derive(Debug, Clone)]
pub(crate) struct ClientContext {
    pub(crate) pubsub: Arc<PubSub>,
    pub(crate) log_writer: LogWriter,
    pub(crate) shared_sets: Arc<SharedSets>,
    /// The most clients at a time.
    pub(crate) clients_max: usize,
    /// The password of clients; empty for none.
    pub(crate) password: Arc<SecretText>,
    /// The largest payload of an event, in bytes.
    pub(crate) event_bytes: usize,
    /// The most bytes that may wait for the client.
    pub(crate) output_bytes: usize,
    /// The memory of all clients.
    pub(crate) budget: Arc<ClientBudget>,
    /// The long and the short reads of logs that may be under way for all clients.
    pub(crate) reads: Arc<[Semaphore; 2]>,
    /// The connections that have yet to give the password.
    pub(crate) unauthenticated: Arc<Unauthenticated>,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionEnd {
    #[error("the client left")]
    Left,
    #[error("the bus stops")]
    Stopped,
    #[error("{0}")]
    Refused(RequestError),
    #[error("the client fell behind by more than embedded.output_bytes")]
    Overrun,
    #[error("all clients took embedded.clients_bytes together, and this one the most")]
    Evicted,
    #[error("the client took no bytes for {} seconds", WRITE_STALL_MAX.as_secs())]
    Stalled,
    #[error("the client sent nothing more of a command for {} seconds", READ_STALL_MAX.as_secs())]
    Unfinished,
    #[error("the client did not give the password within {} seconds", LOGIN_TIME.as_secs())]
    Stranger,
    #[error("newer connections without the password took its place")]
    Displaced,
    #[error("the socket failed: {0}")]
    Socket(io::Error),
}

/// Serves a client until it leaves, is disconnected, or the bus stops. Its subscriptions end with
/// this future.
pub(crate) async fn serve(
    mut stream: TcpStream,
    context: ClientContext,
    mut place: Option<UnauthenticatedPlace>,
    stop: CancellationToken,
) -> ConnectionEnd {
    let output_buffer = OutputBuffer::within(&context.budget, context.output_bytes);
    let session = Session::new(context, Arc::clone(&output_buffer));
    let (input, output) = stream.split();
    let mut writing = pin!(write_replies(output, &output_buffer));
    let ended = select! {
        ended = run_commands(input, session, &mut place) => ended,
        ended = &mut writing => return ended,
        () = output_buffer.overrun() => return overrun_end(&output_buffer),
        () = stop.cancelled() => return ConnectionEnd::Stopped,
    };
    // The client's last replies still go out, above all the one that says why it is refused.
    output_buffer.finish();
    select! {
        end = timeout(WRITE_STALL_MAX, writing) => match end.unwrap_or(ConnectionEnd::Stalled) {
            ConnectionEnd::Left => ended,
            end => end,
        },
        () = lost(place.as_ref()) => ConnectionEnd::Displaced,
        () = output_buffer.overrun() => overrun_end(&output_buffer),
        () = stop.cancelled() => ConnectionEnd::Stopped,
    }
}

fn overrun_end(output_buffer: &OutputBuffer) -> ConnectionEnd {
    if output_buffer.is_evicted() { ConnectionEnd::Evicted } else { ConnectionEnd::Overrun }
}

/// Runs the commands of the client. Before the password it takes few of them, for a short time;
/// until then the client keeps its place among those without the password.
async fn run_commands(
    input: ReadHalf<'_>,
    mut session: Session,
    place: &mut Option<UnauthenticatedPlace>,
) -> ConnectionEnd {
    let decoder = RequestDecoder::new(session.context.event_bytes);
    let mut requests = FramedRead::new(input, decoder.counting(session.output_buffer().usage()));
    if place.is_some() {
        requests.decoder_mut().set_unauthenticated(true);
        session.output_buffer().set_bytes_max(UNAUTHENTICATED_OUTPUT_BYTES);
        let ended = select! {
            ended = timeout(LOGIN_TIME, converse(&mut requests, &mut session)) => {
                ended.unwrap_or(Some(ConnectionEnd::Stranger))
            }
            () = lost(place.as_ref()) => Some(ConnectionEnd::Displaced),
        };
        if let Some(ended) = ended {
            return ended;
        }
        requests.decoder_mut().set_unauthenticated(false);
        session.output_buffer().set_bytes_max(session.context.output_bytes);
        *place = None;
    }
    let ended = converse(&mut requests, &mut session).await;
    session.settle_all().await;
    ended.unwrap_or(ConnectionEnd::Left)
}

/// Waits until an unauthenticated connection loses its place; others never do.
async fn lost(place: Option<&UnauthenticatedPlace>) {
    match place {
        Some(place) => place.lost().await,
        None => pending().await,
    }
}

/// Runs one command after the other. A command that has arrived does not wait until the one before
/// it is on the disk. Returns `None` when the client has authenticated itself.
async fn converse(
    requests: &mut FramedRead<ReadHalf<'_>, RequestDecoder>,
    session: &mut Session,
) -> Option<ConnectionEnd> {
    let was_authenticated = session.is_authenticated();
    while session.is_authenticated() == was_authenticated {
        let request = if session.is_waiting() {
            match requests.next().now_or_never() {
                Some(request) => request,
                None => {
                    session.settle_next().await;
                    continue;
                }
            }
        } else {
            match next(requests).await {
                Some(request) => request,
                None => return Some(ConnectionEnd::Unfinished),
            }
        };
        match request {
            Some(Ok(request)) => {
                if !session.run(&request).await {
                    return Some(ConnectionEnd::Left);
                }
                session.output_buffer().has_space().await;
            }
            Some(Err(RequestError::Io(error))) => return Some(ConnectionEnd::Socket(error)),
            Some(Err(error)) => {
                session.reply(&Reply::Error(format!("ERR {error}"))).await;
                return Some(ConnectionEnd::Refused(error));
            }
            None => return Some(ConnectionEnd::Left),
        }
    }
    None
}

/// The next command; `None` if the client has begun one and does not go on. Cancellation safe.
async fn next(
    requests: &mut FramedRead<ReadHalf<'_>, RequestDecoder>,
) -> Option<Option<Result<Request, RequestError>>> {
    loop {
        let begun = requests.read_buffer().len();
        match timeout(READ_STALL_MAX, requests.next()).await {
            Ok(request) => return Some(request),
            // The bytes of a command only grow until it is whole.
            Err(_) if begun > 0 && requests.read_buffer().len() == begun => return None,
            Err(_) => {}
        }
    }
}

/// Writes the output until it ends.
async fn write_replies(mut output: WriteHalf<'_>, output_buffer: &OutputBuffer) -> ConnectionEnd {
    while let Some(mut chunk) = output_buffer.next().await {
        while !chunk.bytes.is_empty() {
            match timeout(WRITE_STALL_MAX, output.write_buf(&mut chunk.bytes)).await {
                Ok(Ok(0)) => return ConnectionEnd::Socket(io::ErrorKind::WriteZero.into()),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return ConnectionEnd::Socket(error),
                Err(_) => return ConnectionEnd::Stalled,
            }
        }
    }
    ConnectionEnd::Left
}

#[cfg(test)]
mod tests;
