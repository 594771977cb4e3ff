//! The input of backends, and of other programs that reach the bus.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio_util::codec::Decoder as _;

use tidings::nodes::NodeQuestion;
use tidings_auth::control::ControlCommand;
use tidings_embedded::request::{Request, RequestDecoder};
use tidings_event::EntryId;
use tidings_event::audience::Audience;
use tidings_event::envelope as form;
use tidings_event::envelope::Message;

const YEAR_SECONDS: u64 = 31_536_000;

/// The envelope: a message is parsed as it was written, and any payload is wrapped and unwrapped
/// unchanged.
pub fn envelope(data: &[u8]) {
    let message = Bytes::copy_from_slice(data);
    match form::parse(&message) {
        Ok(Message::LookAtLog) => assert!(data.is_empty()),
        Ok(Message::Live(payload)) => assert!(payload == data && !data.starts_with(b"tidings/1 ")),
        Ok(Message::Logged { id, previous, payload, to, trace }) => {
            assert!(previous < id, "{previous} is not before {id}");
            let written = form::encode_traced(id, previous, &payload, to.as_deref(), trace);
            // An audience has several spellings in JSON, and unknown words may follow it; the rest
            // has one.
            let head = written.split(|&byte| byte == b'\n').next().unwrap_or_default();
            let has_words =
                trace.is_some() || message.strip_prefix(head).is_some_and(|rest| rest.starts_with(b" "));
            assert!(to.is_some() || has_words || written == message, "an envelope has one spelling");
            assert_eq!(form::parse(&written), Ok(Message::Logged { id, previous, payload, to, trace }));
        }
        Err(_) => assert!(data.starts_with(b"tidings/1 ")),
    }
    let id = EntryId { milliseconds: u64::MAX, sequence: data.len() as u64 };
    let to = Audience::parse(data).ok().map(Arc::new);
    let wrapped = form::encode(id, EntryId::ZERO, data, to.as_deref());
    let unwrapped = Message::Logged { id, previous: EntryId::ZERO, payload: message, to, trace: None };
    assert_eq!(form::parse(&wrapped), Ok(unwrapped));
}

/// The embedded bus' requests. The split of bytes into packets does not change the requests. A
/// request that was read is written and read again unchanged. An unauthenticated client cannot send
/// a large command. The first byte chooses the split of the others.
pub fn resp_requests(data: &[u8]) {
    let Some((&cut, bytes)) = data.split_first() else { return };
    let (whole, refused) = decode([bytes], false);
    let pieces = decode(bytes.chunks(usize::from(cut % 64) + 1), false);
    assert_eq!((&whole, refused), (&pieces.0, pieces.1));
    let arguments: usize = whole.iter().flatten().map(Bytes::len).sum();
    assert!(arguments <= bytes.len());

    let written: Vec<u8> = whole.iter().flat_map(|request| write(request)).collect();
    assert_eq!(decode([&*written], false), (whole, false));

    // The requests of an unauthenticated client are the beginning of the requests of an
    // authenticated one.
    let (strange, refused) = decode([&*written], true);
    assert!(strange.len() <= pieces.0.len() && strange == pieces.0[..strange.len()]);
    for request in &strange {
        assert!(request.len() <= 10 && request.iter().all(|argument| argument.len() <= 16 * 1024));
    }
    assert_eq!(refused, strange.len() < pieces.0.len());
}

/// All commands that a decoder takes out of pieces of bytes, and whether it refused to read on.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, is_unauthenticated: bool) -> (Vec<Request>, bool) {
    let mut decoder = RequestDecoder::new(1000);
    decoder.set_unauthenticated(is_unauthenticated);
    let (mut buffer, mut requests) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(request)) => {
                    assert!(!request.is_empty());
                    requests.push(request);
                }
                Ok(None) => break,
                Err(_) => return (requests, true),
            }
        }
    }
    (requests, false)
}

fn write(request: &[Bytes]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", request.len()).into_bytes();
    for argument in request {
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// A control command: a parsed one names its clients, bans for at most a year, and ends a single
/// stream only once.
pub fn control_command(data: &[u8]) {
    let Ok(command) = ControlCommand::parse(data) else { return };
    assert!(!command.selector.is_empty());
    if let Some(time) = command.ban {
        assert!(time.as_secs() <= YEAR_SECONDS && command.selector.connection.is_none(), "{command:?}");
    }
    assert!(command.stored_for() >= command.ban.unwrap_or_default());
    assert_eq!(ControlCommand::parse(data), Ok(command));
}

/// A question to all nodes: a parsed one has a message of its own, which is the same question.
pub fn node_question(data: &[u8]) {
    let Ok(question) = NodeQuestion::parse(data) else { return };
    let message = question.message();
    assert!(NodeQuestion::is_question(&message), "{message:?}");
    assert_eq!(NodeQuestion::parse(&message), Ok(question));
    assert!(ControlCommand::parse(&message).is_err(), "{message:?}");
}
