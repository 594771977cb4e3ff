//! Asks all nodes, and names those that do not reply.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::question::{NodeQuestion, QuestionSubject};
use super::reply::{NodeReply, NodeReport, ReplyBody};
use super::responder::QuestionResponder;
use tidings_bus::{Bus, SharedSet};

/// The time within which nodes reply.
pub(super) const REPLY_TIME: Duration = Duration::from_secs(1);

/// The longest wait for the announcements of nodes.
const LIST_TIME: Duration = Duration::from_secs(1);

/// The pauses between reads of the replies: the first one, and the longest one.
const PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(100)];

/// The replies of all nodes to a question.
#[derive(Debug, Default)]
pub struct Inquiry {
    /// The replies, by node.
    pub(super) replies: Vec<NodeReply>,
    /// The announcements of nodes, by node.
    pub(super) announced: Vec<NodeReport>,
    /// The nodes that announce themselves and did not reply within a second.
    pub silent: Vec<String>,
    /// The members of the sets that are no announcement or reply, or exceed a limit.
    pub unreadable: usize,
    /// The error of the bus, if it could not be asked.
    pub error: Option<String>,
}

impl Inquiry {
    /// Asks all nodes. `own` is the responder of this node, which replies without the bus.
    ///
    /// Returns within two seconds. Without a bus, it has the reply of this node alone. Cancellation
    /// safe.
    pub async fn ask(bus: &dyn Bus, subject: QuestionSubject, own: Option<&QuestionResponder>) -> Self {
        let mut inquiry = Self::default();
        inquiry.read_announced(bus).await;
        let own_reply = async {
            match own {
                Some(own) => own.reply(&subject).await,
                None => None,
            }
        };
        let question = NodeQuestion::new(subject.clone());
        let announced: Vec<_> = inquiry.announced.iter().map(|report| report.node.clone()).collect();
        let (own_reply, asked) = tokio::join!(own_reply, ask_over(bus, &question, &announced));
        let Replies { mut by_node, unreadable, error } = asked;
        if let Some(reply) = own_reply {
            by_node.insert(reply.node.clone(), reply);
        }
        inquiry.silent = announced.into_iter().filter(|node| !by_node.contains_key(node)).collect();
        inquiry.replies = by_node.into_values().collect();
        inquiry.unreadable += unreadable;
        inquiry.error = inquiry.error.or(error);
        inquiry
    }

    /// Reads the announcements of nodes.
    async fn read_announced(&mut self, bus: &dyn Bus) {
        let listed = match timeout(LIST_TIME, bus.list_set(SharedSet::Nodes)).await {
            Ok(Ok(listed)) => listed,
            Ok(Err(error)) => return self.error = Some(error.to_string()),
            Err(_) => return self.error = Some("the bus did not reply in time".to_owned()),
        };
        self.unreadable += listed.left_out;
        let mut by_node = BTreeMap::new();
        for member in &listed.members {
            match NodeReport::parse(member) {
                // The newest one expires last.
                Some(report) => drop(by_node.insert(report.node.clone(), report)),
                None => self.unreadable += 1,
            }
        }
        self.announced = by_node.into_values().collect();
    }
}

/// The replies over the bus.
#[derive(Default)]
struct Replies {
    by_node: BTreeMap<String, NodeReply>,
    unreadable: usize,
    error: Option<String>,
}

/// Sends a question and collects the replies until all announced nodes have replied, for
/// [`REPLY_TIME`] at most.
async fn ask_over(bus: &dyn Bus, question: &NodeQuestion, announced: &[String]) -> Replies {
    let mut replies = Replies::default();
    let deadline = Instant::now() + REPLY_TIME;
    match timeout_at(deadline, bus.send_control(question.message())).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            replies.error = Some(error.to_string());
            return replies;
        }
        Err(_) => {
            replies.error = Some("the bus did not take the question in time".to_owned());
            return replies;
        }
    }
    let [mut pause, longest] = PAUSES;
    loop {
        sleep(pause.min(deadline.saturating_duration_since(Instant::now()))).await;
        pause = (pause * 2).min(longest);
        let is_last = Instant::now() >= deadline;
        let within = if is_last { Instant::now() + longest } else { deadline + longest };
        match timeout_at(within, bus.list_set(SharedSet::Replies(question.id))).await {
            Ok(Ok(listed)) => {
                replies.error = None;
                replies.unreadable = listed.left_out;
                for member in &listed.members {
                    match NodeReply::parse(member).filter(|reply| is_of(&reply.body, &question.subject)) {
                        Some(reply) => drop(replies.by_node.insert(reply.node.clone(), reply)),
                        None => replies.unreadable += 1,
                    }
                }
            }
            Ok(Err(error)) => replies.error = Some(error.to_string()),
            Err(_) => replies.error = Some("the bus did not reply in time".to_owned()),
        }
        let is_complete =
            !announced.is_empty() && announced.iter().all(|node| replies.by_node.contains_key(node));
        if is_complete || is_last {
            return replies;
        }
    }
}

/// Whether a reply is one to a subject.
fn is_of(body: &ReplyBody, subject: &QuestionSubject) -> bool {
    matches!(
        (body, subject),
        (ReplyBody::Report(_), QuestionSubject::Nodes)
            | (ReplyBody::Found(_), QuestionSubject::Find { .. })
            | (ReplyBody::Trace(_), QuestionSubject::Trace { .. })
            | (ReplyBody::Explain(_), QuestionSubject::Explain { .. })
    )
}

/// Returns all nodes: their states, and those that do not reply with the last state that they
/// announced.
pub async fn list(bus: &dyn Bus, own: Option<&QuestionResponder>) -> (Vec<NodeReport>, Inquiry) {
    let inquiry = Inquiry::ask(bus, QuestionSubject::Nodes, own).await;
    let mut by_node: BTreeMap<String, NodeReport> =
        inquiry.announced.iter().map(|report| (report.node.clone(), report.clone())).collect();
    for reply in &inquiry.replies {
        if let ReplyBody::Report(report) = &reply.body {
            by_node.insert(reply.node.clone(), report.clone());
        }
    }
    (by_node.into_values().collect(), inquiry)
}
