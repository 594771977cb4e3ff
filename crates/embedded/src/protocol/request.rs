//! Commands of clients, and the limits on them.
//!
//! Clients send one form: an array of bulk strings. The first byte that cannot belong to one ends
//! the connection. A page can make a browser connect here and send bytes of its choice, but only
//! behind an opening of TLS, HTTP or FTP. No such opening begins as a command does.
//!
//! The decoder is not a codec crate's. Those have no limits, recurse for each level of nested
//! arrays, and begin again whenever bytes are missing.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio_util::codec::Decoder;

use crate::listener::budget::{Charge, ClientUsage, OverBudget};
use crate::listener::login::{UNAUTHENTICATED_ARGUMENT_BYTES_MAX, UNAUTHENTICATED_ARGUMENTS_MAX};

/// The most arguments of a command, its name included. `SUBSCRIBE` of all channels after a
/// reconnect is the longest that clients send.
const ARGUMENTS_MAX: usize = 16_384;

/// The longest line with a count or a length, in bytes.
const LINE_BYTES_MAX: usize = 32;

/// The bytes of a command beyond the largest payload: its other arguments, and a payload that is
/// somewhat too large. Such a payload passes, so that the hub drops it like any other and reports
/// it.
const BESIDES_PAYLOAD_BYTES: usize = 1024 * 1024;

/// An idle client keeps an input buffer of at most this size.
const IDLE_BUFFER_BYTES: usize = 16 * 1024;

/// A command's name and arguments. The decoder returns no empty one.
pub type Request = Vec<Bytes>;

/// Takes commands out of a client's bytes.
#[derive(Debug)]
pub struct RequestDecoder {
    bytes_max: usize,
    /// Whether the client has yet to give the password.
    is_unauthenticated: bool,
    /// The measured bytes of the command at the start of the buffer.
    measured: usize,
    /// The arguments behind them.
    missing: usize,
    /// The charge for waiting input, if it is counted.
    charge: Option<Charge>,
}

/// Why a client's bytes are not read any further.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// They are no command.
    #[error("Protocol error: expected an array of bulk strings")]
    NoCommand,
    /// The command is beyond a limit.
    #[error("Protocol error: a command has at most {arguments} arguments and {bytes} bytes")]
    TooLarge {
        /// The most arguments.
        arguments: usize,
        /// The most bytes; before the password, of an argument.
        bytes: usize,
    },
    /// All clients together hold as much as they may.
    #[error("{0}")]
    OverBudget(String),
    /// The socket failed, or ended within a command.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<OverBudget> for RequestError {
    fn from(over: OverBudget) -> Self {
        Self::OverBudget(over.to_string())
    }
}

impl RequestDecoder {
    /// Takes commands with payloads up to a size, and a bit more.
    pub fn new(event_bytes: usize) -> Self {
        let bytes_max = event_bytes.saturating_add(BESIDES_PAYLOAD_BYTES);
        Self { bytes_max, is_unauthenticated: false, measured: 0, missing: 0, charge: None }
    }

    /// Counts input that waits as held by this client.
    pub(crate) fn counting(self, usage: &Arc<ClientUsage>) -> Self {
        Self { charge: Some(usage.hold(0, 0)), ..self }
    }

    /// From the next command on, takes only small ones, as from a client that has yet to give the
    /// password, or not.
    pub fn set_unauthenticated(&mut self, is_unauthenticated: bool) {
        self.is_unauthenticated = is_unauthenticated;
    }

    /// Continues to measure the command at the start of the buffer. Returns its length once it is
    /// complete. A claim is checked before its bytes are there.
    fn measure(&mut self, buffer: &[u8]) -> Result<Option<usize>, RequestError> {
        let (arguments, bytes) = if self.is_unauthenticated {
            (UNAUTHENTICATED_ARGUMENTS_MAX, UNAUTHENTICATED_ARGUMENT_BYTES_MAX)
        } else {
            (ARGUMENTS_MAX, self.bytes_max)
        };
        let too_large = RequestError::TooLarge { arguments, bytes };
        if self.measured == 0 {
            let Some((count, begin)) = number(buffer, b'*')? else { return Ok(None) };
            match count {
                0 => return Err(RequestError::NoCommand),
                _ if count > arguments => return Err(too_large),
                _ => (self.missing, self.measured) = (count, begin),
            }
        }
        while self.missing > 0 {
            let Some((length, begin)) = number(&buffer[self.measured..], b'$')? else { return Ok(None) };
            if length > bytes || self.measured + begin + length + 2 > self.bytes_max {
                return Err(too_large);
            }
            let end = self.measured + begin + length;
            match buffer.get(end..end + 2) {
                None => return Ok(None),
                Some(b"\r\n") => (self.missing, self.measured) = (self.missing - 1, end + 2),
                Some(_) => return Err(RequestError::NoCommand),
            }
        }
        Ok(Some(std::mem::take(&mut self.measured)))
    }
}

impl Decoder for RequestDecoder {
    type Item = Request;
    type Error = RequestError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Request>, RequestError> {
        if let Some(bytes) = self.measure(buffer)? {
            return arguments(&buffer.split_to(bytes).freeze()).map(Some);
        }
        if buffer.is_empty() && buffer.capacity() > IDLE_BUFFER_BYTES {
            *buffer = BytesMut::new();
        }
        if let Some(charge) = &mut self.charge {
            // The buffer of an idle client counts as nothing.
            let capacity = buffer.capacity();
            charge.resize(if capacity > IDLE_BUFFER_BYTES { capacity } else { 0 })?;
        }
        Ok(None)
    }
}

/// The arguments of a measured command. They share its bytes.
fn arguments(command: &Bytes) -> Result<Request, RequestError> {
    let mut arguments = Request::new();
    let mut at = number(command, b'*')?.map_or(command.len(), |(_, begin)| begin);
    while let Some((length, begin)) = number(&command[at..], b'$')? {
        arguments.push(command.slice(at + begin..at + begin + length));
        at += begin + length + 2;
    }
    Ok(arguments)
}

/// The number of a line that begins with a mark, and the place behind the line; `None` if the line
/// is not complete.
fn number(bytes: &[u8], mark: u8) -> Result<Option<(usize, usize)>, RequestError> {
    if bytes.first().is_some_and(|&first| first != mark) {
        return Err(RequestError::NoCommand);
    }
    let line = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = line.iter().position(|&byte| byte == b'\n') else {
        return if line.len() < LINE_BYTES_MAX { Ok(None) } else { Err(RequestError::NoCommand) };
    };
    let digits = line[1..end].strip_suffix(b"\r").and_then(|digits| std::str::from_utf8(digits).ok());
    let number = digits.and_then(|digits| digits.parse().ok()).ok_or(RequestError::NoCommand)?;
    Ok(Some((number, end + 1)))
}

#[cfg(test)]
mod tests;
