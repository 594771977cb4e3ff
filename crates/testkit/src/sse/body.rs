//! Where a body ends in the bytes of an HTTP/1.1 connection (RFC 9112, section 6).

use http::HeaderMap;

/// How the end of a body is marked.
#[derive(Debug)]
pub(crate) enum Framing {
    Chunked(Chunks),
    /// So many bytes are still to come.
    Length(usize),
    /// The end of the connection is the end of the body.
    Close,
}

impl Framing {
    /// The framing that a response's head announces.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        match (text("transfer-encoding"), text("content-length")) {
            (Some(coding), _) => {
                assert_eq!(coding, "chunked", "a transfer coding that this client does not know");
                Self::Chunked(Chunks::default())
            }
            (None, Some(length)) => Self::Length(length.parse().expect("a content length")),
            (None, None) => Self::Close,
        }
    }

    /// Takes bytes of the connection and returns those of the body.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Chunked(chunks) => chunks.feed(bytes),
            Self::Length(left) => {
                let taken = &bytes[..bytes.len().min(*left)];
                *left -= taken.len();
                taken.to_vec()
            }
            Self::Close => bytes.to_vec(),
        }
    }

    /// Whether the body has ended, by the marks in it.
    pub(crate) fn is_complete(&self) -> bool {
        match self {
            Self::Chunked(chunks) => chunks.state == State::Complete,
            Self::Length(left) => *left == 0,
            Self::Close => false,
        }
    }

    /// Whether the body may end with its connection.
    pub(crate) fn may_end_here(&self) -> bool {
        matches!(self, Self::Close) || self.is_complete()
    }
}

/// Takes chunks apart (RFC 9112, section 7.1).
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    state: State,
    line: Vec<u8>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    /// In the line with a chunk's size.
    #[default]
    Size,
    /// In a chunk's data, of which so many bytes are still to come.
    Data(usize),
    /// In the line end that closes a chunk.
    DataEnd,
    /// In the trailers, which end with an empty line.
    Trailers,
    Complete,
}

impl Chunks {
    fn feed(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        while let Some((&first, rest)) = bytes.split_first() {
            if let State::Data(left) = self.state {
                let (taken, rest) = bytes.split_at(bytes.len().min(left));
                body.extend_from_slice(taken);
                self.state =
                    if taken.len() == left { State::DataEnd } else { State::Data(left - taken.len()) };
                bytes = rest;
                continue;
            }
            bytes = rest;
            self.line.push(first);
            if self.line.ends_with(b"\r\n") {
                let line = std::mem::take(&mut self.line);
                self.end_line(&line[..line.len() - 2]);
            }
        }
        body
    }

    fn end_line(&mut self, line: &[u8]) {
        self.state = match self.state {
            State::Size => match chunk_size(line) {
                0 => State::Trailers,
                size => State::Data(size),
            },
            State::DataEnd => {
                assert!(line.is_empty(), "a chunk is longer than its size: {line:?}");
                State::Size
            }
            State::Trailers if line.is_empty() => State::Complete,
            State::Trailers => State::Trailers,
            State::Complete | State::Data(_) => panic!("bytes behind the last chunk: {line:?}"),
        };
    }
}

fn chunk_size(line: &[u8]) -> usize {
    let text = std::str::from_utf8(line).expect("a chunk's size in ASCII");
    let digits = text.split(';').next().unwrap_or_default().trim();
    usize::from_str_radix(digits, 16).unwrap_or_else(|error| panic!("{error}: a chunk's size {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_decoded_at_any_split() {
        let bytes = b"4\r\nWiki\r\n7;name=value\r\npedia i\r\nB\r\nn \r\nchunks.\r\n0\r\nTrailer: x\r\n\r\n";
        for size in 1..bytes.len() {
            let mut framing = Framing::Chunked(Chunks::default());
            let body: Vec<u8> = bytes.chunks(size).flat_map(|piece| framing.feed(piece)).collect();
            assert_eq!(body, b"Wikipedia in \r\nchunks.");
            assert!(framing.is_complete());
        }
        let mut framing = Framing::Chunked(Chunks::default());
        framing.feed(&bytes[..bytes.len() - 1]);
        assert!(!framing.may_end_here());
    }
}
