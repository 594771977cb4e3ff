//! Permissions of sockets in the file system.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// Holds the permissions of a socket in the file system: bits for user, group and others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketMode(u32);

impl SocketMode {
    /// Returns the bits as `chmod(2)` takes them.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }
}

/// From octal digits in text, because TOML and variables would read 0660 as a decimal number.
impl<'de> Deserialize<'de> for SocketMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer).ok();
        let digits = text.filter(|text| {
            (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte))
        });
        let bits = digits.and_then(|digits| u32::from_str_radix(&digits, 8).ok());
        bits.filter(|&bits| bits <= 0o777)
            .map(Self)
            .ok_or_else(|| D::Error::custom("expected permissions in octal digits such as \"0660\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_octal() {
        let read = |text: &str| serde_json::from_value::<SocketMode>(text.into()).ok().map(SocketMode::bits);
        assert_eq!(read("0660"), Some(0o660));
        assert_eq!(read("600"), Some(0o600));
        for text in ["", "66", "0688", "1660", "00660", "rw-", "+660"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
