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
mod tests;
