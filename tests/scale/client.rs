//! One client of a crowd: its socket, and its bytes, parsed as far as these tests need it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mio::net::TcpStream;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

/// Clients that share an address of 127.0.0.0/8. An address has about 28,000 ports, without those
/// of connections that ended just now. A free one is found slowly when most are taken.
const CLIENTS_OF_ADDRESS: usize = 4_000;

/// How many clients there were.
static CLIENTS: AtomicUsize = AtomicUsize::new(0);

/// How a client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leave {
    /// As a program that ends does (FIN).
    Politely,
    /// As one that crashes may (RST).
    Abruptly,
}

/// What a client sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    /// The head of a response with status 200.
    Head,
    /// The `connected` event of its stream.
    Connected,
    /// An event of the backend, by its number.
    Event(u64),
    Heartbeat,
    /// A reset: it may have missed events.
    Reset,
    /// A reconnect.
    Reconnect,
    /// The connection has ended; `whole` if the response was complete.
    Closed {
        whole: bool,
    },
}

/// A client.
#[derive(Debug)]
pub(crate) struct ScaleClient {
    socket: TcpStream,
    /// What is still to be asked.
    request: Option<String>,
    /// The begin of a line whose end has not come.
    rest: Vec<u8>,
    /// What the event that is coming will be.
    coming: Option<Sight>,
    /// Whether the last chunk has come.
    last_chunk: bool,
}

impl ScaleClient {
    /// Begins to connect, to send a request when that is done.
    pub(crate) fn connect(address: SocketAddr, request: String) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let number = CLIENTS.fetch_add(1, Ordering::Relaxed);
        let host = u8::try_from(2 + number / CLIENTS_OF_ADDRESS).expect("fewer than a million clients");
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0)).into()).expect("bind");
        socket.set_nonblocking(true).expect("set an option");
        // It goes on in the background.
        let _ = socket.connect(&SockAddr::from(address));
        Self {
            socket: TcpStream::from_std(socket.into()),
            request: Some(request),
            rest: Vec::new(),
            coming: None,
            last_chunk: false,
        }
    }

    pub(crate) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Sends the request, if that was not done yet. The socket takes bytes.
    pub(crate) fn ask(&mut self) {
        let Some(request) = self.request.take() else { return };
        // A request is far smaller than the buffer of a new socket.
        match self.socket.write(request.as_bytes()) {
            Ok(count) => assert_eq!(count, request.len(), "the request was cut"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.request = Some(request),
            Err(error) => panic!("cannot connect: {error}"),
        }
    }

    /// Takes all that has come.
    pub(crate) fn read(&mut self, buffer: &mut [u8], mut see: impl FnMut(Sight)) {
        loop {
            match self.socket.read(buffer) {
                Ok(0) => return see(Sight::Closed { whole: self.last_chunk && self.coming.is_none() }),
                Ok(count) => {
                    let text = std::str::from_utf8(&buffer[..count]).expect("text");
                    self.take(text, &mut see);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return see(Sight::Closed { whole: false }),
            }
        }
    }

    fn take(&mut self, mut text: &str, see: &mut impl FnMut(Sight)) {
        while let Some(end) = text.find('\n') {
            let line = &text[..end];
            text = &text[end + 1..];
            if self.rest.is_empty() {
                self.line(line, see);
            } else {
                let mut whole = std::mem::take(&mut self.rest);
                whole.extend_from_slice(line.as_bytes());
                self.line(std::str::from_utf8(&whole).expect("text"), see);
            }
        }
        self.rest.extend_from_slice(text.as_bytes());
    }

    /// A line of an event ends with LF, one of HTTP with CRLF.
    fn line(&mut self, line: &str, see: &mut impl FnMut(Sight)) {
        assert!(!self.last_chunk || line == "\r", "more behind the end of the answer: {line:?}");
        if line.is_empty() {
            see(self.coming.take().expect("a block without data"));
        } else if let Some(name) = line.strip_prefix("event: ") {
            self.coming = Some(match name {
                "tidings.heartbeat" => Sight::Heartbeat,
                "tidings.reset" => Sight::Reset,
                "tidings.reconnect" => Sight::Reconnect,
                _ => panic!("an unknown event: {name}"),
            });
        } else if let Some(data) = line.strip_prefix("data: ") {
            if self.coming.is_none() {
                let number = data.strip_prefix(r#"{"number":"#).and_then(|rest| rest.split(',').next());
                self.coming = Some(match number {
                    Some(number) => Sight::Event(number.parse().expect("a number")),
                    None => Sight::Connected,
                });
            }
        } else if line == "0\r" {
            self.last_chunk = true;
        } else if line.starts_with("HTTP/1.1 ") {
            assert!(line.starts_with("HTTP/1.1 200"), "{line}");
            see(Sight::Head);
        }
    }

    /// Closes the connection.
    pub(crate) fn leave(self, how: Leave) {
        if how == Leave::Abruptly {
            SockRef::from(&self.socket).set_linger(Some(Duration::ZERO)).expect("set an option");
        }
    }
}
