//! A stream on its way into the engine.

use std::any::Any;
use std::fmt;
use std::net::TcpStream;
use std::time::Instant;

use crate::delivery::account::Account;
use crate::delivery::{Recipient, Terms};
use crate::event::control::ReconnectReason;
use crate::hub::Subscriber;
use crate::limits::AddressPlace;

/// A stream that was granted, and waits for the socket it is to be written to. It counts as open; dropped, it ends.
pub struct Granted {
    pub(super) account: Account,
    pub(super) place: Option<AddressPlace>,
    pub(super) subscriber: Subscriber,
    pub(super) until: Option<(Instant, ReconnectReason)>,
}

impl Granted {
    /// The stream of a subscriber that has just joined.
    #[must_use]
    pub fn new(subscriber: Subscriber, terms: Terms, recipient: &Recipient) -> Self {
        let account = Account::new(subscriber.workspace().clone(), terms.lease, recipient);
        Self { account, place: terms.place, subscriber, until: terms.until }
    }

    /// The stream ends before it has begun.
    pub fn cut(&mut self, why: &'static str) {
        self.account.cut(why);
    }
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granted").field("account", &self.account).finish_non_exhaustive()
    }
}

/// A stream with its socket.
pub struct Handed {
    /// The stream.
    pub granted: Granted,
    /// The socket, which does not block. Nothing of the answer was sent.
    pub socket: TcpStream,
    /// The head of the answer, which announces a chunked body.
    pub head: Vec<u8>,
    /// What is to be kept for as long as the socket is open.
    pub kept: Box<dyn Any + Send>,
}

impl fmt::Debug for Handed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handed").field("granted", &self.granted).finish_non_exhaustive()
    }
}
