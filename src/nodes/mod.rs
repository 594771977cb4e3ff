//! Nodes that know of each other: their announcements, and questions to all of them.
//!
//! | part | contents |
//! | --- | --- |
//! | [`question`] | the form of a question on the control channel |
//! | [`reply`] | the form of an announcement and of a reply |
//! | [`announcer`] | announces this node in the store of the bus |
//! | [`responder`] | replies to questions about this node |
//! | [`inquiry`] | asks all nodes, and names those that do not reply |
//! | [`mod@trace`], [`mod@explain`] | what happened to an event, and why a client gets nothing |
//! | [`ticket`] | what a ticket would do |
//! | [`verdict`] | the sentence at the end of an explanation |
//! | [`mod@counted`] | numbers of things in a sentence |
//!
//! Read first: [`NodeQuestion`], [`QuestionResponder`], [`Inquiry`].
//!
//! A question goes to all nodes over the control channel. Each node puts its reply into a shared
//! set of the store, where the asker reads it. So no node needs the address of another one.

mod announcer;
mod counted;
mod explain;
mod inquiry;
pub mod question;
mod reply;
mod responder;
mod ticket;
mod trace;
mod verdict;

pub use announcer::NodeAnnouncer;
pub use explain::{ClientExplanation, ExplainRequest, ExplainRules, explain};
pub use inquiry::{Inquiry, list};
pub use question::{NodeQuestion, QuestionSubject};
pub use reply::{NodeReply, NodeReport, ReplyBody, StreamRow};
pub use responder::{QuestionInbox, QuestionParts, QuestionResponder};
pub use trace::{EventTrace, EventTraceError, trace};

use std::time::{Duration, SystemTime};

/// Milliseconds since the Unix epoch.
fn unix_ms(at: SystemTime) -> u64 {
    milliseconds(at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
