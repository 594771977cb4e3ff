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
///
/// It is written here: a codec crate has types of its own for each version, and turning replies
/// into both of them takes more code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// `+OK`. No line breaks.
    Status(&'static str),
    /// `-ERR ...`. Line breaks become spaces, since the protocol has no other way to write them.
    Error(String),
    Integer(i64),
    Bulk(Bytes),
    Null,
    Array(Vec<Self>),
    /// A flat array in RESP2.
    Map(Vec<(&'static str, Self)>),
    /// A message that no command asked for; an array in RESP2.
    Push(Vec<Self>),
    /// Encoded bytes.
    Encoded(Bytes),
}

impl Reply {
    /// The status `OK`.
    pub(crate) const OK: Self = Self::Status("OK");

    /// A bulk string of fixed text.
    pub(crate) const fn name(text: &'static str) -> Self {
        Self::Bulk(Bytes::from_static(text.as_bytes()))
    }

    /// An error, whose text begins with its code.
    pub(crate) fn error(text: impl Into<String>) -> Self {
        Self::Error(text.into())
    }

    /// A count. What is counted here is bounded far below the bound of the type.
    pub(crate) fn count(count: usize) -> Self {
        Self::Integer(i64::try_from(count).unwrap_or(i64::MAX))
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

    /// Writes it behind other replies.
    pub(crate) fn write(&self, protocol: Protocol, out: &mut BytesMut) {
        let is_resp2 = protocol == Protocol::Resp2;
        match self {
            Self::Status(text) => line(out, format_args!("+{text}")),
            Self::Error(text) => line(out, format_args!("-{}", text.replace(['\r', '\n'], " "))),
            Self::Integer(number) => line(out, format_args!(":{number}")),
            Self::Bulk(data) => {
                line(out, format_args!("${}", data.len()));
                out.put_slice(data);
                out.put_slice(b"\r\n");
            }
            Self::Null => line(out, format_args!("{}", if is_resp2 { "$-1" } else { "_" })),
            Self::Array(replies) => all(out, '*', replies, protocol),
            Self::Push(replies) => all(out, if is_resp2 { '*' } else { '>' }, replies, protocol),
            Self::Map(pairs) => {
                let (mark, count) = if is_resp2 { ('*', 2 * pairs.len()) } else { ('%', pairs.len()) };
                line(out, format_args!("{mark}{count}"));
                for (key, value) in pairs {
                    Self::name(key).write(protocol, out);
                    value.write(protocol, out);
                }
            }
            Self::Encoded(data) => out.put_slice(data),
        }
    }
}

fn line(out: &mut BytesMut, content: std::fmt::Arguments<'_>) {
    // Writing to a buffer that grows cannot fail.
    let _ = out.write_fmt(content);
    out.put_slice(b"\r\n");
}

fn all(out: &mut BytesMut, mark: char, replies: &[Reply], protocol: Protocol) {
    line(out, format_args!("{mark}{}", replies.len()));
    for reply in replies {
        reply.write(protocol, out);
    }
}

/// One reply for many clients: it is encoded at most once for each version of the protocol, and
/// its bytes are shared.
#[derive(Debug)]
pub(crate) struct SharedReply {
    reply: Reply,
    /// The bytes in RESP2 and in RESP3.
    encoded: [OnceCell<(Bytes, Arc<SharedCharge>)>; 2],
}

impl SharedReply {
    pub(crate) fn new(reply: Reply) -> Self {
        Self { reply, encoded: Default::default() }
    }

    /// The bytes for the wire, which count in the budget while they are held.
    pub(crate) fn bytes(&self, protocol: Protocol, budget: &Arc<ClientBudget>) -> (Bytes, Arc<SharedCharge>) {
        let [resp2, resp3] = &self.encoded;
        let encoded = if protocol == Protocol::Resp2 { resp2 } else { resp3 };
        let encode = || {
            let bytes = self.reply.encode(protocol);
            let charge = budget.share(bytes.len());
            (bytes, charge)
        };
        encoded.get_or_init(encode).clone()
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
            (Reply::error("ERR a\r\nb"), "-ERR a  b\r\n", "-ERR a  b\r\n"),
            (Reply::Integer(-7), ":-7\r\n", ":-7\r\n"),
            (key(), "$3\r\nkey\r\n", "$3\r\nkey\r\n"),
            (Reply::Null, "$-1\r\n", "_\r\n"),
            (Reply::Array(Vec::new()), "*0\r\n", "*0\r\n"),
            (
                Reply::Map(vec![("key", Reply::Integer(1))]),
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
