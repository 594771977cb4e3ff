//! The epoch of a log: the time between its first entry and its end. A log that is deleted, expires or loses its entries and is
//! begun anew is another log under the same name, and has another epoch.

use std::fmt;
use std::str::FromStr;

use super::position::{EntryId, LivePart, Position, PositionError};
use super::random_name::RandomName;

/// The name of one epoch of a workspace's log, twelve characters of `a-z 0-9`.
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

/// What is kept beside a log about its epoch, at the key `{<log>}/epoch`.
///
/// As text `<epoch> <first> <last> <earlier>`, so that a script can read it. An epoch is named before its first entry
/// where a node gives out the position of an empty log; then `first` and `last` are [`EntryId::ZERO`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochRecord {
    /// The epoch's name.
    pub epoch: Epoch,
    /// The first entry of the epoch; [`EntryId::ZERO`] where it is not known, as something else began the log.
    pub first: EntryId,
    /// The last entry that was published by script; [`EntryId::ZERO`] where there is none yet.
    pub last: EntryId,
    /// The highest entry that any earlier epoch is known to have had. Up to here an entry's id alone does not tell the epoch.
    pub earlier: EntryId,
}

impl EpochRecord {
    /// An epoch that has not begun, after one whose highest entry was `earlier`.
    #[must_use]
    pub fn unborn(epoch: Epoch, earlier: EntryId) -> Self {
        Self { epoch, first: EntryId::ZERO, last: EntryId::ZERO, earlier }
    }

    /// Whether the epoch has an entry, or had one.
    #[must_use]
    pub fn is_born(&self) -> bool {
        self.last != EntryId::ZERO
    }

    /// Whether the id of an entry, or of the place before the first one, tells nothing of the epoch by itself.
    #[must_use]
    pub fn is_ambiguous(&self, entry: EntryId) -> bool {
        entry == EntryId::ZERO || entry <= self.earlier
    }

    /// The position of an entry in this epoch, which names the epoch where the entry's id alone does not tell it.
    #[must_use]
    pub fn position(&self, entry: EntryId) -> Position {
        let epoch = self.is_ambiguous(entry).then_some(self.epoch);
        Position { entry, epoch, live: None }
    }
}

/// The position of an entry, given what is known of the log's epoch.
#[must_use]
pub fn position(record: Option<&EpochRecord>, entry: EntryId) -> Position {
    record.map_or_else(|| Position::logged(entry), |record| record.position(entry))
}

/// The position of a live event behind an entry.
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

    /// Further words are ignored, so that a later version can add some.
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
    fn position_names_the_epoch_where_the_entry_does_not_tell_it() {
        let record =
            EpochRecord { first: entry(3), last: entry(9), ..EpochRecord::unborn(Epoch::random(), entry(5)) };
        assert_eq!(record.position(EntryId::ZERO).epoch, Some(record.epoch));
        assert_eq!(record.position(entry(5)).epoch, Some(record.epoch));
        assert_eq!(record.position(entry(6)), Position::logged(entry(6)));
        assert_eq!(position(None, EntryId::ZERO), Position::logged(EntryId::ZERO));
    }

    #[test]
    fn record_of_another_form_is_refused() {
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
            "abcdefghijkl 1-0 2-0 0-0 more=1".parse::<EpochRecord>().is_ok_and(|record| record.is_born())
        );
    }

    proptest! {
        #[test]
        fn record_is_written_and_read_again(first: (u64, u64), last: (u64, u64), earlier: (u64, u64)) {
            let id = |(milliseconds, sequence)| EntryId { milliseconds, sequence };
            let record = EpochRecord { epoch: Epoch::random(), first: id(first), last: id(last), earlier: id(earlier) };
            prop_assert_eq!(record.to_string().parse(), Ok(record));
        }
    }
}
