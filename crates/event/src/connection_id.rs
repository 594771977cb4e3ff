//! The name of a stream.

use std::fmt;
use std::str::FromStr;

use super::position::NodeId;

/// The id of a stream: the node that serves it, a dot, and a number that the node never uses twice. The hello tells it to
/// the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    /// The node.
    pub node: NodeId,
    /// The number, from 1.
    pub number: u64,
}

/// A text is no id of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a connection id is a node, a dot and a number, as the hello has it")]
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
        // One spelling only.
        if id.to_string() == text { Ok(id) } else { Err(ConnectionIdError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_id_has_one_spelling() {
        let id = ConnectionId { node: NodeId::random(), number: 17 };
        assert_eq!(id.to_string().parse(), Ok(id));
        let node = id.node.as_str();
        for wrong in ["", "7", &format!("{node}."), &format!("{node}.017"), &format!("{node}.+17"), ".17"] {
            assert_eq!(wrong.parse::<ConnectionId>(), Err(ConnectionIdError), "{wrong}");
        }
    }
}
