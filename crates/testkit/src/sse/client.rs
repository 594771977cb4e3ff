//! One request for a stream, over a plain TCP connection.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use super::body::Framing;
use super::parser::{Event, Parser};
use super::record::{End, Record};
use crate::wait::DEADLINE;

/// How much of a body is kept as it came, in bytes.
const BODY_KEPT_BYTES: usize = 256 * 1024;
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// What a request says beside the workspace.
#[derive(Debug, Clone)]
pub struct Connect {
    /// Behind the question mark; empty: no query.
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub last_event_id: Option<String>,
    pub base_path: String,
    /// The kernel's buffer for what the client has not read yet, in bytes (`SO_RCVBUF`); the
    /// system's choice by default.
    pub receive_buffer: Option<u32>,
}

impl Default for Connect {
    fn default() -> Self {
        Self {
            query: String::new(),
            headers: Vec::new(),
            last_event_id: None,
            base_path: "/api".to_owned(),
            receive_buffer: None,
        }
    }
}

impl Connect {
    /// With a query, such as `"named=1"`.
    pub fn query(query: &str) -> Self {
        Self { query: query.to_owned(), ..Self::default() }
    }

    /// Resuming behind an event.
    pub fn after(id: &str) -> Self {
        Self { last_event_id: Some(id.to_owned()), ..Self::default() }
    }

    /// With a further header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The bytes of the request.
    fn request(&self, address: SocketAddr, workspace: &str) -> String {
        let mut target = format!("{}/workspaces/{workspace}/events", self.base_path);
        if !self.query.is_empty() {
            target = format!("{target}?{}", self.query);
        }
        let mut headers = vec![("Cache-Control".to_owned(), "no-store".to_owned())];
        let is_given = |name: &str| self.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
        if !is_given("host") {
            headers.push(("Host".to_owned(), address.to_string()));
        }
        if !is_given("accept") {
            headers.push(("Accept".to_owned(), "text/event-stream".to_owned()));
        }
        if let Some(id) = &self.last_event_id {
            headers.push(("Last-Event-ID".to_owned(), id.clone()));
        }
        headers.extend(self.headers.iter().cloned());
        let lines: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("GET {target} HTTP/1.1\r\n{}\r\n", lines.concat())
    }
}

/// A response whose body is read and parsed as it comes, in a task, until the value goes out of
/// scope.
#[derive(Debug)]
pub struct SseClient {
    status: StatusCode,
    headers: HeaderMap,
    record: Record,
    reader: JoinHandle<()>,
    stop_reading: tokio::sync::watch::Sender<bool>,
    local_address: SocketAddr,
}

impl SseClient {
    /// Makes a request and waits for the response's head. Fails the test when there is none.
    pub async fn connect(address: SocketAddr, workspace: &str, options: Connect) -> Self {
        Self::try_connect(address, workspace, &options, Record::default())
            .await
            .unwrap_or_else(|error| panic!("GET the events of {workspace} at {address}: {error}"))
    }

    /// Makes a request and waits for the response's head.
    ///
    /// # Errors
    ///
    /// There is none: refused, closed, or not in time.
    pub async fn try_open(address: SocketAddr, workspace: &str, options: &Connect) -> std::io::Result<Self> {
        Self::try_connect(address, workspace, options, Record::default()).await
    }

    pub(super) async fn try_connect(
        address: SocketAddr,
        workspace: &str,
        options: &Connect,
        record: Record,
    ) -> std::io::Result<Self> {
        let request = options.request(address, workspace);
        let open = async {
            let socket = TcpSocket::new_v4()?;
            if let Some(bytes) = options.receive_buffer {
                socket.set_recv_buffer_size(bytes)?;
            }
            let mut stream = socket.connect(address).await?;
            stream.write_all(request.as_bytes()).await?;
            let (status, headers, rest) = read_head(&mut stream).await?;
            Ok::<_, std::io::Error>((stream, status, headers, rest))
        };
        let (stream, status, headers, rest) = tokio::time::timeout(DEADLINE, open).await??;
        record.update(|seen| seen.opened += 1);
        let local_address = stream.local_addr()?;
        let (stop_reading, stopped) = tokio::sync::watch::channel(false);
        let reader = Reader { stream, framing: Framing::of(&headers), parser: Parser::default(), record };
        let record = reader.record.clone();
        let reader = tokio::spawn(reader.run(rest, stopped));
        Ok(Self { status, headers, record, reader, stop_reading, local_address })
    }

    /// The status of the response.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers of the response.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// A header's text, empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a header in ASCII"))
    }

    /// This end of the connection.
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// The next event, heartbeats apart. Fails the test when there is none within the time.
    pub async fn next_event(&mut self, within: Duration) -> Event {
        self.record.wait_for(within, "the next event", |event| event.kind != "tidings.heartbeat").await
    }

    /// The next event and when it arrived, or the end of the stream. Cancellation safe.
    pub async fn next(&mut self) -> Result<(Instant, Event), End> {
        self.record.next().await
    }

    /// The next event that fulfils the condition; those before it are skipped. Fails the test when
    /// there is none.
    pub async fn wait_for(&mut self, within: Duration, wanted: impl FnMut(&Event) -> bool) -> Event {
        self.record.wait_for(within, "a certain event", wanted).await
    }

    /// The broker's greeting: what is published from now on arrives.
    pub async fn connected(&mut self) -> Event {
        self.record.wait_for(DEADLINE, "the connected event", Event::is_connected).await
    }

    /// The next event of the application.
    pub async fn application_event(&mut self) -> Event {
        self.record.wait_for(DEADLINE, "an event of the application", Event::is_from_application).await
    }

    /// The next event of a kind, such as `tidings.reset`.
    pub async fn event_named(&mut self, kind: &str) -> Event {
        self.record.wait_for(DEADLINE, kind, |event| event.kind == kind).await
    }

    /// How the stream ended. Fails the test when it does not end within the time.
    pub async fn wait_end(&mut self, within: Duration) -> End {
        let end = self.record.wait(within, |seen| seen.end.clone()).await;
        self.record.check();
        match end {
            Some(end) => end,
            None => panic!("not within {within:?}: the end of the stream; {}", self.record.story()),
        }
    }

    /// How the stream ended, if it has.
    pub fn end(&self) -> Option<End> {
        self.record.look(|seen| seen.end.clone())
    }

    /// All events so far.
    pub fn events(&self) -> Vec<Event> {
        self.record.look(|seen| seen.events.iter().map(|(_, event)| event.clone()).collect())
    }

    /// All events so far, with the time at which they arrived.
    pub fn timed_events(&self) -> Vec<(Instant, Event)> {
        self.record.look(|seen| seen.events.clone())
    }

    /// The data of all events of the application so far.
    pub fn application_data(&self) -> Vec<String> {
        self.events().into_iter().filter(Event::is_from_application).map(|event| event.data).collect()
    }

    /// The reconnection times that the stream set, in milliseconds.
    pub fn retries(&self) -> Vec<u64> {
        self.record.look(|seen| seen.retries.clone())
    }

    /// What a browser would send when it reconnects now.
    pub fn last_event_id(&self) -> String {
        self.record.look(|seen| seen.last_event_id.clone())
    }

    /// The body as it came, up to 256 KiB.
    pub fn body(&self) -> Vec<u8> {
        self.record.look(|seen| seen.body.clone())
    }

    /// How many bytes of body were read.
    pub fn body_bytes(&self) -> u64 {
        self.record.look(|seen| seen.body_bytes)
    }

    /// Reads nothing more, and keeps the connection: a client that hangs.
    pub fn stop_reading(&self) {
        self.stop_reading.send_replace(true);
    }

    /// Goes on reading.
    pub fn resume_reading(&self) {
        self.stop_reading.send_replace(false);
    }
}

impl Drop for SseClient {
    fn drop(&mut self) {
        self.reader.abort();
        if !std::thread::panicking() {
            self.record.check();
        }
    }
}

/// Reads the body of a response.
struct Reader {
    stream: TcpStream,
    framing: Framing,
    parser: Parser,
    record: Record,
}

impl Reader {
    async fn run(mut self, head_rest: Vec<u8>, mut stopped: tokio::sync::watch::Receiver<bool>) {
        self.take(&head_rest);
        let mut buffer = vec![0; 16 * 1024];
        let end = loop {
            if self.framing.is_complete() {
                break self.end_meant();
            }
            if stopped.wait_for(|stopped| !stopped).await.is_err() {
                return;
            }
            let read = tokio::select! {
                read = self.stream.read(&mut buffer) => read,
                _ = stopped.wait_for(|stopped| *stopped) => continue,
            };
            match read {
                Ok(0) if self.framing.may_end_here() => break self.end_meant(),
                Ok(0) => break End::Aborted("the connection ended".to_owned()),
                Ok(count) => self.take(&buffer[..count]),
                Err(error) => break End::Aborted(error.to_string()),
            }
        };
        self.record.update(|seen| seen.end = Some(end));
    }

    fn end_meant(&self) -> End {
        if self.parser.is_within_event() { End::WithinEvent } else { End::Clean }
    }

    fn take(&mut self, bytes: &[u8]) {
        let body = self.framing.feed(bytes);
        let events = self.parser.feed(&body);
        let now = Instant::now();
        self.record.update(|seen| {
            seen.events.extend(events.into_iter().map(|event| (now, event)));
            seen.fault = self.parser.fault().map(str::to_owned);
            self.parser.retries().clone_into(&mut seen.retries);
            self.parser.last_event_id().clone_into(&mut seen.last_event_id);
            let kept = body.len().min(BODY_KEPT_BYTES.saturating_sub(seen.body.len()));
            seen.body.extend_from_slice(&body[..kept]);
            seen.body_bytes += body.len() as u64;
        });
    }
}

/// Reads the head of a response, and the bytes behind it.
pub(crate) async fn read_head(stream: &mut TcpStream) -> std::io::Result<(StatusCode, HeaderMap, Vec<u8>)> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        assert!(bytes.len() < HEAD_BYTES_MAX, "a head without end");
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "cut within the head"));
        }
    };
    let rest = bytes.split_off(head_end + 4);
    let head = std::str::from_utf8(&bytes[..head_end]).expect("a head in ASCII");
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.unwrap_or_else(|| panic!("a status line: {status_line:?}"));
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("a header: {line:?}"));
        let name: HeaderName = name.parse().expect("a header's name");
        (name, HeaderValue::from_str(value.trim()).expect("a header's value"))
    });
    Ok((status, headers.collect(), rest))
}
