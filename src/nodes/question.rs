//! Questions to all nodes, as messages of the control channel.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use tidings_event::workspace::WorkspaceId;
use tidings_event::{Position, QuestionId, TokenId, UserId};

/// Limits a question, in bytes.
const BYTES_MAX: usize = 2048;

/// The first bytes of a question. Every other message of the control channel is a command.
const PREFIX: &[u8] = br#"{"ask":"#;

/// Limits the text after which a client continues, in bytes: that of a `Last-Event-ID`.
const AFTER_BYTES_MAX: usize = 128;

/// A question to all nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeQuestion {
    /// Names the question, and the set of its replies.
    pub id: QuestionId,
    /// The subject.
    pub subject: QuestionSubject,
}

/// The subject of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuestionSubject {
    /// The state of the node.
    Nodes,
    /// The workspaces that hold an event in memory.
    Find {
        /// The event.
        event: Position,
    },
    /// The place of an event, and the streams that have it.
    Trace {
        /// The workspace.
        workspace: WorkspaceId,
        /// The event.
        event: Position,
    },
    /// The streams of a client, and what rejects or resets it.
    Explain {
        /// The workspace.
        workspace: WorkspaceId,
        /// The user; `None` for all.
        user: Option<UserId>,
        /// The id of the token, which a ban may name.
        token: Option<TokenId>,
        /// The text after which the client continues.
        after: Option<String>,
    },
}

/// The reason for which a message is not a valid question. A node ignores such a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// The message is too long.
    #[error("a question has at most {BYTES_MAX} bytes")]
    TooLong,
    /// The message has another form.
    #[error("expected {{\"ask\":{{\"id\":…}}}} with one of nodes, find, trace and explain: {0}")]
    Form(String),
    /// The message has no subject, or several.
    #[error("a question has one of nodes, find, trace and explain")]
    Subject,
    /// A value has another form.
    #[error("`{0}` is not valid")]
    Value(&'static str),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct QuestionMessage {
    ask: AskMessage,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskMessage {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<NodesMessage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    find: Option<FindMessage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<TraceMessage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explain: Option<ExplainMessage>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodesMessage {}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FindMessage {
    event: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TraceMessage {
    workspace: String,
    event: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExplainMessage {
    workspace: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

impl NodeQuestion {
    /// Creates a question with a name of its own.
    #[must_use]
    pub fn new(subject: QuestionSubject) -> Self {
        Self { id: QuestionId::random(), subject }
    }

    /// Returns whether a message of the control channel is a question, valid or not.
    #[must_use]
    pub fn is_question(message: &[u8]) -> bool {
        message.starts_with(PREFIX)
    }

    /// Parses a message of the control channel.
    ///
    /// # Errors
    ///
    /// Returns a [`QuestionError`] with the reason.
    pub fn parse(message: &[u8]) -> Result<Self, QuestionError> {
        if message.len() > BYTES_MAX {
            return Err(QuestionError::TooLong);
        }
        let QuestionMessage { ask } =
            serde_json::from_slice(message).map_err(|error| QuestionError::Form(error.to_string()))?;
        let id = ask.id.parse().map_err(|_| QuestionError::Value("id"))?;
        let subject = match (ask.nodes, ask.find, ask.trace, ask.explain) {
            (Some(NodesMessage {}), None, None, None) => QuestionSubject::Nodes,
            (None, Some(FindMessage { event }), None, None) => {
                QuestionSubject::Find { event: position(&event)? }
            }
            (None, None, Some(TraceMessage { workspace: id, event }), None) => {
                QuestionSubject::Trace { workspace: workspace(&id)?, event: position(&event)? }
            }
            (None, None, None, Some(ExplainMessage { workspace: id, user, jti, after })) => {
                if after.as_ref().is_some_and(|after| after.len() > AFTER_BYTES_MAX) {
                    return Err(QuestionError::Value("after"));
                }
                let user = user.map(|user| UserId::parse(&user)).transpose();
                let token = jti.map(|jti| TokenId::parse(&jti)).transpose();
                QuestionSubject::Explain {
                    workspace: workspace(&id)?,
                    user: user.map_err(|_| QuestionError::Value("user"))?,
                    token: token.map_err(|_| QuestionError::Value("jti"))?,
                    after,
                }
            }
            _ => return Err(QuestionError::Subject),
        };
        Ok(Self { id, subject })
    }

    /// Returns the message for the control channel.
    #[must_use]
    pub fn message(&self) -> Bytes {
        let mut ask = AskMessage { id: self.id.to_string(), ..AskMessage::default() };
        match &self.subject {
            QuestionSubject::Nodes => ask.nodes = Some(NodesMessage {}),
            QuestionSubject::Find { event } => ask.find = Some(FindMessage { event: event.to_string() }),
            QuestionSubject::Trace { workspace, event } => {
                ask.trace = Some(TraceMessage { workspace: workspace.to_string(), event: event.to_string() });
            }
            QuestionSubject::Explain { workspace, user, token, after } => {
                ask.explain = Some(ExplainMessage {
                    workspace: workspace.to_string(),
                    user: user.as_ref().map(|user| user.as_str().to_owned()),
                    jti: token.as_ref().map(|token| token.as_str().to_owned()),
                    after: after.as_deref().map(cut).map(str::to_owned),
                });
            }
        }
        // Texts and options alone, so this never fails.
        serde_json::to_vec(&QuestionMessage { ask }).unwrap_or_default().into()
    }
}

/// The part of a client's text that a node keeps of a `Last-Event-ID`.
fn cut(after: &str) -> &str {
    &after[..after.floor_char_boundary(AFTER_BYTES_MAX)]
}

fn workspace(text: &str) -> Result<WorkspaceId, QuestionError> {
    WorkspaceId::parse(text).map_err(|_| QuestionError::Value("workspace"))
}

fn position(text: &str) -> Result<Position, QuestionError> {
    text.parse().map_err(|_| QuestionError::Value("event"))
}

#[cfg(test)]
mod tests;
