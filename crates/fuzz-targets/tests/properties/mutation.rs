//! Inputs that are nearly right, which come further than noise.

use fastrand::Rng;

/// The maximum of an input, in bytes, so that a test makes many.
const BYTES_MAX: usize = 64 * 1024;

/// What matters to the formats here more often than chance brings it about.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"\n\n",
    b": ",
    b"data: ",
    b"id: ",
    b"event: ",
    b"retry: ",
    b"-",
    b"~",
    b".",
    b"=",
    b"&",
    b";",
    b",",
    b"%",
    b"%0A",
    b"%00",
    b"\"",
    b"\\u0000",
    b"0",
    b"-1",
    b"18446744073709551615",
    b"18446744073709551616",
    b"*",
    b"$",
    b"*-1\r\n",
    b"$0\r\n\r\n",
    b"tidings/1 ",
    b"tidings.",
    b"{",
    b"}",
    b"\"type\":",
    b"null",
    b"1e400",
    b"\xff",
    b"\xef\xbb\xbf",
    b"[::1]",
    b"for=",
    b"Bearer ",
    b"session=",
];

/// Makes inputs out of a corpus.
#[derive(Debug)]
pub(super) struct Mutator {
    rng: Rng,
    corpus: Vec<Vec<u8>>,
}

impl Mutator {
    /// The same seed makes the same inputs.
    pub(super) fn new(seed: u64, corpus: Vec<Vec<u8>>) -> Self {
        Self { rng: Rng::with_seed(seed), corpus }
    }

    /// The next input.
    pub(super) fn next(&mut self) -> Vec<u8> {
        let mut bytes = self.pick();
        for _ in 0..self.rng.usize(1..6) {
            self.change(&mut bytes);
        }
        bytes.truncate(BYTES_MAX);
        bytes
    }

    fn pick(&mut self) -> Vec<u8> {
        self.rng.choice(&self.corpus).cloned().unwrap_or_default()
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.rng.usize(..=bytes.len());
        let end = self.rng.usize(at..=bytes.len());
        match self.rng.u8(..8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.rng.u8(..8),
            1 if at < bytes.len() => bytes[at] = self.rng.u8(..),
            2 => bytes.insert(at, self.rng.u8(..)),
            3 => drop(bytes.drain(at..end)),
            4 => bytes.truncate(at),
            5 => {
                // A part again, a few times.
                let part = bytes[at..end].repeat(self.rng.usize(1..4));
                bytes.splice(end..end, part);
            }
            6 => {
                // The end of another.
                let other = self.pick();
                let from = self.rng.usize(..=other.len());
                bytes.splice(at.., other[from..].iter().copied());
            }
            _ => {
                let word = self.rng.choice(WORDS).copied().unwrap_or_default();
                bytes.splice(at..at, word.iter().copied());
            }
        }
    }
}
