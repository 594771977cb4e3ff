//! Replies of the Redis protocol, in both of its versions.

use std::cell::OnceCell;

use bytes::{Bytes, BytesMut};
use redis_protocol::resp2::encode::extend_encode as encode_resp2;
use redis_protocol::resp2::types::BytesFrame as Frame2;
use redis_protocol::resp3::encode::complete::extend_encode as encode_resp3;
use redis_protocol::resp3::types::{BytesFrame as Frame3, VerbatimStringFormat};

/// The version of the protocol that a client speaks: RESP2 until it says `HELLO 3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Protocol {
    #[default]
    Resp2,
    Resp3,
}

/// What a client is told. Forms that RESP2 lacks are written there as Redis writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// `+OK`. No line breaks.
    Status(&'static str),
    /// `-ERR ...`. Line breaks become spaces, since the protocol has no other way to write them.
    Error(String),
    Integer(i64),
    Bulk(Bytes),
    Null,
    /// Text for people; a bulk string in RESP2.
    Text(String),
    Array(Vec<Self>),
    /// A flat array in RESP2.
    Map(Vec<(Self, Self)>),
    /// What comes without having been asked for; an array in RESP2.
    Push(Vec<Self>),
}

impl Reply {
    /// The status `OK`.
    pub(super) const OK: Self = Self::Status("OK");

    /// A bulk string of fixed text.
    pub(super) const fn name(text: &'static str) -> Self {
        Self::Bulk(Bytes::from_static(text.as_bytes()))
    }

    /// A count. What is counted here is bounded far below the bound of the type.
    pub(super) fn count(count: usize) -> Self {
        Self::Integer(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// The bytes for the wire.
    pub(super) fn encode(&self, protocol: Protocol) -> Bytes {
        let mut bytes = BytesMut::new();
        let encoded = match protocol {
            Protocol::Resp2 => encode_resp2(&mut bytes, &self.resp2(), false),
            Protocol::Resp3 => encode_resp3(&mut bytes, &self.resp3(), false),
        };
        match encoded {
            Ok(_) => bytes.freeze(),
            // The encoder fails only when its buffer is too small, and it makes the buffer itself.
            Err(_) => Bytes::from_static(b"-ERR the reply cannot be written\r\n"),
        }
    }

    fn resp2(&self) -> Frame2 {
        let all = |replies: &[Self]| replies.iter().map(Self::resp2).collect();
        match self {
            Self::Status(text) => Frame2::SimpleString(Bytes::from_static(text.as_bytes())),
            Self::Error(text) => Frame2::Error(one_line(text).into()),
            Self::Integer(number) => Frame2::Integer(*number),
            Self::Bulk(data) => Frame2::BulkString(data.clone()),
            Self::Null => Frame2::Null,
            Self::Text(text) => Frame2::BulkString(Bytes::copy_from_slice(text.as_bytes())),
            Self::Array(replies) | Self::Push(replies) => Frame2::Array(all(replies)),
            Self::Map(pairs) => {
                Frame2::Array(pairs.iter().flat_map(|(key, value)| [key.resp2(), value.resp2()]).collect())
            }
        }
    }

    fn resp3(&self) -> Frame3 {
        let all = |replies: &[Self]| replies.iter().map(Self::resp3).collect();
        let attributes = None;
        match self {
            Self::Status(text) => {
                Frame3::SimpleString { data: Bytes::from_static(text.as_bytes()), attributes }
            }
            Self::Error(text) => Frame3::SimpleError { data: one_line(text).into(), attributes },
            Self::Integer(number) => Frame3::Number { data: *number, attributes },
            Self::Bulk(data) => Frame3::BlobString { data: data.clone(), attributes },
            Self::Null => Frame3::Null,
            Self::Text(text) => Frame3::VerbatimString {
                data: Bytes::copy_from_slice(text.as_bytes()),
                format: VerbatimStringFormat::Text,
                attributes,
            },
            Self::Array(replies) => Frame3::Array { data: all(replies), attributes },
            Self::Push(replies) => Frame3::Push { data: all(replies), attributes },
            Self::Map(pairs) => Frame3::Map {
                data: pairs.iter().map(|(key, value)| (key.resp3(), value.resp3())).collect(),
                attributes,
            },
        }
    }
}

fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

/// One reply for many clients: it is encoded at most once for each version of the protocol, and its bytes are shared.
#[derive(Debug)]
pub(super) struct Broadcast {
    reply: Reply,
    resp2: OnceCell<Bytes>,
    resp3: OnceCell<Bytes>,
}

impl Broadcast {
    pub(super) fn new(reply: Reply) -> Self {
        Self { reply, resp2: OnceCell::new(), resp3: OnceCell::new() }
    }

    /// The bytes for the wire.
    pub(super) fn bytes(&self, protocol: Protocol) -> Bytes {
        let cell = match protocol {
            Protocol::Resp2 => &self.resp2,
            Protocol::Resp3 => &self.resp3,
        };
        cell.get_or_init(|| self.reply.encode(protocol)).clone()
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
            (Reply::Text("a".to_owned()), "$1\r\na\r\n", "=5\r\ntxt:a\r\n"),
            (Reply::Array(Vec::new()), "*0\r\n", "*0\r\n"),
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
