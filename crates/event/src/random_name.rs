//! Random names.

use std::fmt;
use std::str::FromStr;

use super::position::PositionError;

/// Holds a name of `N` characters of `a-z 0-9`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct RandomName<const N: usize>([u8; N]);

const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

impl<const N: usize> RandomName<N> {
    pub(super) fn draw() -> Self {
        Self(std::array::from_fn(|_| ALPHABET[fastrand::usize(..ALPHABET.len())]))
    }

    pub(super) fn as_str(&self) -> &str {
        // `draw` and `from_str` produce ASCII only, so the fallback is unreachable.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl<const N: usize> fmt::Debug for RandomName<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<const N: usize> FromStr for RandomName<N> {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let bytes: [u8; N] = text.as_bytes().try_into().map_err(|_| PositionError)?;
        if bytes.iter().all(|byte| ALPHABET.contains(byte)) { Ok(Self(bytes)) } else { Err(PositionError) }
    }
}
