//! Positions of events in a workspace, and their text form.

use std::fmt;
use std::str::FromStr;

use super::epoch::Epoch;
use super::random_name::RandomName;

/// Limits the text of a position, in bytes. A longer `Last-Event-ID` header costs browsers a CORS
/// preflight (Fetch standard, "CORS-safelisted request-header").
pub const POSITION_BYTES_MAX: usize = 128;

/// The id that Redis gives to an entry of a log: milliseconds and a sequence number,
/// `1795373098811-0`.
///
/// The bus assigns each id of a workspace once, in total order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EntryId {
    /// Milliseconds since the Unix epoch, by the clock of the server that assigned the id.
    pub milliseconds: u64,
    /// The number within the millisecond.
    pub sequence: u64,
}

impl EntryId {
    /// The place before every entry.
    pub const ZERO: Self = Self { milliseconds: 0, sequence: 0 };
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.milliseconds, self.sequence)
    }
}

/// Reports that a text is not a position, an entry id, an epoch or a node id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an event id of this broker")]
pub struct PositionError;

impl FromStr for EntryId {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let (milliseconds, sequence) = text.split_once('-').ok_or(PositionError)?;
        Ok(Self { milliseconds: decimal(milliseconds)?, sequence: decimal(sequence)? })
    }
}

/// Parses a decimal number without leading zeros. So one position has one text, and equal positions
/// have equal texts.
fn decimal(text: &str) -> Result<u64, PositionError> {
    let canonical = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    if canonical { text.parse().map_err(|_| PositionError) } else { Err(PositionError) }
}

/// Names one run of a node with eight characters of `a-z 0-9`.
///
/// A node draws the name at each start, because a former run's memory is lost and its positions are
/// not valid any more.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId(RandomName<8>);

impl NodeId {
    /// Draws a new name.
    #[must_use]
    pub fn random() -> Self {
        Self(RandomName::draw())
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for NodeId {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        text.parse().map(Self)
    }
}

/// The part of a position that only one node understands: its count of live events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LivePart {
    /// The node that counted.
    pub node: NodeId,
    /// The count, from 1.
    pub number: u64,
}

/// A place in the order of a workspace: the last durable event at or before it, and the live events
/// after that.
///
/// Its text is the `id:` of a frame. `1795373098811-0` is a durable event,
/// `1795373098811-0~k3v9x2ab.17` a place among live events, `0-0.4f2c91d07be3` the place before a
/// log's first event. The text has only the characters `A-Z a-z 0-9 . _ ~ -`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// The last durable event; [`EntryId::ZERO`] if the node knows none.
    pub entry: EntryId,
    /// The epoch of the log, if the entry's id does not identify it and the node knows it.
    pub epoch: Option<Epoch>,
    /// The place among the live events after the entry, if there are any.
    pub live: Option<LivePart>,
}

impl Position {
    /// Returns the position of a durable event.
    #[must_use]
    pub fn logged(entry: EntryId) -> Self {
        Self { entry, epoch: None, live: None }
    }

    /// Returns whether both are the place of one event. An epoch that one of them lacks does not
    /// count.
    #[must_use]
    pub fn is_same_event(&self, other: &Self) -> bool {
        let is_of_log = self.epoch.is_none() || other.epoch.is_none() || self.epoch == other.epoch;
        self.entry == other.entry && self.live == other.live && is_of_log
    }

    /// Returns whether a client at this position has an event, in a log that was not rolled back.
    #[must_use]
    pub fn reaches(&self, event: &Self) -> bool {
        let reaches_live = match (self.live, event.live) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(here), Some(event)) => here.node == event.node && here.number >= event.number,
        };
        self.entry > event.entry || self.entry == event.entry && reaches_live
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.entry)?;
        if let Some(epoch) = &self.epoch {
            write!(f, ".{epoch}")?;
        }
        if let Some(live) = &self.live {
            write!(f, "~{}.{}", live.node, live.number)?;
        }
        Ok(())
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        if text.len() > POSITION_BYTES_MAX {
            return Err(PositionError);
        }
        let (logged, live) = match text.split_once('~') {
            Some((logged, live)) => (logged, Some(live)),
            None => (text, None),
        };
        let (entry, epoch) = match logged.split_once('.') {
            Some((entry, epoch)) => (entry, Some(epoch.parse()?)),
            None => (logged, None),
        };
        Ok(Self { entry: entry.parse()?, epoch, live: live.map(str::parse).transpose()? })
    }
}

impl FromStr for LivePart {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let (node, number) = text.split_once('.').ok_or(PositionError)?;
        Ok(Self { node: node.parse()?, number: decimal(number)? })
    }
}

#[cfg(test)]
mod tests;
