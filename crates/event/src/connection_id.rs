//! The connection id: the name of one stream.

use std::fmt;
use std::str::FromStr;

use super::position::NodeId;

/// Names one stream: the id of its node, a dot, and a number that the node uses once.
///
/// The `connected` event carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    /// The node that serves the stream.
    pub node: NodeId,
    /// The number of the stream on its node, from 1.
    pub number: u64,
}

/// Reports that a text is not a connection id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a connection id: a node id, a dot and a number, as in the `connected` event")]
pub struct ConnectionIdError;

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node.as_str(), self.number)
    }
}

impl FromStr for ConnectionId {
    type Err = ConnectionIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (node, number) = text.rsplit_once('.').ok_or(ConnectionIdError)?;
        let id = Self {
            node: node.parse().map_err(|_| ConnectionIdError)?,
            number: number.parse().map_err(|_| ConnectionIdError)?,
        };
        // `017` and `+17` parse as numbers, but an id has one spelling.
        if id.to_string() == text { Ok(id) } else { Err(ConnectionIdError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_id_has_one_spelling() {
        let id = ConnectionId { node: NodeId::random(), number: 17 };
        assert_eq!(id.to_string().parse(), Ok(id));
        let node = id.node.as_str();
        for wrong in ["", "7", &format!("{node}."), &format!("{node}.017"), &format!("{node}.+17"), ".17"] {
            assert_eq!(wrong.parse::<ConnectionId>(), Err(ConnectionIdError), "{wrong}");
        }
    }
}
