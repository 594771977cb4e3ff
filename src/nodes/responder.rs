//! Replies to questions about this node.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::inquiry::REPLY_TIME;
use super::question::{NodeQuestion, QuestionSubject};
use super::reply::{
    NodeExplanation, NodeReply, NodeReport, NodeTrace, RefusalRow, ReplyBody, ResumptionReport,
    ResumptionSource, StreamNumbers, StreamRow, TracePlace, bounded,
};
use super::{milliseconds, unix_ms};
use crate::admin::Node;
use crate::build;
use crate::telemetry::{RecentLines, RecentRefusal};
use tidings_auth::Authenticator;
use tidings_bus::{Bus, SetChange, SharedSet};
use tidings_delivery::engine::Engine;
use tidings_delivery::{EventStreams, StreamList, StreamSettings, TracedEvent};
use tidings_event::workspace::WorkspaceId;
use tidings_event::{Keys, Position, TokenId, UserId};
use tidings_hub::{EventPlace, Hub, Resume, Resumption};
use tidings_limits::StreamRegistry;
use tidings_metrics::{Metrics, Throttle};

/// Limits the questions that wait.
const QUEUE: usize = 32;

/// Limits the questions that are being replied.
const CONCURRENT: usize = 4;

/// Limits the questions of a second. The node ignores further ones.
const PER_SECOND: u32 = 20;

/// The time after which a reply expires by the clock of the bus.
const LIFETIME: Duration = Duration::from_secs(10);

/// The longest wait for the writers or the log. The reply has to arrive within [`REPLY_TIME`].
const PATIENCE: Duration = Duration::from_millis(600);

/// The streams of a reply.
const STREAMS_MAX: usize = 50;

/// The streams among which those that lack the most are found.
const STREAMS_READ_MAX: usize = 2000;

/// The workspaces of a reply.
const FOUND_MAX: usize = 10;

/// The rejected requests of a reply.
const REFUSALS_MAX: usize = 20;

/// The parts of the node that know the replies.
#[derive(Debug, Clone)]
pub struct QuestionParts {
    /// The node.
    pub node: Arc<Node>,
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// The workspaces.
    pub hub: Arc<Hub>,
    /// The open streams.
    pub registry: Arc<StreamRegistry>,
    /// Knows the bans.
    pub authenticator: Arc<Authenticator>,
    /// The settings of streams, and the streams of the HTTP server.
    pub streams: Arc<StreamSettings>,
    /// The engine; `None` if the HTTP server writes all streams.
    pub engine: Option<Arc<Engine>>,
    /// The last rejected requests.
    pub lines: RecentLines,
    /// Whether replies show the event types that streams ask for.
    pub payloads: bool,
    /// The URL of the console, if the operator has set one.
    pub url: Option<String>,
}

/// Receives questions from the bus without waiting.
#[derive(Debug, Clone)]
pub struct QuestionInbox {
    questions: mpsc::Sender<(Bytes, Instant)>,
    full_log: Arc<Throttle>,
}

impl QuestionInbox {
    /// Creates an inbox, and the queue that [`QuestionResponder::run`] reads.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<(Bytes, Instant)>) {
        let (questions, queue) = mpsc::channel(QUEUE);
        (Self { questions, full_log: Arc::default() }, queue)
    }

    /// Queues a question. The asker names a node whose queue is full as one without a reply.
    pub fn receive(&self, message: Bytes) {
        if self.questions.try_send((message, Instant::now())).is_err()
            && let Some(silenced) = self.full_log.pass()
        {
            tracing::warn!(silenced, "questions to all nodes arrive faster than this node replies");
        }
    }
}

/// Replies to questions about one node.
#[derive(Debug)]
pub struct QuestionResponder {
    parts: QuestionParts,
    bad_log: Throttle,
    failed_log: Throttle,
}

impl QuestionResponder {
    /// Creates a responder. [`run`](Self::run) has to run beside it.
    #[must_use]
    pub fn new(parts: QuestionParts) -> Self {
        Self { parts, bad_log: Throttle::default(), failed_log: Throttle::default() }
    }

    /// Replies to the questions of the queue until `stop` is cancelled.
    pub async fn run(self: Arc<Self>, queue: mpsc::Receiver<(Bytes, Instant)>, stop: CancellationToken) {
        let questions = futures_util::stream::unfold(queue, async |mut queue| {
            let question = queue.recv().await?;
            Some((question, queue))
        });
        let (mut second, mut count) = (Instant::now(), 0);
        let admitted = questions.filter(|_| {
            if second.elapsed() >= Duration::from_secs(1) {
                (second, count) = (Instant::now(), 0);
            }
            count += 1;
            std::future::ready(count <= PER_SECOND)
        });
        let replying = admitted.for_each_concurrent(CONCURRENT, |(message, received)| {
            let this = Arc::clone(&self);
            async move { this.handle(&message, received).await }
        });
        tokio::select! {
            () = replying => {}
            () = stop.cancelled() => {}
        }
    }

    async fn handle(&self, message: &[u8], received: Instant) {
        // The asker no longer waits for a reply.
        if received.elapsed() >= REPLY_TIME {
            return;
        }
        let question = match NodeQuestion::parse(message) {
            Ok(question) => question,
            Err(error) => {
                self.metrics().control_commands_invalid.inc();
                if let Some(silenced) = self.bad_log.pass() {
                    tracing::warn!(%error, silenced, "a question is not valid, and the node ignores it");
                }
                return;
            }
        };
        let Some(reply) = self.reply(&question.subject).await else { return };
        let change = SetChange { add: reply.encode(), lifetime: LIFETIME, ..SetChange::default() };
        let replied = self.parts.bus.change_set(SharedSet::Replies(question.id), change).await;
        if let Err(error) = replied
            && let Some(silenced) = self.failed_log.pass()
        {
            tracing::warn!(%error, silenced, "the reply to a question could not be stored");
        }
    }

    /// Returns the reply of this node, within a bounded time. `None` if a writer of streams does not
    /// respond: a reply without its streams would say that there are none.
    pub async fn reply(&self, subject: &QuestionSubject) -> Option<NodeReply> {
        let body = match subject {
            QuestionSubject::Nodes => ReplyBody::Report(self.report()),
            QuestionSubject::Find { event } => {
                // It visits all rings.
                let (hub, event) = (Arc::clone(&self.parts.hub), *event);
                let found = tokio::task::spawn_blocking(move || hub.find(&event, FOUND_MAX)).await;
                let found = found.unwrap_or_default();
                ReplyBody::Found(found.iter().map(ToString::to_string).collect())
            }
            QuestionSubject::Trace { workspace, event } => {
                ReplyBody::Trace(self.trace(workspace, event).await?)
            }
            QuestionSubject::Explain { workspace, user, token, after } => ReplyBody::Explain(
                self.explain(workspace, user.as_ref(), token.as_ref(), after.as_deref()).await?,
            ),
        };
        Some(NodeReply { node: self.parts.node.id().to_string(), body })
    }

    /// Returns the state of the node, for its announcement.
    pub(super) fn report(&self) -> NodeReport {
        let (node, metrics) = (&self.parts.node, self.metrics());
        let not_ready_because = bounded(node.unready());
        NodeReport {
            node: node.id().to_string(),
            version: build::VERSION.to_owned(),
            commit: build::COMMIT.to_owned(),
            started_ms: unix_ms(SystemTime::now()).saturating_sub(milliseconds(node.uptime())),
            ready: not_ready_because.is_empty(),
            not_ready_because,
            connections: metrics.connections.get(),
            subscribers: metrics.subscribers.get(),
            workspaces: metrics.workspaces.get(),
            url: self.parts.url.clone(),
        }
    }

    /// Returns the place of an event, and the streams that have it.
    async fn trace(&self, workspace: &WorkspaceId, event: &Position) -> Option<NodeTrace> {
        let Some(figures) = self.parts.hub.figures(workspace) else { return Some(NodeTrace::default()) };
        let is_of_other = event.live.is_some_and(|live| live.node != self.parts.node.id());
        let place = if is_of_other { None } else { self.parts.hub.locate(workspace, event) };
        let (name, frame, oldest) = match place {
            Some(EventPlace::InRing(traced)) => (TracePlace::Ring, Some(traced), 0),
            Some(EventPlace::Older { oldest }) => (TracePlace::Older, None, oldest),
            Some(EventPlace::NotYet) => (TracePlace::NotYet, None, 0),
            Some(EventPlace::Missing) => (TracePlace::Missing, None, 0),
            None => (TracePlace::OtherNode, None, 0),
        };
        let mut trace = NodeTrace {
            place: Some(name),
            confirmed: figures.is_confirmed,
            received_ms: frame.as_ref().map(|traced| {
                unix_ms(SystemTime::now()).saturating_sub(milliseconds(traced.received.elapsed()))
            }),
            bytes: frame.as_ref().and_then(|traced| traced.frame.payload()).map(|payload| payload.len()),
            private: frame.as_ref().map(|traced| traced.frame.audience().is_some()),
            ..NodeTrace::default()
        };
        // Of an event that the node never had, its streams say nothing.
        if !matches!(name, TracePlace::Ring | TracePlace::Older) {
            return Some(trace);
        }
        let event = TracedEvent { workspace: workspace.clone(), position: *event, frame, oldest };
        let (bodies, head) = (&self.parts.streams.bodies, Some(figures.head));
        let mut streams: EventStreams = bodies.trace(&event, figures.events, head);
        if let Some(engine) = &self.parts.engine {
            streams.join(timeout(PATIENCE, engine.trace(&event)).await.ok()?);
        }
        trace.written = streams.written;
        trace.past = streams.past;
        trace.behind = streams.behind;
        trace.hidden = streams.hidden;
        trace.slowest = self.rows(&streams.slowest);
        Some(trace)
    }

    /// Returns the streams of a client, and what rejects or resets it.
    async fn explain(
        &self,
        workspace: &WorkspaceId,
        user: Option<&UserId>,
        token: Option<&TokenId>,
        after: Option<&str>,
    ) -> Option<NodeExplanation> {
        let parts = &self.parts;
        let keys = Keys { user: user.map(UserId::key), token: token.map(TokenId::key) };
        let figures = parts.hub.figures(workspace);
        let (streams, resumption) =
            tokio::join!(self.streams(workspace, user), self.resumption(workspace, after));
        let streams = streams?;
        let (open, limits) = parts.registry.counts(workspace, keys.user);
        let rows = self.rows(&streams.streams[..streams.streams.len().min(STREAMS_MAX)]);
        Some(NodeExplanation {
            not_ready_because: bounded(parts.node.unready()),
            confirmed: figures.as_ref().map(|figures| figures.is_confirmed),
            head: figures.map(|figures| figures.head.to_string()),
            open: StreamNumbers { node: open.per_node, workspace: open.per_workspace, user: open.per_user },
            limits: StreamNumbers {
                node: limits.per_node,
                workspace: limits.per_workspace,
                user: limits.per_user,
            },
            banned_until_ms: parts.authenticator.banned_until(workspace, keys).map(unix_ms),
            resumption,
            left_out: streams.count.saturating_sub(rows.len()),
            streams: rows,
            refusals: self.refusals(workspace, user),
        })
    }

    /// Returns the streams of a user, or of all users, those that lack the most first.
    async fn streams(&self, workspace: &WorkspaceId, user: Option<&UserId>) -> Option<StreamList> {
        let (parts, user) = (&self.parts, user.map(UserId::key));
        let figures = parts.hub.figures(workspace);
        let (head, at) = figures.map_or((0, None), |figures| (figures.events, Some(figures.head)));
        let mut all = parts.streams.bodies.list_of(workspace, user, head, at, STREAMS_READ_MAX);
        if let Some(engine) = &parts.engine {
            let listed = timeout(PATIENCE, engine.list_of(workspace, user, STREAMS_READ_MAX)).await;
            all.join(listed.ok()?, STREAMS_READ_MAX);
        }
        all.streams.sort_by_key(|stream| {
            // A stream that reads the log, or ends, lacks an unknown number.
            let events = stream.events_behind.unwrap_or(u64::MAX);
            std::cmp::Reverse((events, stream.bytes_behind.unwrap_or_default(), stream.age))
        });
        Some(all)
    }

    fn rows(&self, streams: &[tidings_delivery::StreamReport]) -> Vec<StreamRow> {
        streams.iter().map(|stream| StreamRow::new(stream, self.parts.payloads)).collect()
    }

    /// Decides what a client gets that continues after a text, as a stream would.
    async fn resumption(&self, workspace: &WorkspaceId, after: Option<&str>) -> Option<ResumptionReport> {
        let resume = Resume::new(after?);
        let hub = &self.parts.hub;
        let decided = match hub.resumption(workspace, &resume) {
            Ok(decided) => Ok(decided),
            Err(span) => match timeout(PATIENCE, self.parts.bus.read_log(workspace, span, 1)).await {
                Ok(Ok(page)) => Ok(hub.resumption_by_log(workspace, &resume, &page)),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("the bus did not reply in time".to_owned()),
            },
        };
        let (from, reason) = match decided {
            Ok(Resumption::Ring) => (ResumptionSource::Ring, None),
            Ok(Resumption::Log) => (ResumptionSource::Log, None),
            Ok(Resumption::Reset(reason)) => (ResumptionSource::Reset, Some(reason.as_str().to_owned())),
            Err(error) => (ResumptionSource::Unread, Some(error)),
        };
        Some(ResumptionReport { from, reason })
    }

    /// Returns the last rejected requests of a user, or of clients without a known user.
    fn refusals(&self, workspace: &WorkspaceId, user: Option<&UserId>) -> Vec<RefusalRow> {
        let is_of_client = |refusal: &RecentRefusal| {
            let is_of_user = match (user, &refusal.user) {
                (Some(user), Some(refused)) => user.as_str() == refused,
                _ => true,
            };
            is_of_user && refusal.workspace.as_deref() == Some(workspace.as_str())
        };
        let row = |refusal: RecentRefusal| RefusalRow {
            at_ms: unix_ms(refusal.at),
            request: refusal.request,
            reason: refusal.reason,
            check: refusal.check,
            status: refusal.status,
            user: refusal.user,
            client: refusal.client,
        };
        self.parts.lines.refusals().into_iter().filter(is_of_client).take(REFUSALS_MAX).map(row).collect()
    }

    fn metrics(&self) -> &Metrics {
        self.parts.node.metrics()
    }
}

#[cfg(test)]
mod tests;
