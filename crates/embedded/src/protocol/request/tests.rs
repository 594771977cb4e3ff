use proptest::prelude::*;

use super::*;

fn decode_all(decoder: &mut RequestDecoder, buffer: &mut BytesMut) -> Result<Vec<Request>, RequestError> {
    std::iter::from_fn(|| decoder.decode(buffer).transpose()).collect()
}

fn refusal(bytes: &[u8]) -> String {
    let mut decoder = RequestDecoder::new(1000);
    decode_all(&mut decoder, &mut BytesMut::from(bytes)).unwrap_err().to_string()
}

const NO_COMMAND: &str = "Protocol error: expected an array of bulk strings";

#[test]
fn takes_arrays_of_bulk_strings() {
    let bytes: &[u8] = b"*2\r\n$4\r\nECHO\r\n$3\r\na\rb\r\n*1\r\n$0\r\n\r\n";
    let requests = decode_all(&mut RequestDecoder::new(10), &mut BytesMut::from(bytes)).unwrap();
    assert_eq!(requests, [vec!["ECHO", "a\rb"], vec![""]]);
}

#[test]
fn claim_beyond_a_limit_is_rejected_before_its_bytes() {
    for bytes in [&b"*16385\r\n"[..], b"*1000000000\r\n", b"*1\r\n$2000000000\r\n", b"*1\r\n$1049577\r\n"] {
        assert!(refusal(bytes).ends_with("at most 16384 arguments and 1049576 bytes"), "{bytes:?}");
    }
    for bytes in [
        &b"*99999999999999999999\r\n"[..],
        b"*-1\r\n",
        b"*0\r\n",
        b"*\r\n",
        b"*1\n$4\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n*1\r\n*1\r\n",
        b"*1\r\n:1\r\n",
        b"*1\r\n$1\r\nab\r\n",
        &[b'*'; LINE_BYTES_MAX],
    ] {
        assert_eq!(refusal(bytes), NO_COMMAND, "{}", bytes.escape_ascii());
    }
}

#[test]
fn other_protocols_end_with_their_first_bytes() {
    for opening in
        [&[0x16, 0x03, 0x01][..], b"P", b"GET ", b"EHLO x", b"USER ", b"\x00", b"\r\n", b" ", b"+PING\r\n"]
    {
        assert_eq!(refusal(opening), NO_COMMAND, "{}", opening.escape_ascii());
    }
    assert!(decode_all(&mut RequestDecoder::new(1000), &mut BytesMut::from("*")).unwrap().is_empty());
}

#[test]
fn many_arguments_within_their_bounds_are_bounded_together() {
    let max = RequestDecoder::new(1000).bytes_max;
    let argument = [format!("${}\r\n", max / 2).as_bytes(), &vec![b'x'; max / 2], b"\r\n"].concat();
    let refusal = refusal(&[b"*3\r\n", &argument[..], &argument[..]].concat());
    assert!(refusal.ends_with(&format!("and {max} bytes")), "{refusal}");
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
    buffer.extend_from_slice(&vec![b'x'; 1_000_000]);
    buffer.extend_from_slice(b"\r\n");
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
