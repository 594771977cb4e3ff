//! The output that waits for one Redis client.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::listener::budget::{Charge, ClientBudget, ClientUsage, OverBudget, SharedCharge};
use crate::protocol::reply::{Protocol, Reply, SharedReply};

/// The most that is gathered for one write. More would only be copied for nothing: the kernel
/// takes about so much.
const WRITE_BYTES: usize = 64 * 1024;

/// The memory of a waiting chunk besides its bytes, so that many small ones are bounded too.
const CHUNK_OVERHEAD: usize = size_of::<OutputChunk>();

/// The output queue of one client: replies and messages, in the order in which the client gets
/// them.
///
/// It is bounded in bytes. A client that falls behind further is disconnected, as in Redis: it
/// alone loses messages, and it notices.
#[derive(Debug)]
pub(crate) struct OutputBuffer {
    usage: Arc<ClientUsage>,
    queue: Mutex<OutputQueue>,
    /// Notifies the writer of bytes to write, or of the end.
    filled: Notify,
    /// Notifies the task that disconnects the client.
    overrun: Notify,
    /// For the one reader of commands: less waits than before.
    drained: Notify,
}

#[derive(Debug, Default)]
struct OutputQueue {
    bytes_max: usize,
    protocol: Protocol,
    chunks: VecDeque<OutputChunk>,
    bytes: usize,
    end: Option<OutputEnd>,
}

impl OutputQueue {
    fn has_space(&self) -> bool {
        self.bytes <= self.bytes_max / 2
    }
}

/// Bytes to write, and their charge until they are written.
#[derive(Debug)]
pub(crate) struct OutputChunk {
    pub(crate) bytes: Bytes,
    _charge: Charge,
    _shared: Option<Arc<SharedCharge>>,
}

/// Why nothing is queued any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OutputEnd {
    /// The session is over; the output is still written.
    Finished,
    /// The client fell behind by more than the limit; its output is dropped.
    Overrun,
    /// All clients together held too much, and this one the most; its output is dropped.
    Evicted,
}

impl OutputBuffer {
    /// An empty queue that holds at most so many bytes, of a client of its own.
    #[cfg(test)]
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Self::within(&ClientBudget::new(usize::MAX), bytes_max)
    }

    /// An empty queue that holds at most so many bytes, which count among those of all clients.
    pub(crate) fn within(budget: &Arc<ClientBudget>, bytes_max: usize) -> Arc<Self> {
        Arc::new_cyclic(|output_buffer| Self {
            usage: ClientUsage::new(budget, output_buffer.clone()),
            queue: Mutex::new(OutputQueue { bytes_max, ..OutputQueue::default() }),
            filled: Notify::new(),
            overrun: Notify::new(),
            drained: Notify::new(),
        })
    }

    /// The memory of the client.
    pub(crate) fn usage(&self) -> &Arc<ClientUsage> {
        &self.usage
    }

    /// Holds at most so many bytes from now on. Nothing that waits already is discarded by it.
    pub(crate) fn set_bytes_max(&self, bytes_max: usize) {
        self.queue.lock().bytes_max = bytes_max;
    }

    /// The version of the protocol that the client speaks.
    pub(crate) fn protocol(&self) -> Protocol {
        self.queue.lock().protocol
    }

    /// The client speaks another version from the next reply on.
    pub(crate) fn set_protocol(&self, protocol: Protocol) {
        self.queue.lock().protocol = protocol;
    }

    /// Queues a reply. One that takes more than half of the limit becomes an error, and the client
    /// can ask for less. So a reply alone disconnects no client that waits for [`Self::has_space`]
    /// before it.
    pub(crate) fn reply(&self, reply: &Reply) {
        let (most, protocol) = (self.reply_bytes_max(), self.protocol());
        let mut bytes = reply.encode(protocol);
        if bytes.len() > most {
            bytes = too_large(most).encode(protocol);
        }
        let charge = self.usage.try_hold(bytes.len() + CHUNK_OVERHEAD).unwrap_or_else(|over| {
            bytes = Reply::from(over).encode(protocol);
            self.usage.hold(bytes.len() + CHUNK_OVERHEAD, 0)
        });
        self.push(OutputChunk { bytes, _charge: charge, _shared: None });
    }

    /// The largest reply that the client gets.
    pub(crate) fn reply_bytes_max(&self) -> usize {
        self.queue.lock().bytes_max / 2
    }

    /// Queues a message for many clients.
    pub(crate) fn broadcast(&self, broadcast: &SharedReply) {
        let (bytes, shared) = broadcast.bytes(self.protocol(), self.usage.budget());
        match self.usage.try_hold_shared(CHUNK_OVERHEAD, bytes.len()) {
            Ok(charge) => self.push(OutputChunk { bytes, _charge: charge, _shared: Some(shared) }),
            Err(OverBudget) => self.evict(),
        }
    }

    fn push(&self, chunk: OutputChunk) {
        let mut queue = self.queue.lock();
        if queue.end.is_some() {
            return;
        }
        queue.bytes += chunk.bytes.len() + CHUNK_OVERHEAD;
        if queue.bytes > queue.bytes_max {
            drop(queue);
            self.disconnect(OutputEnd::Overrun);
        } else {
            queue.chunks.push_back(chunk);
            self.filled.notify_one();
        }
    }

    /// Disconnects the client, because all together hold too much and this one the most.
    pub(crate) fn evict(&self) {
        self.disconnect(OutputEnd::Evicted);
    }

    fn disconnect(&self, end: OutputEnd) {
        let mut queue = self.queue.lock();
        if queue.end.is_none_or(|end| end == OutputEnd::Finished) {
            queue.end = Some(end);
        }
        let discarded = std::mem::take(&mut queue.chunks);
        drop(queue);
        drop(discarded);
        self.overrun.notify_one();
    }

    /// Whether the client was disconnected, by the limit on its own output or by that on all.
    pub(crate) fn is_disconnected(&self) -> bool {
        matches!(self.queue.lock().end, Some(OutputEnd::Overrun | OutputEnd::Evicted))
    }

    /// Whether the client was disconnected by the limit on all.
    pub(crate) fn is_evicted(&self) -> bool {
        self.queue.lock().end == Some(OutputEnd::Evicted)
    }

    /// Ends the session once the output is written.
    pub(crate) fn finish(&self) {
        self.queue.lock().end.get_or_insert(OutputEnd::Finished);
        self.filled.notify_one();
    }

    /// Waits for the next bytes to write; `None` at the end. The returned bytes no longer count as
    /// waiting. Cancellation safe; for one waiter.
    pub(crate) async fn next(&self) -> Option<OutputChunk> {
        loop {
            if let Some(bytes) = self.take() {
                self.drained.notify_one();
                return Some(bytes);
            }
            if self.queue.lock().end == Some(OutputEnd::Finished) {
                return None;
            }
            self.filled.notified().await;
        }
    }

    fn take(&self) -> Option<OutputChunk> {
        let mut queue = self.queue.lock();
        let first = queue.chunks.pop_front()?;
        queue.bytes -= first.bytes.len() + CHUNK_OVERHEAD;
        // A large chunk goes out as it is, shared with the other subscribers; small ones go out
        // together.
        if queue.chunks.is_empty() || first.bytes.len() >= WRITE_BYTES {
            return Some(first);
        }
        let mut batch = BytesMut::from(&first.bytes[..]);
        while let Some(OutputChunk { bytes, .. }) =
            queue.chunks.pop_front_if(|chunk| batch.len() + chunk.bytes.len() <= WRITE_BYTES)
        {
            queue.bytes -= bytes.len() + CHUNK_OVERHEAD;
            batch.extend_from_slice(&bytes);
        }
        let charge = self.usage.hold(batch.len(), 0);
        Some(OutputChunk { bytes: batch.freeze(), _charge: charge, _shared: None })
    }

    /// Waits until the client has fallen behind by more than the bound. Cancellation safe; meant
    /// for one waiter.
    pub(crate) async fn overrun(&self) {
        while !self.is_disconnected() {
            self.overrun.notified().await;
        }
    }

    /// Waits until less than half of the limit waits. So a client that sends commands and reads no
    /// replies has to wait before it is disconnected. Cancellation safe; for one waiter.
    pub(crate) async fn has_space(&self) {
        while !self.queue.lock().has_space() {
            self.drained.notified().await;
        }
    }
}

/// The error for a reply that is too large.
pub(crate) fn too_large(most: usize) -> Reply {
    Reply::Error(format!(
        "ERR the reply has more than {most} bytes, half of embedded.output_bytes: ask for less, as with COUNT"
    ))
}

#[cfg(test)]
mod tests;
