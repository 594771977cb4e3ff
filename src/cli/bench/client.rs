//! One client: it keeps a stream of its workspace open, as an EventSource does, and keeps account
//! of what it gets.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use serde_json::Value;
use socket2::SockRef;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::OwnedSemaphorePermit;

use super::args::Return;
use super::client_pool::{PoolTally, Worker};
use tidings_bench::answer::{BenchResponse, Malformed, Piece};
use tidings_bench::host;
use tidings_bench::latency::nanoseconds;
use tidings_bench::ledger::{Ledger, Receipt};
use tidings_bench::sse::{Parser, SseEvent};

/// Bound on connecting, with its time in the listen queue, and then on the time to the `connected`
/// event.
const CONNECTED_TIMEOUT: Duration = Duration::from_secs(20);

/// The wait before another attempt where no stream has said how long to wait.
const RETRY: Duration = Duration::from_millis(500);

/// The longest wait that a stream may ask for.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// The receive buffer of a client that does not read, in bytes: small, so that it is soon behind.
const SLOW_BUFFER: u32 = 4096;

/// How a stream came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StreamEnd {
    /// With a reconnect event, which has the reason.
    Reconnect(String),
    /// Properly, and without a reconnect event.
    Clean,
    /// In the middle.
    Aborted,
    /// By our own hand, in a storm.
    Dropped,
    /// There was no stream: no connection, no response in time, or another response.
    Failed(String),
}

/// What is left of a client at the end.
#[derive(Debug)]
pub(super) struct ClientDone {
    /// The number of its workspace.
    pub(super) workspace: usize,
    /// What it got.
    pub(super) ledger: Ledger,
    /// Of a client that does not read: how its stream ended, and nothing where it did not.
    pub(super) slow: Option<Option<StreamEnd>>,
}

/// A client.
pub(super) struct BenchClient {
    number: usize,
    workspace: usize,
    slow: bool,
    ledger: Ledger,
    last_event_id: String,
    retry: Duration,
    /// Its place among the clients that open their first stream at the same time. The client
    /// returns it with the first `connected` event.
    permit: Option<OwnedSemaphorePermit>,
    greeted: bool,
    /// The current stream has had its `connected` event.
    open: bool,
    dropped: bool,
    back: bool,
}

impl BenchClient {
    pub(super) fn new(number: usize, worker: &Worker) -> Self {
        let plan = &worker.scene.plan;
        Self {
            number,
            workspace: plan.workspace_of(number),
            slow: plan.is_slow(number),
            ledger: Ledger::default(),
            last_event_id: String::new(),
            retry: RETRY,
            permit: None,
            greeted: false,
            open: false,
            dropped: false,
            back: false,
        }
    }

    /// Opens streams, one after the other, until the run is over.
    pub(super) async fn run(mut self, worker: &Worker) -> ClientDone {
        let stop = worker.scene.stop.clone();
        let mut last = None;
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.streams(worker, &mut last) => {}
        }
        let slow = self.slow.then_some(last);
        ClientDone { workspace: self.workspace, ledger: self.ledger, slow }
    }

    async fn streams(&mut self, worker: &Worker, last: &mut Option<StreamEnd>) {
        self.permit = worker.entrance.clone().acquire_owned().await.ok();
        loop {
            let end = self.stream(worker).await;
            self.account(worker, &end);
            if self.slow && self.greeted {
                *last = Some(end);
                worker.tally.lock().slow_ended += 1;
                return;
            }
            let at_once = worker.scene.plan.storm == Some(Return::AtOnce) && end == StreamEnd::Dropped;
            if !at_once {
                tokio::time::sleep(self.retry).await;
            }
        }
    }

    /// Counts the end of a stream.
    fn account(&mut self, worker: &Worker, end: &StreamEnd) {
        let mut tally = worker.tally.lock();
        if std::mem::take(&mut self.open) && !self.slow {
            tally.open -= 1;
        }
        match end {
            StreamEnd::Reconnect(reason) => tally.end(reason),
            StreamEnd::Clean => tally.end("ended"),
            StreamEnd::Aborted => tally.end("aborted"),
            StreamEnd::Dropped => {}
            StreamEnd::Failed(why) => tally.fail(why),
        }
    }

    /// One stream, from connecting to its end.
    async fn stream(&mut self, worker: &Worker) -> StreamEnd {
        let opened = tokio::time::timeout(CONNECTED_TIMEOUT, self.open(worker)).await;
        let mut stream = match opened {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return StreamEnd::Failed(error.kind().to_string()),
            Err(_) => return StreamEnd::Failed("no connection in time".to_owned()),
        };
        let mut reader = StreamReader {
            answer: BenchResponse::default(),
            parser: Parser::after(std::mem::take(&mut self.last_event_id)),
            reason: None,
        };
        let end = tokio::select! {
            biased;
            () = worker.scene.drop_all.cancelled(), if !self.dropped && !self.slow => {
                self.dropped = true;
                StreamEnd::Dropped
            }
            end = self.follow(worker, &mut stream, &mut reader) => end,
        };
        self.last_event_id = reader.parser.last_event_id().to_owned();
        end
    }

    async fn open(&self, worker: &Worker) -> io::Result<TcpStream> {
        let target = worker.scene.target;
        let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Closed sockets release their ports at once: otherwise reconnecting clients find too few.
        SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
        if self.slow {
            socket.set_recv_buffer_size(SLOW_BUFFER)?;
        }
        if let Some(source) = host::source_of(self.number, target) {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        let mut stream = socket.connect(target).await?;
        stream.write_all(&worker.scene.request(self.workspace, &self.last_event_id)).await?;
        Ok(stream)
    }

    /// Reads a stream to its end.
    async fn follow(
        &mut self,
        worker: &Worker,
        stream: &mut TcpStream,
        reader: &mut StreamReader,
    ) -> StreamEnd {
        match tokio::time::timeout(CONNECTED_TIMEOUT, self.read(worker, stream, reader, true)).await {
            Ok(None) => {}
            Ok(Some(end)) => return end,
            Err(_) => return StreamEnd::Failed("no connected event in time".to_owned()),
        }
        if self.slow {
            worker.scene.read_on.cancelled().await;
        }
        self.read(worker, stream, reader, false).await.unwrap_or(StreamEnd::Aborted)
    }

    /// Reads to the end, or to the `connected` event.
    async fn read(
        &mut self,
        worker: &Worker,
        stream: &mut TcpStream,
        reader: &mut StreamReader,
        to_connected: bool,
    ) -> Option<StreamEnd> {
        loop {
            // The client holds the thread's buffer only while it reads, and returns it before the
            // turn of another client.
            let end = poll_fn(|context| {
                let mut buffer = worker.buffer.borrow_mut();
                let mut read = ReadBuf::new(&mut buffer);
                let outcome = ready!(Pin::new(&mut *stream).poll_read(context, &mut read));
                Poll::Ready(match outcome {
                    Ok(()) if read.filled().is_empty() => Some(reader.end_of_file()),
                    Ok(()) => {
                        let now_ns = nanoseconds(worker.scene.clock.elapsed());
                        self.take(worker, reader, read.filled(), now_ns)
                    }
                    Err(_) => Some(reader.reason.take().map_or(StreamEnd::Aborted, StreamEnd::Reconnect)),
                })
            });
            let end = end.await;
            if end.is_some() || (to_connected && self.open) {
                return end;
            }
        }
    }

    /// Takes bytes of the response. Returns the end of the stream if it is among them.
    fn take(
        &mut self,
        worker: &Worker,
        reader: &mut StreamReader,
        bytes: &[u8],
        now_ns: u64,
    ) -> Option<StreamEnd> {
        let mut tally = worker.tally.lock();
        let before = tally.received;
        let end = self.take_pieces(worker, &mut tally, reader, bytes, now_ns);
        let arrived = tally.received - before;
        drop(tally);
        worker.scene.arrivals.add(arrived);
        end
    }

    fn take_pieces(
        &mut self,
        worker: &Worker,
        tally: &mut PoolTally,
        reader: &mut StreamReader,
        bytes: &[u8],
        now_ns: u64,
    ) -> Option<StreamEnd> {
        let StreamReader { answer, parser, reason } = reader;
        let mut bytes = bytes;
        loop {
            match answer.next(&mut bytes) {
                Ok(None) => return None,
                Ok(Some(Piece::Head(200))) if worker.scene.plan.no_connected => self.connected(worker, tally),
                Ok(Some(Piece::Head(200))) => {}
                Ok(Some(Piece::Head(status))) => {
                    let end = format!("status {status}");
                    if (400..500).contains(&status) && status != 429 {
                        tally.refused.get_or_insert(status);
                    }
                    return Some(StreamEnd::Failed(end));
                }
                Ok(Some(Piece::Body(body))) => {
                    parser.feed(body, |event| self.event(worker, tally, reason, &event, now_ns));
                }
                Ok(Some(Piece::End)) => {
                    return Some(reason.take().map_or(StreamEnd::Clean, StreamEnd::Reconnect));
                }
                Err(Malformed) => return Some(StreamEnd::Failed("not well-formed HTTP/1.1".to_owned())),
            }
        }
    }

    fn event(
        &mut self,
        worker: &Worker,
        tally: &mut PoolTally,
        reason: &mut Option<String>,
        event: &SseEvent<'_>,
        now_ns: u64,
    ) {
        match event {
            SseEvent::Retry(ms) => self.retry = Duration::from_millis(*ms).min(RETRY_MAX),
            SseEvent::Message { name: "tidings.reset", .. } => self.ledger.reset(),
            SseEvent::Message { name: "tidings.reconnect", data } => {
                let data: Value = serde_json::from_slice(data).unwrap_or_default();
                *reason = Some(data["reason"].as_str().unwrap_or("unknown").to_owned());
            }
            SseEvent::Message { name: "", data } => match worker.scene.tagger.read(data) {
                Some(tag) if usize::try_from(tag.workspace) == Ok(self.workspace) => {
                    if self.ledger.receive(tag.sequence) != Receipt::Again && !self.slow {
                        tally.received += 1;
                        tally.latencies.record(tag.due_ns, now_ns);
                    }
                }
                None if is_connected(data) => self.connected(worker, tally),
                _ => tally.misdelivered += 1,
            },
            // Heartbeats, and what later versions of the broker may say.
            SseEvent::Message { .. } => {}
        }
    }

    fn connected(&mut self, worker: &Worker, tally: &mut PoolTally) {
        if self.open {
            return;
        }
        self.open = true;
        self.permit = None;
        if !std::mem::replace(&mut self.greeted, true) {
            tally.greeted += 1;
            tally.greeted_at = worker.scene.clock.elapsed();
        }
        if !self.slow {
            tally.open += 1;
        }
        if self.dropped && !std::mem::replace(&mut self.back, true) {
            let dropped_at = *worker.scene.dropped_at.lock();
            tally.reconnected += 1;
            tally.back.record(worker.scene.clock.elapsed().saturating_sub(dropped_at));
        }
    }
}

/// The state of reading one response.
struct StreamReader {
    answer: BenchResponse,
    parser: Parser,
    /// Why the stream is about to end, when the broker has said it.
    reason: Option<String>,
}

impl StreamReader {
    /// What an end of file means here.
    fn end_of_file(&mut self) -> StreamEnd {
        match self.reason.take() {
            Some(reason) => StreamEnd::Reconnect(reason),
            None if self.answer.is_complete() => StreamEnd::Clean,
            None => StreamEnd::Aborted,
        }
    }
}

/// Whether a plain message is the `connected` event.
fn is_connected(data: &[u8]) -> bool {
    data.starts_with(br#"{"type":"connected","workspaceId":"#)
}
