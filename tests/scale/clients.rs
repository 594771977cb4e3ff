//! Many clients on one thread.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use super::client::{Leave, ScaleClient, Sight};
use super::patience::Patience;

/// The number of sockets that report readiness at a time.
const EVENTS: usize = 1024;

/// How many bytes are read at a time.
const BUFFER_BYTES: usize = 256 * 1024;

/// How a crowd comes.
#[derive(Debug, Clone)]
pub(crate) struct Coming {
    pub clients: usize,
    /// What they say behind the path.
    pub query: String,
    /// The number at a time that have not come.
    pub at_a_time: usize,
    /// Whether a client has come with the head of its response, since its stream is held.
    pub held: bool,
}

impl Coming {
    /// So few at a time that none disturbs the others.
    pub(crate) fn in_order(clients: usize) -> Self {
        Self { clients, query: String::new(), at_a_time: 400, held: false }
    }

    /// All together; no more than the listen queue holds, as there the kernel drops them.
    pub(crate) fn at_once(clients: usize) -> Self {
        Self { at_a_time: 3_000, ..Self::in_order(clients) }
    }
}

/// Something that a client saw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// The client, by its number.
    pub client: usize,
    pub what: Sight,
    pub at: Instant,
}

/// Clients, whose sockets are read when the test lets them be read.
#[derive(Debug)]
pub(crate) struct ScaleClients {
    address: SocketAddr,
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    members: Vec<Option<ScaleClient>>,
    /// How many got the head of a response.
    accepted: usize,
}

impl ScaleClients {
    /// No clients yet.
    pub(crate) fn of(address: SocketAddr) -> Self {
        Self {
            address,
            poll: Poll::new().expect("a poll"),
            events: Events::with_capacity(EVENTS),
            buffer: vec![0; BUFFER_BYTES],
            members: Vec::new(),
            accepted: 0,
        }
    }

    /// A crowd of connected clients.
    pub(crate) fn gathered(address: SocketAddr, workspace: &str, clients: usize) -> Self {
        let mut crowd = Self::of(address);
        crowd.come(workspace, Coming::in_order(clients), |seen| assert_eq!(seen.what, Sight::Connected));
        crowd
    }

    /// How many are connected.
    pub(crate) fn len(&self) -> usize {
        self.members.iter().flatten().count()
    }

    /// Connects clients, and returns when the last is ready.
    pub(crate) fn come(&mut self, workspace: &str, coming: Coming, mut see: impl FnMut(Seen)) {
        let Coming { clients, query, at_a_time, held } = coming;
        let request = format!(
            "GET /api/workspaces/{workspace}/events{query} HTTP/1.1\r\nHost: localhost\r\n\
             Accept: text/event-stream\r\n\r\n"
        );
        let (mut begun, mut greeted, before) = (0, 0, self.accepted);
        let patience = Patience::waiting_for("everybody has come");
        loop {
            let done = if held { self.accepted - before } else { greeted };
            if done == clients {
                return;
            }
            while begun < clients && begun - done < at_a_time {
                self.begin(&request);
                begun += 1;
            }
            self.turn(&patience, |seen| {
                greeted += usize::from(seen.what == Sight::Connected);
                see(seen);
            });
        }
    }

    fn begin(&mut self, request: &str) {
        let number = self.members.len();
        let mut member = ScaleClient::connect(self.address, request.to_owned());
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(member.socket(), Token(number), interest).expect("wait for a socket");
        self.members.push(Some(member));
    }

    /// Waits for a moment for something to come, and takes it. Fails the test when the patience is
    /// over.
    pub(crate) fn turn(&mut self, patience: &Patience, mut see: impl FnMut(Seen)) {
        patience.check();
        match self.poll.poll(&mut self.events, Some(Duration::from_millis(20))) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return,
            outcome => outcome.expect("wait for sockets"),
        }
        for event in &self.events {
            let client = event.token().0;
            let Some(member) = self.members[client].as_mut() else { continue };
            if event.is_writable() {
                member.ask();
            }
            if !event.is_readable() {
                continue;
            }
            let at = Instant::now();
            let mut closed = false;
            member.read(&mut self.buffer, |what| {
                closed |= matches!(what, Sight::Closed { .. });
                match what {
                    Sight::Head => self.accepted += 1,
                    what => see(Seen { client, what, at }),
                }
            });
            if closed {
                self.members[client] = None;
            }
        }
    }

    /// Has a client close its connection.
    pub(crate) fn leave(&mut self, client: usize, how: Leave) {
        self.members[client].take().expect("a client that is there").leave(how);
    }
}
