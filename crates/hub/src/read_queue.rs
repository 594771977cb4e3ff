//! What the hub wants read of logs. The hub does no I/O: whoever does takes the wishes from here and brings the answers to
//! [`Hub::answer`](super::Hub::answer).

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::pages::Pages;
use tidings_event::log::Span;
use tidings_event::workspace::WorkspaceId;

/// One wish out of so many is one of clients that come back, where there is one.
const SHARE: usize = 4;

/// How many clients are looked at for one whose page has room.
const TRIED: usize = 8;

/// Stands for a client whose reads take turns with those of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReaderId(u64);

impl ReaderId {
    /// The client that `key` names. In 64 bits: two that share one by chance share turns too.
    #[must_use]
    pub fn of(key: &impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// A wish to have a part of a workspace's log read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRead {
    /// Whose log.
    pub workspace: WorkspaceId,
    /// Which part.
    pub span: Span,
    /// How long to wait before it is read.
    pub pause: Duration,
    /// Which life of the workspace on this node asked. What a former one was answered is older than its successor's
    /// subscription.
    pub(super) incarnation: u64,
    /// Who asked.
    pub(super) asker: ReadOrigin,
}

/// Who asked for a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadOrigin {
    /// The workspace itself, to catch up; the number tells an answer that is still wanted from one that is not.
    Workspace(u64),
    /// Subscribers that come back.
    Replay {
        /// The client that was the first to want the page; all that nothing is known of are one.
        reader: Option<ReaderId>,
    },
    /// The workspace, after its subscription was confirmed: have live events been marked meanwhile?
    Look {
        /// Which look it is.
        number: u64,
    },
}

/// Wishes in order. A workspace has one at a time for itself, and a bounded number for places that subscribers come back to.
#[derive(Debug)]
pub struct ReadQueue {
    wishes: Mutex<ReadRequests>,
    added: Notify,
    pages: Arc<Pages>,
}

#[derive(Debug, Default)]
struct ReadRequests {
    /// Live subscribers wait for these.
    of_workspaces: VecDeque<LogRead>,
    /// Looks at marks, which bring no page.
    looks: VecDeque<LogRead>,
    /// Clients that come back wait for these.
    of_replays: Turns,
    /// How many of the first were taken since one of the others was.
    in_row: usize,
}

/// Wishes of clients that take turns.
#[derive(Debug, Default)]
struct Turns {
    /// The clients that have some, the next one in front.
    readers: VecDeque<Option<ReaderId>>,
    wishes: HashMap<Option<ReaderId>, VecDeque<LogRead>>,
}

impl Turns {
    fn push(&mut self, reader: Option<ReaderId>, read: LogRead) {
        let wishes = self.wishes.entry(reader).or_default();
        if wishes.is_empty() {
            self.readers.push_back(reader);
        }
        wishes.push_back(read);
    }

    /// The next wish for whose page there is room.
    fn take(&mut self, mut has_room: impl FnMut(Option<ReaderId>) -> bool) -> Option<LogRead> {
        for _ in 0..self.readers.len().min(TRIED) {
            let reader = self.readers.pop_front()?;
            let read = if has_room(reader) { self.wishes.get_mut(&reader)?.pop_front() } else { None };
            if self.wishes.get(&reader).is_some_and(VecDeque::is_empty) {
                self.wishes.remove(&reader);
            } else {
                self.readers.push_back(reader);
            }
            if read.is_some() {
                return read;
            }
        }
        None
    }
}

impl ReadQueue {
    pub(super) fn new(pages: Arc<Pages>) -> Self {
        Self { wishes: Mutex::default(), added: Notify::new(), pages }
    }

    pub(super) fn push(&self, read: LogRead) {
        let mut wishes = self.wishes.lock();
        match read.asker {
            ReadOrigin::Workspace(_) => wishes.of_workspaces.push_back(read),
            ReadOrigin::Look { .. } => wishes.looks.push_back(read),
            ReadOrigin::Replay { reader } => wishes.of_replays.push(reader, read),
        }
        drop(wishes);
        self.added.notify_one();
    }

    /// The next wish, without waiting. What live subscribers wait for comes first, but each [`SHARE`]th wish is one of clients that
    /// come back, so that workspaces which want one read after the other hold up nobody else. Clients that come back take turns, and
    /// wait while there is no room for a page.
    pub fn take(&self) -> Option<LogRead> {
        let mut wishes = self.wishes.lock();
        if wishes.in_row < SHARE - 1
            && let Some(read) = wishes.of_workspaces.pop_front()
        {
            wishes.in_row += 1;
            return Some(read);
        }
        wishes.in_row = 0;
        let now = Instant::now();
        let read = wishes.looks.pop_front();
        let read = read.or_else(|| wishes.of_replays.take(|reader| self.pages.begin(reader, now)));
        read.or_else(|| wishes.of_workspaces.pop_front())
    }

    /// A read for a client has ended, or memory was given back: there may be room for a page.
    pub(super) fn made_room(&self) {
        if !self.wishes.lock().of_replays.readers.is_empty() {
            self.added.notify_one();
        }
    }

    /// Waits for the next wish. Cancellation safe; for one waiter.
    pub async fn next(&self) -> LogRead {
        loop {
            if let Some(read) = self.take() {
                return read;
            }
            self.added.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(asker: ReadOrigin) -> LogRead {
        let workspace = WorkspaceId::parse("acme").unwrap();
        LogRead { workspace, span: Span::Head, pause: Duration::ZERO, incarnation: 0, asker }
    }

    #[test]
    fn workspaces_that_read_without_end_hold_up_no_client() {
        let pages = Pages::new(prometheus_client::metrics::gauge::Gauge::default(), 1 << 26, 1 << 20);
        let reads = ReadQueue::new(Arc::new(pages));
        let replay = ReadOrigin::Replay { reader: None };
        (0..100).for_each(|ticket| reads.push(read(ReadOrigin::Workspace(ticket))));
        reads.push(read(replay));
        let before = std::iter::from_fn(|| reads.take()).take_while(|read| read.asker != replay);
        assert_eq!(before.count(), SHARE - 1);
        assert_eq!(std::iter::from_fn(|| reads.take()).count(), 100 - (SHARE - 1));
    }
}
