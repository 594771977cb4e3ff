//! The logs against plain models of them.

mod logs;
mod publish;
mod stream;

use bytes::Bytes;

use tidings_event::EntryId;

fn id(milliseconds: u64, sequence: u64) -> EntryId {
    EntryId { milliseconds, sequence }
}

fn key(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}
