use proptest::prelude::*;

use super::*;

/// A whole response that arrives in these parts: status, body, and whether it is complete.
fn read(parts: &[&[u8]]) -> Result<(Option<u16>, Vec<u8>, bool), Malformed> {
    let (mut answer, mut status, mut body, mut ended) = (BenchResponse::default(), None, Vec::new(), false);
    for part in parts {
        let mut bytes = *part;
        while let Some(piece) = answer.next(&mut bytes)? {
            match piece {
                Piece::Head(number) => status = Some(number),
                Piece::Body(data) => body.extend_from_slice(data),
                Piece::End => ended = true,
            }
        }
    }
    assert!(!ended || answer.is_complete());
    Ok((status, body, answer.is_complete()))
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_body_comes_out_of_its_chunks() {
    for (body, text, complete) in [
        ("5\r\nhello\r\n0\r\n\r\n", "hello", true),
        ("5\r\nhello\r\n6;a=b\r\n world\r\n000\r\nA: b\r\n\r\n", "hello world", true),
        ("A\r\n0123456789\r\n", "0123456789", false),
        ("5\r\nhel", "hel", false),
        ("5\r\nhello\r\n0\r\n", "hello", false),
    ] {
        let answer = format!("{CHUNKED}{body}");
        assert_eq!(read(&[answer.as_bytes()]), Ok((Some(200), text.into(), complete)), "{body}");
    }
    let raw = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno";
    assert_eq!(read(&[raw]), Ok((Some(404), b"no".to_vec(), true)));
}

#[test]
fn wrong_framing_is_rejected() {
    for body in ["x\r\n", "\r\n", "5\r\nhellox", "10000000000000000\r\n"] {
        assert_eq!(read(&[format!("{CHUNKED}{body}").as_bytes()]), Err(Malformed), "{body}");
    }
    assert_eq!(read(&[b"SSH-2.0-x\r\n\r\n"]), Err(Malformed));
    assert_eq!(read(&[&[b'x'; HEAD_BYTES_MAX]]), Err(Malformed));
}

proptest! {
    #[test]
    fn any_split_gives_the_same_response(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let mut answer = CHUNKED.as_bytes().to_vec();
        for chunk in &chunks {
            answer.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            answer.extend_from_slice(chunk);
            answer.extend_from_slice(b"\r\n");
        }
        answer.extend_from_slice(b"0\r\n\r\n");
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(answer.len())).collect();
        places.extend([0, answer.len()]);
        places.sort_unstable();
        let parts: Vec<&[u8]> = places.windows(2).map(|pair| &answer[pair[0]..pair[1]]).collect();
        prop_assert_eq!(read(&parts), Ok((Some(200), chunks.concat(), true)));
    }

    #[test]
    fn no_bytes_break_it(bytes: Vec<u8>) {
        let _ = read(&[&[CHUNKED.as_bytes(), &bytes].concat()]);
        let _ = read(&[&bytes]);
    }
}
