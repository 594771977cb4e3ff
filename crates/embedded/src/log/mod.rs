//! The logs of the embedded bus. No I/O, no clock: the caller passes the time.
//!
//! | part | what it holds |
//! | --- | --- |
//! | `entry` | entries, their fields, and which id a new one gets |
//! | `stream` | one log, and what it drops |
//! | `page` | reading a log, and whether what is read connects to what was known |
//! | `logs` | all logs: when each ends, what they take together |
//! | `publish`, `idempotency_cache` | publishing as the script does, and idempotency keys |
//! | `beside` | the data beside each log: its epoch, and the mark of live events |
//! | `change` | changes, for the disk |

mod beside;
mod change;
mod entry;
mod idempotency_cache;
pub(crate) mod log_writer;
mod logs;
mod page;
mod publish;
mod stream;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use change::BesideKind;
pub(crate) use change::{Header, LogChange};
pub(crate) use entry::{Fields, ID_MAX, RequestedId, StreamEntry};
pub(crate) use idempotency_cache::IdempotencyBounds;
pub(crate) use logs::{LogSettings, Logs};
pub(crate) use publish::{NotPublished, Publish};
pub(crate) use stream::{Excess, LogStream, StreamTally};
