//! What is remembered of one Redis client while it is connected.

use std::sync::Arc;

use bytes::Bytes;

use super::commands;
use super::exchange::Exchange;
use super::outbox::Outbox;
use super::reply::{Protocol, Reply};
use super::request::Request;
use super::subscriber::Subscriber;

/// A client's side of the conversation. Its subscriptions end when this is dropped.
#[derive(Debug)]
pub(super) struct Session {
    exchange: Arc<Exchange>,
    subscriber: Subscriber,
    name: Bytes,
    closing: bool,
}

/// Whether the conversation goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The next command may come.
    Next,
    /// No further command is run; what waits is written.
    Over,
}

impl Session {
    /// A client that has just connected, and what is written to it.
    pub(super) fn new(exchange: Arc<Exchange>, outbox: Arc<Outbox>) -> Self {
        let subscriber = Subscriber::new(Arc::clone(&exchange), outbox);
        Self { exchange, subscriber, name: Bytes::new(), closing: false }
    }

    /// Runs one command and queues its replies.
    pub(super) fn run(&mut self, request: &Request) -> Turn {
        match commands::run(self, request) {
            Ok(Some(reply)) => self.subscriber.outbox().reply(&reply),
            Ok(None) => {}
            Err(error) => self.refuse(error.to_string()),
        }
        if self.closing { Turn::Over } else { Turn::Next }
    }

    /// Queues an error.
    pub(super) fn refuse(&self, text: String) {
        self.subscriber.outbox().reply(&Reply::Error(text));
    }

    pub(super) fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    pub(super) fn subscriber(&mut self) -> &mut Subscriber {
        &mut self.subscriber
    }

    /// Whether the client may run only a few commands, because in RESP2 it could not tell replies from messages.
    pub(super) fn is_restricted(&self) -> bool {
        self.subscriber.count() > 0 && self.protocol() == Protocol::Resp2
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.subscriber.outbox().protocol()
    }

    pub(super) fn set_protocol(&self, protocol: Protocol) {
        self.subscriber.outbox().set_protocol(protocol);
    }

    /// The name that the client gave itself; empty for none.
    pub(super) fn name(&self) -> Bytes {
        self.name.clone()
    }

    pub(super) fn set_name(&mut self, name: Bytes) {
        self.name = name;
    }

    /// Ends the conversation after this command.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }
}
