//! Reads an HTTP/1.1 response as it arrives: its head, and its body out of the chunks (RFC 9112
//! section 7.1).

/// The longest head that is read, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The most digits that the size of a chunk has.
const SIZE_DIGITS_MAX: u32 = 15;

/// The response is not HTTP/1.1, or its framing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the response is not well-formed HTTP/1.1")]
pub struct Malformed;

/// The state of reading a response.
#[derive(Debug)]
pub struct BenchResponse {
    stage: ResponseStage,
}

#[derive(Debug)]
enum ResponseStage {
    /// In the head; what of it has come.
    Head(Vec<u8>),
    /// In a body that lasts as long as the connection.
    Raw,
    /// In a body of chunks.
    Chunks(ChunkState),
}

/// The place within the framing of a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChunkState {
    /// In the size of a chunk, with so many digits read.
    Size { size: u64, digits: u32 },
    /// Behind the size, before the end of its line.
    Extension { size: u64 },
    /// In the data of a chunk, of which so many bytes are to come.
    Data { left: u64 },
    /// Behind the data of a chunk, before the end of its line.
    DataEnd,
    /// In the lines behind the last chunk; whether this line has a character yet.
    Trailer { line: bool },
    /// Behind the whole body.
    Done,
}

/// The next part of the bytes of a response.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The head is complete; this is its status.
    Head(u16),
    /// Bytes of the body.
    Body(&'a [u8]),
    /// The body has come to its proper end.
    End,
}

impl Default for BenchResponse {
    fn default() -> Self {
        Self { stage: ResponseStage::Head(Vec::new()) }
    }
}

impl BenchResponse {
    /// Takes the next piece from the front of the bytes; `None` when all were taken.
    ///
    /// # Errors
    ///
    /// [`Malformed`]: nothing more can be read then.
    pub fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Piece<'a>>, Malformed> {
        match &mut self.stage {
            ResponseStage::Head(head) => {
                let Some(status) = take_head(head, bytes)? else { return Ok(None) };
                self.stage = if is_chunked(head) {
                    ResponseStage::Chunks(ChunkState::Size { size: 0, digits: 0 })
                } else {
                    ResponseStage::Raw
                };
                Ok(Some(Piece::Head(status)))
            }
            ResponseStage::Raw => Ok((!bytes.is_empty()).then(|| Piece::Body(std::mem::take(bytes)))),
            ResponseStage::Chunks(chunk) => next_of_chunks(chunk, bytes),
        }
    }

    /// Whether the body has come to its proper end, if it has one.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self.stage, ResponseStage::Raw | ResponseStage::Chunks(ChunkState::Done))
    }
}

/// Takes bytes up to the end of the head; returns the status once the head is complete.
fn take_head(head: &mut Vec<u8>, bytes: &mut &[u8]) -> Result<Option<u16>, Malformed> {
    while let Some((&byte, rest)) = bytes.split_first() {
        *bytes = rest;
        head.push(byte);
        if head.ends_with(b"\r\n\r\n") {
            let status = head.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3)).ok_or(Malformed)?;
            let status = std::str::from_utf8(status).ok().and_then(|status| status.parse().ok());
            return status.ok_or(Malformed).map(Some);
        }
        if head.len() >= HEAD_BYTES_MAX {
            return Err(Malformed);
        }
    }
    Ok(None)
}

fn is_chunked(head: &[u8]) -> bool {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    head.lines().any(|line| {
        line.strip_prefix("transfer-encoding:").is_some_and(|coding| coding.trim().ends_with("chunked"))
    })
}

fn next_of_chunks<'a>(chunk: &mut ChunkState, bytes: &mut &'a [u8]) -> Result<Option<Piece<'a>>, Malformed> {
    while !bytes.is_empty() && *chunk != ChunkState::Done {
        if let ChunkState::Data { left } = *chunk {
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            let (data, rest) = bytes.split_at(length);
            *bytes = rest;
            let left = left - length as u64;
            *chunk = if left == 0 { ChunkState::DataEnd } else { ChunkState::Data { left } };
            return Ok(Some(Piece::Body(data)));
        }
        let byte = bytes[0];
        *bytes = &bytes[1..];
        *chunk = after(*chunk, byte)?;
        if *chunk == ChunkState::Done {
            return Ok(Some(Piece::End));
        }
    }
    // What follows a body was not asked for.
    *bytes = &[];
    Ok(None)
}

/// The place in a body after one byte of its framing.
fn after(chunk: ChunkState, byte: u8) -> Result<ChunkState, Malformed> {
    let data =
        |size| if size == 0 { ChunkState::Trailer { line: false } } else { ChunkState::Data { left: size } };
    Ok(match (chunk, byte) {
        (ChunkState::Size { digits: 0, .. }, b'\r' | b'\n' | b';') => return Err(Malformed),
        (ChunkState::Size { size, .. } | ChunkState::Extension { size }, b'\n') => data(size),
        (ChunkState::Size { size, .. }, b'\r' | b';' | b' ' | b'\t') => ChunkState::Extension { size },
        (ChunkState::Size { size, digits }, _) => {
            let digit = char::from(byte).to_digit(16).filter(|_| digits < SIZE_DIGITS_MAX);
            ChunkState::Size { size: size * 16 + u64::from(digit.ok_or(Malformed)?), digits: digits + 1 }
        }
        (ChunkState::DataEnd, b'\n') => ChunkState::Size { size: 0, digits: 0 },
        (ChunkState::DataEnd, b'\r') => ChunkState::DataEnd,
        (ChunkState::DataEnd, _) => return Err(Malformed),
        (ChunkState::Trailer { line: false }, b'\n') => ChunkState::Done,
        (ChunkState::Trailer { .. }, b'\n') => ChunkState::Trailer { line: false },
        (ChunkState::Trailer { line }, _) => ChunkState::Trailer { line: line || byte != b'\r' },
        (ChunkState::Extension { .. } | ChunkState::Data { .. } | ChunkState::Done, _) => chunk,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A whole response that arrives in these parts: status, body, and whether it is complete.
    fn read(parts: &[&[u8]]) -> Result<(Option<u16>, Vec<u8>, bool), Malformed> {
        let (mut answer, mut status, mut body, mut ended) =
            (BenchResponse::default(), None, Vec::new(), false);
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
}
