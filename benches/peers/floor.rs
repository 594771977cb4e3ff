//! The least that a server of event streams can do: one `send` for each client and event, and
//! nothing else.
//!
//! ```text
//! floor ADDRESS REDIS_ADDRESS
//! ```
//!
//! `scripts/compare` measures other servers against it. A server that sends each event to each
//! client needs more than this one, on the same machine at the same time. It has one thread and one
//! poller. It frames each message of a `workspace:*` channel once and sends it to every connected
//! client.
//!
//! A server does more. This one does not read requests: any bytes of a client get a stream. It has
//! no workspaces, so every client gets every event. It keeps no events for clients that reconnect.
//! It has no heartbeats, so it notices a closed client with the next event. It closes a client with
//! a full socket buffer, whose place a server would keep.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;
use slab::Slab;

const LISTENER: Token = Token(usize::MAX);
const REDIS: Token = Token(usize::MAX - 1);

/// The head of every response, with the `connected` event in its first chunk.
const GREETING: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Content-Type: text/event-stream\r\n\
    Cache-Control: no-cache\r\n\
    Transfer-Encoding: chunked\r\n\
    \r\n\
    38\r\ndata: {\"type\":\"connected\",\"workspaceId\":\"everybody's\"}\n\n\r\n";

const SUBSCRIBE: &[u8] = b"*2\r\n$10\r\nPSUBSCRIBE\r\n$11\r\nworkspace:*\r\n";

struct Floor {
    poll: Poll,
    listener: TcpListener,
    redis: TcpStream,
    /// Unfinished bytes of Redis.
    unread: Vec<u8>,
    /// Those that have not asked for anything yet.
    waiting: Slab<TcpStream>,
    clients: Vec<TcpStream>,
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(redis)) = (arguments.next(), arguments.next()) else {
        return Err(io::Error::other("usage: floor ADDRESS REDIS_ADDRESS"));
    };
    let wrong = |_| io::Error::other("an address is an IP address and a port, such as 127.0.0.1:8080");
    Floor::start(address.parse().map_err(wrong)?, redis.parse().map_err(wrong)?)?.run()
}

impl Floor {
    fn start(address: SocketAddr, redis: SocketAddr) -> io::Result<Self> {
        let mut redis = std::net::TcpStream::connect(redis)?;
        redis.write_all(SUBSCRIBE)?;
        redis.set_nonblocking(true)?;
        let (mut redis, mut listener) = (TcpStream::from_std(redis), TcpListener::bind(address)?);
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        poll.registry().register(&mut redis, REDIS, Interest::READABLE)?;
        println!("listening on {}", listener.local_addr()?);
        Ok(Self { poll, listener, redis, unread: Vec::new(), waiting: Slab::new(), clients: Vec::new() })
    }

    /// Serves until it is ended, or Redis goes away.
    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            if let Err(error) = self.poll.poll(&mut events, None)
                && error.kind() != ErrorKind::Interrupted
            {
                return Err(error);
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    REDIS => self.pass_on()?,
                    Token(number) => self.greet(number)?,
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        while let Some((mut client, _)) = ready(self.listener.accept())? {
            client.set_nodelay(true)?;
            let place = self.waiting.vacant_entry();
            self.poll.registry().register(&mut client, Token(place.key()), Interest::READABLE)?;
            place.insert(client);
        }
        Ok(())
    }

    /// A client has asked for something, or has gone.
    fn greet(&mut self, number: usize) -> io::Result<()> {
        let Some(mut client) = self.waiting.try_remove(number) else { return Ok(()) };
        self.poll.registry().deregister(&mut client)?;
        let asked = client.read(&mut [0; 4096]).is_ok_and(|length| length > 0);
        if asked && sent(&mut client, GREETING) {
            self.clients.push(client);
        }
        Ok(())
    }

    /// Sends the messages of Redis to every client.
    fn pass_on(&mut self) -> io::Result<()> {
        let mut buffer = [0; 64 * 1024];
        while let Some(length) = ready(self.redis.read(&mut buffer))? {
            if length == 0 {
                return Err(io::Error::other("Redis has gone"));
            }
            self.unread.extend_from_slice(&buffer[..length]);
            let mut taken = 0;
            while let Some((frame, length)) = decode(&self.unread[taken..]).map_err(io::Error::other)? {
                taken += length;
                if let Some(chunk) = chunk(&frame) {
                    self.clients.retain_mut(|client| sent(client, &chunk));
                }
            }
            self.unread.drain(..taken);
        }
        Ok(())
    }
}

/// An event as it goes out, of `["pmessage", pattern, channel, payload]`; `None` for what else
/// Redis says.
fn chunk(frame: &OwnedFrame) -> Option<Vec<u8>> {
    let OwnedFrame::Array(parts) = frame else { return None };
    let [_, _, _, OwnedFrame::BulkString(payload)] = parts.as_slice() else { return None };
    let mut chunk = format!("{:x}\r\ndata: ", payload.len() + 8).into_bytes();
    chunk.extend_from_slice(payload);
    chunk.extend_from_slice(b"\n\n\r\n");
    Some(chunk)
}

/// Sends bytes at once; false where not all of them could be, which is the end of the client.
fn sent(client: &mut TcpStream, bytes: &[u8]) -> bool {
    client.write(bytes).is_ok_and(|length| length == bytes.len())
}

/// What there is; `None` where there is nothing now.
fn ready<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        outcome => outcome.map(Some),
    }
}
