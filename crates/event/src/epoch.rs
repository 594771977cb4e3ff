//! The epoch of a log: the time from its first entry to its end.
//!
//! A log can be deleted, expire or lose its entries. A log that begins again under the same name
//! has another epoch.

use std::fmt;
use std::str::FromStr;

use super::position::{EntryId, LivePart, Position, PositionError};
use super::random_name::RandomName;

/// Names one epoch of a workspace's log with twelve characters of `a-z 0-9`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(RandomName<12>);

impl Epoch {
    /// Draws a new name.
    #[must_use]
    pub fn random() -> Self {
        Self(RandomName::draw())
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Epoch {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        text.parse().map(Self)
    }
}

/// The record beside a log about its epoch, at the key `{<log>}/epoch`.
///
/// Its text is `<epoch> <first> <last> <earlier>`, so that the publish script can parse it. A node
/// that gives out the position of an empty log names the epoch before its first entry. Until then,
/// `first` and `last` are [`EntryId::ZERO`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochRecord {
    /// The name of the epoch.
    pub epoch: Epoch,
    /// The first entry of the epoch; [`EntryId::ZERO`] if it is unknown, because another program
    /// began the log.
    pub first: EntryId,
    /// The last entry that the publish script added; [`EntryId::ZERO`] if there is none yet.
    pub last: EntryId,
    /// The highest entry of all earlier epochs, as far as it is known. The id of an entry up to
    /// here does not identify the epoch.
    pub earlier: EntryId,
}

impl EpochRecord {
    /// Creates the record of an epoch without entries, after epochs whose highest entry was
    /// `earlier`.
    #[must_use]
    pub fn not_begun(epoch: Epoch, earlier: EntryId) -> Self {
        Self { epoch, first: EntryId::ZERO, last: EntryId::ZERO, earlier }
    }

    /// Returns whether the epoch has or had an entry.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.last != EntryId::ZERO
    }

    /// Returns whether an entry's id, or the place before the first entry, does not identify the
    /// epoch.
    #[must_use]
    pub fn is_ambiguous(&self, entry: EntryId) -> bool {
        entry == EntryId::ZERO || entry <= self.earlier
    }

    /// Returns the position of an entry in this epoch. The position names the epoch if the entry's
    /// id does not identify it.
    #[must_use]
    pub fn position(&self, entry: EntryId) -> Position {
        let epoch = self.is_ambiguous(entry).then_some(self.epoch);
        Position { entry, epoch, live: None }
    }
}

/// Returns the position of an entry, with the epoch from `record` if the entry's id does not
/// identify it.
#[must_use]
pub fn position(record: Option<&EpochRecord>, entry: EntryId) -> Position {
    record.map_or_else(|| Position::logged(entry), |record| record.position(entry))
}

/// Returns the position of a live event behind an entry.
#[must_use]
pub fn live_position(record: Option<&EpochRecord>, entry: EntryId, live: LivePart) -> Position {
    Position { live: Some(live), ..position(record, entry) }
}

impl fmt::Display for EpochRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.epoch, self.first, self.last, self.earlier)
    }
}

impl FromStr for EpochRecord {
    type Err = PositionError;

    /// Parses a record. Further fields are ignored, so that a later version can add some.
    fn from_str(text: &str) -> Result<Self, PositionError> {
        let mut words = text.split(' ');
        let epoch = words.next().ok_or(PositionError)?.parse()?;
        let mut entry = || words.next().ok_or(PositionError)?.parse();
        Ok(Self { epoch, first: entry()?, last: entry()?, earlier: entry()? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(milliseconds: u64) -> EntryId {
        EntryId { milliseconds, sequence: 0 }
    }

    #[test]
    fn position_names_an_ambiguous_epoch() {
        let record = EpochRecord {
            first: entry(3),
            last: entry(9),
            ..EpochRecord::not_begun(Epoch::random(), entry(5))
        };
        assert_eq!(record.position(EntryId::ZERO).epoch, Some(record.epoch));
        assert_eq!(record.position(entry(5)).epoch, Some(record.epoch));
        assert_eq!(record.position(entry(6)), Position::logged(entry(6)));
        assert_eq!(position(None, EntryId::ZERO), Position::logged(EntryId::ZERO));
    }

    #[test]
    fn record_of_another_form_is_rejected() {
        for text in [
            "",
            "x",
            "abcdefghijkl",
            "abcdefghijkl 1-0 2-0",
            "ABCDEFGHIJKL 1-0 2-0 0-0",
            "abcdefghijkl 1-0 2-0 x",
        ] {
            assert_eq!(text.parse::<EpochRecord>(), Err(PositionError), "{text:?}");
        }
        assert!(
            "abcdefghijkl 1-0 2-0 0-0 more=1".parse::<EpochRecord>().is_ok_and(|record| record.has_begun())
        );
    }

    proptest! {
        #[test]
        fn record_survives_its_text_form(first: (u64, u64), last: (u64, u64), earlier: (u64, u64)) {
            let id = |(milliseconds, sequence)| EntryId { milliseconds, sequence };
            let record = EpochRecord { epoch: Epoch::random(), first: id(first), last: id(last), earlier: id(earlier) };
            prop_assert_eq!(record.to_string().parse(), Ok(record));
        }
    }
}
