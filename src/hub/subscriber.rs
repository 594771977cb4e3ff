//! One client of a workspace.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::ring::At;
use super::view::View;
use super::workspace::{Link, WorkspaceCell};
use crate::event::Position;
use crate::event::control::ResetReason;
use crate::workspace::WorkspaceId;

/// Where a client says it has been: the text of its `Last-Event-ID`, and the place that it names if it names one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    text: Box<str>,
    position: Option<Position>,
}

impl Resume {
    /// Takes what the client sent, whatever it is.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { text: Box::from(text), position: text.parse().ok() }
    }
}

/// A subscriber of a workspace: a cursor into its ring and a view of it. It leaves the workspace by being dropped.
#[derive(Debug)]
pub struct Subscriber {
    cell: Arc<WorkspaceCell>,
    slot: usize,
    view: View,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Waiting for the bus to confirm the workspace.
    Held { resume: Option<Resume> },
    /// Reading.
    Reading { cursor: u64, position: Position },
}

/// How a subscriber begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joined {
    /// At the head; nothing before it was asked for.
    Fresh {
        /// The head.
        position: Position,
    },
    /// Right after the place it named; what it missed follows.
    Resumed {
        /// The place it named.
        position: Position,
    },
    /// At the head, although it named a place: what lies between may be missing to it.
    Unproven {
        /// What it named.
        from: Box<str>,
        /// The head.
        head: Position,
    },
}

/// What a subscriber gets next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The workspace is confirmed: nothing is missed from here on. Comes first, and once.
    Joined(Joined),
    /// An event's bytes, shared with all other subscribers.
    Frame(Bytes),
    /// What came next is no longer in the ring: the client was too slow. Nothing follows.
    Lagging,
    /// The bus refuses the workspace. Nothing follows.
    Refused,
}

impl Subscriber {
    pub(super) fn new(cell: Arc<WorkspaceCell>, slot: usize, resume: Option<Resume>, view: View) -> Self {
        Self { cell, slot, view, stage: Stage::Held { resume } }
    }

    /// The workspace.
    #[must_use]
    pub fn workspace(&self) -> &WorkspaceId {
        self.cell.id()
    }

    /// The place up to which the client has everything it wants; `None` until the subscriber has joined.
    #[must_use]
    pub fn position(&self) -> Option<&Position> {
        match &self.stage {
            Stage::Held { .. } => None,
            Stage::Reading { position, .. } => Some(position),
        }
    }

    /// Whether events reach the node at the moment.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.cell.lock().link == Link::Live
    }

    /// Waits until the workspace is confirmed or refused: `true` if confirmed. Cancellation safe; takes nothing away
    /// from [`poll_next`](Self::poll_next).
    pub async fn settled(&self) -> bool {
        std::future::poll_fn(|context| {
            let mut state = self.cell.lock();
            match &state.link {
                Link::Live => Poll::Ready(true),
                Link::Refused(_) => Poll::Ready(false),
                Link::Pending | Link::Interrupted => {
                    state.wait(self.slot, context);
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// What the client gets next. Wakes the task of the last call only.
    pub fn poll_next(&mut self, context: &Context<'_>) -> Poll<Next> {
        let mut state = self.cell.lock();
        if matches!(state.link, Link::Refused(_)) {
            return Poll::Ready(Next::Refused);
        }
        let (cursor, position) = match &mut self.stage {
            Stage::Held { resume } => {
                if state.link != Link::Live {
                    state.wait(self.slot, context);
                    return Poll::Pending;
                }
                let head = (state.ring.head(), state.ring.head_position());
                let (cursor, position, joined) = match resume.take() {
                    None => (head.0, head.1, Joined::Fresh { position: head.1 }),
                    Some(Resume { text, position }) => {
                        let proven = position
                            .and_then(|position| Some((state.ring.cursor_after(&position)?, position)));
                        match proven {
                            Some((cursor, position)) => (cursor, position, Joined::Resumed { position }),
                            None => (head.0, head.1, Joined::Unproven { from: text, head: head.1 }),
                        }
                    }
                };
                drop(state);
                self.stage = Stage::Reading { cursor, position };
                if let Joined::Unproven { .. } = joined {
                    self.cell.shared().metrics.count_reset(ResetReason::UnknownPosition);
                }
                return Poll::Ready(Next::Joined(joined));
            }
            Stage::Reading { cursor, position } => (cursor, position),
        };
        loop {
            match state.ring.at(*cursor) {
                At::Frame(frame) => {
                    *cursor += 1;
                    *position = *frame.position();
                    if let Some(bytes) = self.view.bytes(frame) {
                        return Poll::Ready(Next::Frame(bytes.clone()));
                    }
                }
                At::Head => {
                    state.wait(self.slot, context);
                    return Poll::Pending;
                }
                At::FallenOut => return Poll::Ready(Next::Lagging),
            }
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.cell.leave(self.slot);
    }
}
