//! Replies of the Redis protocol, in both of its versions.

use std::cell::OnceCell;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::listener::budget::{ClientBudget, SharedCharge};

/// The version of the protocol that a client speaks: RESP2 until it says `HELLO 3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Protocol {
    #[default]
    Resp2,
    Resp3,
}

/// A reply to a client. RESP2 writes the forms that it lacks as Redis does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// `+OK`. No line breaks.
    Status(&'static str),
    /// `-ERR ...`. Line breaks become spaces, since the protocol has no other way to write them.
    Error(String),
    Integer(i64),
    Bulk(Bytes),
    Null,
    /// A null array, which RESP2 distinguishes from a null text.
    NullArray,
    /// Text for people; a bulk string in RESP2.
    Text(String),
    Array(Vec<Self>),
    /// An array in RESP2.
    Set(Vec<Self>),
    /// A flat array in RESP2.
    Map(Vec<(Self, Self)>),
    /// Encoded bytes, the same in both versions.
    Encoded(Bytes),
    /// A message that no command asked for; an array in RESP2.
    Push(Vec<Self>),
}

impl Reply {
    /// The status `OK`.
    pub(crate) const OK: Self = Self::Status("OK");

    /// A bulk string of fixed text.
    pub(crate) const fn name(text: &'static str) -> Self {
        Self::Bulk(Bytes::from_static(text.as_bytes()))
    }

    /// A count. What is counted here is bounded far below the bound of the type.
    pub(crate) fn count(count: usize) -> Self {
        Self::Integer(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// Its size in memory and on the wire, about, in bytes; rather more than less.
    pub(crate) fn weight(&self) -> usize {
        let bytes = match self {
            Self::Status(_) | Self::Integer(_) | Self::Null | Self::NullArray => 0,
            Self::Error(text) | Self::Text(text) => text.len(),
            Self::Bulk(data) | Self::Encoded(data) => data.len(),
            Self::Array(replies) | Self::Set(replies) | Self::Push(replies) => {
                replies.iter().map(Self::weight).sum()
            }
            Self::Map(pairs) => pairs.iter().map(|(key, value)| key.weight() + value.weight()).sum(),
        };
        size_of::<Self>() + bytes
    }

    /// The bytes for the wire.
    pub(crate) fn encode(&self, protocol: Protocol) -> Bytes {
        if let Self::Encoded(bytes) = self {
            return bytes.clone();
        }
        let mut bytes = BytesMut::new();
        self.write(protocol, &mut bytes);
        bytes.freeze()
    }

    /// Begins an array of so many replies, which are written behind it.
    pub(crate) fn write_array_head(count: usize, out: &mut BytesMut) {
        line(out, format_args!("*{count}"));
    }

    /// The bytes of the beginning of an array of so many replies.
    pub(crate) fn array_head_bytes(count: usize) -> usize {
        "*\r\n".len() + decimal_digits(count as u64)
    }

    /// The bytes of a bulk string of so many bytes.
    pub(crate) fn bulk_bytes(length: usize) -> usize {
        "$\r\n\r\n".len() + decimal_digits(length as u64) + length
    }

    /// Writes a bulk string behind others.
    pub(crate) fn write_bulk(data: &[u8], out: &mut BytesMut) {
        line(out, format_args!("${}", data.len()));
        text(out, data);
    }

    fn write(&self, protocol: Protocol, out: &mut BytesMut) {
        let resp2 = protocol == Protocol::Resp2;
        match self {
            Self::Status(text) => line(out, format_args!("+{text}")),
            Self::Error(text) => line(out, format_args!("-{}", one_line(text))),
            Self::Integer(number) => line(out, format_args!(":{number}")),
            Self::Bulk(data) => Self::write_bulk(data, out),
            Self::Encoded(data) => out.put_slice(data),
            Self::Null => line(out, format_args!("{}", if resp2 { "$-1" } else { "_" })),
            Self::NullArray => line(out, format_args!("{}", if resp2 { "*-1" } else { "_" })),
            Self::Text(data) if resp2 => {
                line(out, format_args!("${}", data.len()));
                text(out, data.as_bytes());
            }
            Self::Text(data) => {
                line(out, format_args!("={}", data.len() + "txt:".len()));
                out.put_slice(b"txt:");
                text(out, data.as_bytes());
            }
            Self::Array(replies) => all(out, '*', replies, protocol),
            Self::Set(replies) => all(out, if resp2 { '*' } else { '~' }, replies, protocol),
            Self::Push(replies) => all(out, if resp2 { '*' } else { '>' }, replies, protocol),
            Self::Map(pairs) => {
                let (mark, count) = if resp2 { ('*', 2 * pairs.len()) } else { ('%', pairs.len()) };
                line(out, format_args!("{mark}{count}"));
                for (key, value) in pairs {
                    key.write(protocol, out);
                    value.write(protocol, out);
                }
            }
        }
    }
}

fn line(out: &mut BytesMut, content: std::fmt::Arguments<'_>) {
    // Writing to a buffer that grows cannot fail.
    let _ = out.write_fmt(content);
    out.put_slice(b"\r\n");
}

fn text(out: &mut BytesMut, data: &[u8]) {
    out.put_slice(data);
    out.put_slice(b"\r\n");
}

fn all(out: &mut BytesMut, mark: char, replies: &[Reply], protocol: Protocol) {
    line(out, format_args!("{mark}{}", replies.len()));
    for reply in replies {
        reply.write(protocol, out);
    }
}

/// The number of decimal digits of a number.
pub(crate) fn decimal_digits(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

/// One reply for many clients: it is encoded at most once for each version of the protocol, and
/// its bytes are shared.
#[derive(Debug)]
pub(crate) struct SharedReply {
    reply: Reply,
    resp2: OnceCell<(Bytes, Arc<SharedCharge>)>,
    resp3: OnceCell<(Bytes, Arc<SharedCharge>)>,
}

impl SharedReply {
    pub(crate) fn new(reply: Reply) -> Self {
        Self { reply, resp2: OnceCell::new(), resp3: OnceCell::new() }
    }

    /// The bytes for the wire, which count in the budget while they are held.
    pub(crate) fn bytes(&self, protocol: Protocol, budget: &Arc<ClientBudget>) -> (Bytes, Arc<SharedCharge>) {
        let cell = match protocol {
            Protocol::Resp2 => &self.resp2,
            Protocol::Resp3 => &self.resp3,
        };
        let encode = || {
            let bytes = self.reply.encode(protocol);
            let charge = budget.share(bytes.len());
            (bytes, charge)
        };
        cell.get_or_init(encode).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_written_as_redis_writes_them() {
        let key = || Reply::name("key");
        for (reply, resp2, resp3) in [
            (Reply::OK, "+OK\r\n", "+OK\r\n"),
            (Reply::Error("ERR a\r\nb".to_owned()), "-ERR a  b\r\n", "-ERR a  b\r\n"),
            (Reply::Integer(-7), ":-7\r\n", ":-7\r\n"),
            (key(), "$3\r\nkey\r\n", "$3\r\nkey\r\n"),
            (Reply::Null, "$-1\r\n", "_\r\n"),
            (Reply::NullArray, "*-1\r\n", "_\r\n"),
            (Reply::Text("a".to_owned()), "$1\r\na\r\n", "=5\r\ntxt:a\r\n"),
            (Reply::Array(Vec::new()), "*0\r\n", "*0\r\n"),
            (Reply::Set(vec![key()]), "*1\r\n$3\r\nkey\r\n", "~1\r\n$3\r\nkey\r\n"),
            (
                Reply::Map(vec![(key(), Reply::Integer(1))]),
                "*2\r\n$3\r\nkey\r\n:1\r\n",
                "%1\r\n$3\r\nkey\r\n:1\r\n",
            ),
            (Reply::Push(vec![key(), Reply::Null]), "*2\r\n$3\r\nkey\r\n$-1\r\n", ">2\r\n$3\r\nkey\r\n_\r\n"),
        ] {
            assert_eq!(reply.encode(Protocol::Resp2), resp2);
            assert_eq!(reply.encode(Protocol::Resp3), resp3);
        }
    }
}
