//! The first message of a stream once its workspace is confirmed.

use bytes::{Bytes, BytesMut};

use super::subscriber::Joined;
use tidings_event::control;
use tidings_event::workspace::WorkspaceId;
use tidings_event::{ConnectionId, SchemaVersion};

/// The `connected` event, and a reset if the client needs one at once.
pub(super) fn connected(
    joined: Joined,
    workspace: &WorkspaceId,
    connection: ConnectionId,
    heartbeat_ms: u64,
    schemas: Option<SchemaVersion>,
) -> Bytes {
    let connected = |position, resumed| {
        control::connected(workspace, position, resumed, connection, heartbeat_ms, schemas)
    };
    match joined {
        Joined::Fresh { position } => connected(Some(&position), false),
        Joined::Resumed { position } => connected(position.as_ref(), true),
        Joined::Newest => connected(None, false),
        Joined::Unproven { reason, from, head } => {
            // This `connected` event has no id. A client whose connection breaks between the two
            // must not take the head for a position that it has reached.
            let mut both = BytesMut::from(&connected(None, false)[..]);
            both.extend_from_slice(&control::reset(reason, from.as_deref(), &head));
            both.freeze()
        }
    }
}
