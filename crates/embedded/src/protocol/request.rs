//! Commands of clients, and the limits on them.
//!
//! The codec crate decodes. It has no limits, recurses for each level of nested arrays, and begins
//! again whenever bytes are missing. So this module first measures the input. The codec gets a
//! whole command within all limits, once, in the only form that clients send: an array of bulk
//! strings.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use redis_protocol::resp2::decode::decode_bytes_mut;
use redis_protocol::resp2::types::BytesFrame;
use tokio_util::codec::Decoder;

use crate::commands;
use crate::listener::budget::{Charge, ClientUsage};
use crate::listener::login::{UNAUTHENTICATED_ARGUMENT_BYTES_MAX, UNAUTHENTICATED_ARGUMENTS_MAX};

/// The most arguments of a command, its name included. `SUBSCRIBE` of all channels after a
/// reconnect is the longest that clients send.
const ARGUMENTS_MAX: usize = 16_384;

/// The longest line without line end, as in Redis (`PROTO_INLINE_MAX_SIZE`).
const LINE_BYTES_MAX: usize = 64 * 1024;

/// A line without framing has its first word within so many bytes.
const LINE_BEGIN_BYTES: usize = 64;

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
    measured: Measured,
    /// The part of a line without framing that was searched for its end.
    searched: usize,
    /// Whether the last command had no framing.
    is_inline: bool,
    /// The charge for waiting input, if it is counted.
    charge: Option<Charge>,
}

/// The part of the command at the start of the buffer that was measured.
#[derive(Debug, Default)]
struct Measured {
    /// So many bytes are measured.
    bytes: usize,
    /// The part behind them that was searched for the end of a line.
    searched: usize,
    /// The number of missing arguments; `None` before it is known.
    arguments: Option<usize>,
}

/// Why a client's bytes are not read any further.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// They are no command, or beyond a limit. The text is that of Redis.
    #[error("Protocol error: {0}")]
    Protocol(String),
    /// All clients together hold as much as they may.
    #[error("{0}")]
    OverBudget(String),
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl RequestDecoder {
    /// Takes commands with payloads up to a size, and a bit more.
    pub fn new(event_bytes: usize) -> Self {
        let bytes_max = event_bytes.saturating_add(BESIDES_PAYLOAD_BYTES);
        Self {
            bytes_max,
            is_unauthenticated: false,
            measured: Measured::default(),
            searched: 0,
            is_inline: false,
            charge: None,
        }
    }

    /// Counts input that waits as held by this client.
    pub(crate) fn counting(self, usage: &Arc<ClientUsage>) -> Self {
        Self { charge: Some(usage.hold(0, 0)), ..self }
    }

    /// Counts the waiting input: the buffer of an idle client counts as nothing.
    fn count(&mut self, buffer: &BytesMut) -> Result<(), RequestError> {
        let Some(charge) = &mut self.charge else { return Ok(()) };
        let bytes = if buffer.capacity() > IDLE_BUFFER_BYTES { buffer.capacity() } else { 0 };
        charge.resize(bytes).map_err(|over| RequestError::OverBudget(over.to_string()))
    }

    /// From the next command on, takes only small ones, as from a client that has yet to give the
    /// password, or not.
    pub fn set_unauthenticated(&mut self, is_unauthenticated: bool) {
        self.is_unauthenticated = is_unauthenticated;
    }

    /// Whether the last decoded command had no framing.
    pub fn is_inline(&self) -> bool {
        self.is_inline
    }

    fn array(&mut self, buffer: &mut BytesMut) -> Result<Option<Request>, RequestError> {
        let Some(bytes) = self.measured.advance(buffer, self.bytes_max, self.is_unauthenticated)? else {
            return Ok(None);
        };
        let mut command = buffer.split_to(bytes);
        if std::mem::take(&mut self.measured).arguments.is_none() {
            return Ok(Some(Request::new()));
        }
        match decode_bytes_mut(&mut command) {
            Ok(Some((BytesFrame::Array(arguments), _, _))) => {
                arguments.into_iter().map(argument).collect::<Result<_, _>>().map(Some)
            }
            Ok(_) | Err(_) => Err(protocol("invalid command")),
        }
    }
}

impl Decoder for RequestDecoder {
    type Item = Request;
    type Error = RequestError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Request>, RequestError> {
        loop {
            let is_inline = buffer.first().is_some_and(|&byte| byte != b'*');
            let request = match buffer.first() {
                None => None,
                Some(b'*') => self.array(buffer)?,
                Some(_) => inline(buffer, &mut self.searched)?,
            };
            // A complete request has left the buffer: the bytes before it show its form.
            self.is_inline = is_inline;
            match request {
                Some(request) if request.is_empty() => {}
                Some(request) => return Ok(Some(request)),
                None => {
                    if buffer.is_empty() && buffer.capacity() > IDLE_BUFFER_BYTES {
                        *buffer = BytesMut::new();
                    }
                    self.count(buffer)?;
                    return Ok(None);
                }
            }
        }
    }

    /// A command that was broken off by the end of the connection is no error, and not run.
    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<Request>, RequestError> {
        let request = self.decode(buffer)?;
        if request.is_none() {
            buffer.clear();
        }
        Ok(request)
    }
}

impl Measured {
    /// Continues to measure. Returns the length of the command once it is complete.
    fn advance(
        &mut self,
        buffer: &[u8],
        bytes_max: usize,
        is_unauthenticated: bool,
    ) -> Result<Option<usize>, RequestError> {
        let mut missing = match self.arguments {
            Some(missing) => missing,
            None => {
                let Some(line) = line(buffer, &mut self.searched, "mbulk count string")? else {
                    return Ok(None);
                };
                let count = number(&line[1..]).filter(|&count| count <= ARGUMENTS_MAX as i64);
                let count = count.ok_or_else(|| protocol("invalid multibulk length"))?;
                if is_unauthenticated && count > UNAUTHENTICATED_ARGUMENTS_MAX as i64 {
                    return Err(protocol("unauthenticated multibulk length"));
                }
                self.bytes = line.len() + 2;
                // A count below zero is an empty command, as in Redis.
                usize::try_from(count).unwrap_or(0)
            }
        };
        while missing > 0 {
            self.arguments = Some(missing);
            let rest = &buffer[self.bytes..];
            let Some(line) = line(rest, &mut self.searched, "bulk count string")? else { return Ok(None) };
            if line.first() != Some(&b'$') {
                let got = line.first().map_or("\\r".to_owned(), |byte| byte.escape_ascii().to_string());
                return Err(protocol(format!("expected '$', got '{got}'")));
            }
            let length = number(&line[1..]).and_then(|length| usize::try_from(length).ok());
            let length = length.filter(|&length| length <= bytes_max);
            let length = length.ok_or_else(|| protocol("invalid bulk length"))?;
            if is_unauthenticated && length > UNAUTHENTICATED_ARGUMENT_BYTES_MAX {
                return Err(protocol("unauthenticated bulk length"));
            }
            let end = self.bytes + line.len() + 2 + length + 2;
            if end > bytes_max {
                return Err(protocol(format!("a command has at most {bytes_max} bytes")));
            }
            if buffer.len() < end {
                return Ok(None);
            }
            self.bytes = end;
            missing -= 1;
        }
        Ok(Some(self.bytes))
    }
}

/// A command without framing, as typed into telnet: words between blanks. The search for its end
/// continues at the same place: a line that arrives byte by byte costs no more than a whole one.
///
/// A page can make a browser connect here and send bytes of its choice behind a TLS, HTTP or FTP
/// opening. So the first bytes of a line decide. A line that does not begin with a command, or
/// holds control characters, is an error and ends the connection.
fn inline(buffer: &mut BytesMut, searched: &mut usize) -> Result<Option<Request>, RequestError> {
    if !is_plain(buffer, *searched) || !begins_with_command(buffer) {
        return Err(protocol("neither RESP nor a command of the embedded bus"));
    }
    let Some(end) = find(buffer, std::mem::take(searched), b'\n') else {
        return if buffer.len() < LINE_BYTES_MAX {
            *searched = buffer.len();
            Ok(None)
        } else {
            Err(protocol("too big inline request"))
        };
    };
    let line = buffer.split_to(end + 1).freeze();
    if line.iter().any(|byte| matches!(byte, b'"' | b'\'')) {
        return Err(protocol(
            "unbalanced quotes in request: the embedded bus takes no quotes in inline commands",
        ));
    }
    let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    Ok(Some(words.map(|word| line.slice_ref(word)).collect()))
}

/// Whether the line at the start of the bytes has no control character but blanks, from a place on.
fn is_plain(bytes: &[u8], from: usize) -> bool {
    let line = bytes[..bytes.len().min(LINE_BYTES_MAX)].iter().skip(from).take_while(|&&byte| byte != b'\n');
    line.copied().all(|byte| !byte.is_ascii_control() || matches!(byte, b'\t' | b'\r'))
}

/// Whether the line at the start of the bytes is blank, or begins with a command's name, as far as
/// it is there.
fn begins_with_command(bytes: &[u8]) -> bool {
    let bytes = &bytes[..bytes.len().min(LINE_BEGIN_BYTES)];
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let word = line.trim_ascii_start();
    if word.is_empty() && line.len() == LINE_BEGIN_BYTES {
        return false;
    }
    match word.iter().position(u8::is_ascii_whitespace) {
        Some(end) => commands::is_name(&word[..end]),
        None if line.len() < bytes.len() => word.is_empty() || commands::is_name(word),
        None => commands::begins_name(word),
    }
}

/// The line at the start of the bytes, without its end, once all of it is there. Where it is not,
/// `searched` keeps how far its end was looked for.
fn line<'a>(bytes: &'a [u8], searched: &mut usize, what: &str) -> Result<Option<&'a [u8]>, RequestError> {
    let Some(end) = find(bytes, std::mem::take(searched), b'\r') else {
        *searched = bytes.len();
        let whole = bytes.len() < LINE_BYTES_MAX;
        return if whole { Ok(None) } else { Err(protocol(format!("too big {what}"))) };
    };
    match bytes.get(end + 1) {
        None => {
            *searched = end;
            Ok(None)
        }
        Some(b'\n') => Ok(Some(&bytes[..end])),
        Some(_) => Err(protocol("expected a line feed behind a carriage return")),
    }
}

/// The place of a byte within the longest line, searched from a place on.
fn find(bytes: &[u8], from: usize, wanted: u8) -> Option<usize> {
    let line = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    line.get(from..)?.iter().position(|&byte| byte == wanted).map(|at| from + at)
}

/// A number in its only form: no sign but `-`, no leading zeros.
fn number(digits: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(digits).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn argument(frame: BytesFrame) -> Result<Bytes, RequestError> {
    match frame {
        BytesFrame::BulkString(data) => Ok(data),
        _ => Err(protocol("expected bulk strings")),
    }
}

fn protocol(text: impl Into<String>) -> RequestError {
    RequestError::Protocol(text.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode_all(decoder: &mut RequestDecoder, buffer: &mut BytesMut) -> Result<Vec<Request>, RequestError> {
        std::iter::from_fn(|| decoder.decode(buffer).transpose()).collect()
    }

    fn refusal(bytes: &[u8]) -> String {
        let mut decoder = RequestDecoder::new(1000);
        decode_all(&mut decoder, &mut BytesMut::from(bytes)).unwrap_err().to_string()
    }

    #[test]
    fn takes_arrays_and_lines() {
        let bytes: &[u8] = b"*2\r\n$4\r\nECHO\r\n$3\r\na\rb\r\n*0\r\n*-1\r\n\r\n PING  x\r\nPING\n";
        let requests = decode_all(&mut RequestDecoder::new(10), &mut BytesMut::from(bytes)).unwrap();
        assert_eq!(requests, [vec!["ECHO", "a\rb"], vec!["PING", "x"], vec!["PING"]]);
    }

    #[test]
    fn claim_beyond_a_limit_is_rejected_before_its_bytes() {
        for (bytes, expected) in [
            (&b"*1000000000\r\n"[..], "invalid multibulk length"),
            (b"*99999999999999999999\r\n", "invalid multibulk length"),
            (b"*01\r\n", "invalid multibulk length"),
            (b"*1\r\n$2000000000\r\n", "invalid bulk length"),
            (b"*1\r\n$9223372036854775807\r\n", "invalid bulk length"),
            (b"*1\r\n$-1\r\n", "invalid bulk length"),
            (b"*1\r\n$+4\r\nPING\r\n", "invalid bulk length"),
            (b"*1\r\n*1\r\n*1\r\n", "expected '$', got '*'"),
            (b"*1\r\n:1\r\n", "expected '$', got ':'"),
            (b"PING \"a\r\n", "unbalanced quotes in request"),
        ] {
            let refusal = refusal(bytes);
            assert!(refusal.starts_with(&format!("Protocol error: {expected}")), "{refusal}");
        }
        assert_eq!(refusal(&[b'*'; LINE_BYTES_MAX]), "Protocol error: too big mbulk count string");
        let line = [&b"PING "[..], &[b'x'; LINE_BYTES_MAX]].concat();
        assert_eq!(refusal(&line), "Protocol error: too big inline request");
    }

    #[test]
    fn other_protocols_end_with_their_first_bytes() {
        let hello = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01];
        for opening in [
            &hello[..],
            b"PRI *",
            b"GET ",
            b"PUT / HTTP/1.1\r\n",
            b"OPTIONS",
            b"EHLO ",
            b"HELO x\r\n",
            b"USER ",
            b"RSET\r\n",
            b"\x00\x01",
            b"\r\n\r\nSM\r\n",
            b"+PING\r\n",
            b"PINGS",
            b"PING\x00",
            b"script|load\r\n",
            &[b' '; 64],
        ] {
            let expected = "Protocol error: neither RESP nor a command of the embedded bus";
            assert_eq!(refusal(opening), expected, "{}", opening.escape_ascii());
        }
        for opening in [&b"p"[..], b"PUBLIS", b"\r\n", b" ", b"client", b"hoSt:"] {
            let mut decoder = RequestDecoder::new(1000);
            assert_eq!(
                decode_all(&mut decoder, &mut BytesMut::from(opening)).unwrap(),
                Vec::<Request>::new()
            );
        }
    }

    #[test]
    fn framed_and_inline_commands_are_distinguished() {
        let mut decoder = RequestDecoder::new(1000);
        let mut buffer = BytesMut::from(&b"PING\r\n*1\r\n$4\r\nPING\r\n\r\nPING\r\n"[..]);
        for is_inline in [true, false, true] {
            assert!(decoder.decode(&mut buffer).unwrap().is_some());
            assert_eq!(decoder.is_inline(), is_inline);
        }
    }

    #[test]
    fn many_arguments_within_their_bounds_are_bounded_together() {
        let max = RequestDecoder::new(1000).bytes_max;
        let argument = [format!("${}\r\n", max / 2).as_bytes(), &vec![b'x'; max / 2], b"\r\n"].concat();
        let refusal = refusal(&[b"*3\r\n", &argument[..], &argument[..]].concat());
        assert_eq!(refusal, format!("Protocol error: a command has at most {max} bytes"));
    }

    #[test]
    fn a_claim_takes_no_memory() {
        let mut buffer = BytesMut::from(&b"*16384\r\n$1000000\r\n"[..]);
        let capacity = buffer.capacity();
        assert!(RequestDecoder::new(1000).decode(&mut buffer).unwrap().is_none());
        assert_eq!(buffer.capacity(), capacity);
    }

    #[test]
    fn an_idle_client_gives_its_buffer_back() {
        let mut decoder = RequestDecoder::new(1 << 20);
        let mut buffer = BytesMut::from(&b"*1\r\n$1000000\r\n"[..]);
        buffer.extend_from_slice(&vec![b'x'; 1_000_002]);
        assert_eq!(decoder.decode(&mut buffer).unwrap().unwrap()[0].len(), 1_000_000);
        assert!(decoder.decode(&mut buffer).unwrap().is_none());
        assert!(buffer.capacity() <= IDLE_BUFFER_BYTES);
    }

    proptest! {
        #[test]
        fn pieces_make_the_same_commands(
            requests in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..5), 1..5),
            cut in 1usize..30,
        ) {
            let mut bytes = Vec::new();
            for request in &requests {
                bytes.extend(format!("*{}\r\n", request.len()).into_bytes());
                for argument in request {
                    bytes.extend(format!("${}\r\n", argument.len()).into_bytes());
                    bytes.extend(argument);
                    bytes.extend(b"\r\n");
                }
            }
            let mut decoder = RequestDecoder::new(1000);
            let mut buffer = BytesMut::new();
            let mut read = Vec::new();
            for piece in bytes.chunks(cut) {
                buffer.extend_from_slice(piece);
                read.extend(decode_all(&mut decoder, &mut buffer).unwrap());
            }
            prop_assert_eq!(read, requests);
        }

        #[test]
        fn any_bytes_are_accepted_or_rejected(bytes in "[*$0-9a\r\n\\-]{0,40}") {
            let _ = decode_all(&mut RequestDecoder::new(1000), &mut BytesMut::from(bytes.as_bytes()));
        }
    }
}
