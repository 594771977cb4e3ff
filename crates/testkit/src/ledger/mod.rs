//! The loss ledger: what proves that no event is lost without a reset.
//!
//! Publishers number their events and record the acknowledgements. Clients record their events and
//! resets. A test breaks something meanwhile. At the end [`Verdict`] compares the two. A line of
//! sums for each [`Setup`] goes to stderr past the test harness, so that it shows for passing tests
//! too.
//!
//! | part | contents |
//! | --- | --- |
//! | `records` | the records |
//! | `facts` | the knowledge of publishers, and the claims of a reset about it |
//! | `verdict` | the judgement, pure |
//! | `publisher` | publishes numbered events in every way there is |
//! | `cluster_link` | the link of a publisher to the server of its workspace in a cluster |
//! | `client` | an EventSource that goes to another broker each time it reconnects |
//! | `loss` | the logs of servers that have lost entries |
//! | `setup` | brokers, publishers and clients on a Redis server or the embedded bus |

mod client;
mod cluster_link;
mod facts;
mod loss;
mod publisher;
mod records;
mod setup;
mod verdict;

pub use client::LedgerClient;
pub use publisher::{LiveShare, Publisher, SCRIPT, Settings, Way};
pub use setup::{Clients, Mixed, Setting, Setup, print, tell};
pub use verdict::{Sums, Verdict};
