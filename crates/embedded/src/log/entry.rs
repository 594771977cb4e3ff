//! Entries of a log, and ids for them.

use bytes::{BufMut, Bytes, BytesMut};

use tidings_event::EntryId;
use tidings_event::log::PAYLOAD_FIELD;

/// The memory of an entry besides its bytes.
const ALLOCATION_OVERHEAD: usize = 64;

/// The highest id there is.
pub(crate) const ID_MAX: EntryId = EntryId { milliseconds: u64::MAX, sequence: u64::MAX };

/// An entry. A clone shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamEntry {
    pub(crate) id: EntryId,
    pub(crate) fields: Fields,
}

impl StreamEntry {
    /// The bytes of its payload; of an entry that another program wrote, all bytes count.
    pub(crate) fn payload_bytes(&self) -> usize {
        self.fields.get(PAYLOAD_FIELD).map_or(self.fields.bytes(), |payload| payload.len())
    }

    /// Its memory, about, in bytes.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>() + ALLOCATION_OVERHEAD + self.fields.bytes()
    }
}

/// Names and values, one after the other, as they were given; a name may be there twice.
///
/// They are in one piece of memory, each behind its length in four bytes, least significant first;
/// the same bytes are stored on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fields(Bytes);

impl Fields {
    /// Takes names and values in turn. They are copied: the arguments are parts of a whole input
    /// buffer and would keep all of it in memory.
    pub(crate) fn new<T: AsRef<[u8]>>(parts: &[T]) -> Self {
        let length = |part: &T| size_of::<u32>() + part.as_ref().len();
        let mut bytes = BytesMut::with_capacity(parts.iter().map(length).sum());
        for part in parts {
            let part = part.as_ref();
            // Commands are bounded far below this.
            bytes.put_u32_le(u32::try_from(part.len()).unwrap_or(u32::MAX));
            bytes.put_slice(part);
        }
        Self(bytes.freeze())
    }

    /// Takes stored bytes; `None` if they are not whole.
    pub(crate) fn from_stored(bytes: Bytes) -> Option<Self> {
        let fields = Self(bytes);
        let mut parts = fields.parts();
        let whole = parts.by_ref().count().is_multiple_of(2) && parts.rest.is_empty();
        whole.then_some(fields)
    }

    /// The bytes to store.
    pub(crate) fn as_stored(&self) -> &[u8] {
        &self.0
    }

    /// Names and values in turn. They share the entry's memory.
    pub(crate) fn parts(&self) -> Parts {
        Parts { rest: self.0.clone() }
    }

    /// The value of the first field of this name.
    pub(crate) fn get(&self, name: &[u8]) -> Option<Bytes> {
        let mut parts = self.parts();
        while let (Some(found), Some(value)) = (parts.next(), parts.next()) {
            if found == name {
                return Some(value);
            }
        }
        None
    }

    /// Their size, in bytes.
    fn bytes(&self) -> usize {
        self.0.len()
    }
}

/// Iterates over [`Fields`].
pub(crate) struct Parts {
    rest: Bytes,
}

impl Iterator for Parts {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let (length, rest) = self.rest.split_first_chunk()?;
        let length = u32::from_le_bytes(*length) as usize;
        if rest.len() < length {
            return None;
        }
        let mut part = self.rest.split_to(size_of::<u32>() + length);
        Some(part.split_off(size_of::<u32>()))
    }
}

/// The id that is wanted for a new entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestedId {
    /// `*`: any id behind the last one, of this moment if that is possible.
    Any,
    /// Exactly this id.
    Exactly(EntryId),
}

impl RequestedId {
    /// The id behind `last`; `None` if the wish is not beyond it. `now` are milliseconds since the
    /// Unix epoch; if the clock goes back, ids do not.
    pub(crate) fn behind(self, last: EntryId, now: u64) -> Option<EntryId> {
        let id = match self {
            Self::Any if now > last.milliseconds => EntryId { milliseconds: now, sequence: 0 },
            Self::Any => match last.sequence.checked_add(1) {
                Some(sequence) => EntryId { sequence, ..last },
                None => EntryId { milliseconds: last.milliseconds.checked_add(1)?, sequence: 0 },
            },
            Self::Exactly(id) => id,
        };
        (id > last).then_some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(milliseconds: u64, sequence: u64) -> EntryId {
        EntryId { milliseconds, sequence }
    }

    #[test]
    fn fields_keep_names_and_values() {
        let parts: [&[u8]; 6] = [b"data", b"{}", b"", b"\x00\xff", b"data", b"second"];
        let fields = Fields::new(&parts);
        assert_eq!(fields.parts().collect::<Vec<_>>(), parts);
        assert_eq!(fields.get(b"data").unwrap(), "{}");
        assert_eq!(fields.get(b"").unwrap(), &b"\x00\xff"[..]);
        // A value is not a name.
        assert_eq!(fields.get(b"{}"), None);
        let stored = Bytes::copy_from_slice(fields.as_stored());
        assert_eq!(Fields::from_stored(stored.clone()), Some(fields));
        for cut in 1..stored.len() {
            let cut_off = Fields::from_stored(stored.slice(..cut));
            assert!(cut_off.is_none_or(|fields| fields.parts().count() % 2 == 0), "cut at {cut}");
        }
        assert_eq!(Fields::from_stored(stored.slice(..stored.len() - 1)), None);
        assert_eq!(Fields::from_stored(Bytes::from_static(&[255, 255, 255, 255, 1])), None);
    }

    #[test]
    fn ids_rise_also_when_the_clock_goes_back() {
        for (requested_id, last, now, expected) in [
            (RequestedId::Any, id(0, 0), 5, Some(id(5, 0))),
            (RequestedId::Any, id(5, 0), 5, Some(id(5, 1))),
            (RequestedId::Any, id(5, 1), 3, Some(id(5, 2))),
            (RequestedId::Any, id(0, 0), 0, Some(id(0, 1))),
            (RequestedId::Any, id(7, u64::MAX), 7, Some(id(8, 0))),
            (RequestedId::Any, ID_MAX, 7, None),
            (RequestedId::Exactly(id(5, 1)), id(5, 0), 9, Some(id(5, 1))),
            (RequestedId::Exactly(id(5, 0)), id(5, 0), 9, None),
            (RequestedId::Exactly(id(4, 9)), id(5, 0), 9, None),
        ] {
            assert_eq!(requested_id.behind(last, now), expected, "{requested_id:?} behind {last} at {now}");
        }
    }
}
