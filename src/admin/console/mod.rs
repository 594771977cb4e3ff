//! The console: the page at `/` of the admin listener, and the API that feeds it.
//!
//! | part | contents |
//! | --- | --- |
//! | [`mod@routes`] | the paths, and the checks before their handlers |
//! | [`assets`] | the files of the page |
//! | [`gate`] | the hosts, senders and credentials that the console accepts |
//! | [`sessions`], [`token`], [`digest`] | sessions, the link for the first one, the token |
//! | [`sign_in_limit`] | the limit on wrong tokens and links |
//! | [`history`], [`figures`], [`feed`] | samples, the figures of now, and their stream |
//! | [`reasons`] | counts by reason |
//! | [`conditions`] | the warnings about the node as it is |
//! | [`workspaces`], [`workspace`] | the list of workspaces, and one of them |
//! | [`control`], [`mod@bans`] | disconnects and bans; the list of bans |
//! | [`mod@nodes`] | the list of nodes, the trace of an event, the explanation of a client |
//! | [`trial`] | a stream and a publication from the page |
//! | [`reply`] | responses |
//!
//! Read first: [`Console`], [`mod@routes`].
//!
//! The console only reads what the parts of the node have, or asks them. It has no state of a
//! stream or an event of its own.

mod assets;
mod bans;
mod conditions;
mod control;
mod digest;
mod feed;
mod figures;
mod gate;
mod history;
mod nodes;
mod reasons;
mod reply;
mod routes;
mod sessions;
mod sign_in_limit;
mod token;
mod trial;
mod workspace;
mod workspaces;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::node::Node;
use crate::http::{BodyReceiver, Hosts, PublishHandler};
use crate::nodes::QuestionResponder;
use crate::telemetry::RecentLines;
use tidings_auth::jwt::TokenMethod;
use tidings_bus::Bus;
use tidings_bus::redis::access::Finding;
use tidings_delivery::StreamSettings;
use tidings_delivery::engine::Engine;
use tidings_hub::Hub;
use tidings_limits::StreamRegistry;

use feed::OverviewFeed;
use history::{ReasonHistory, SampleHistory};
use sessions::ConsoleSessions;
use sign_in_limit::SignInLimit;
use workspaces::WorkspaceSurvey;

pub(super) use routes::routes;

pub use routes::CONSOLE_PATHS;
pub use token::{AdminToken, AdminTokenError};

/// Reads of one workspace at a time, because each asks all writers and the bus, and has a part of a
/// log in memory.
const WORKSPACE_READS: usize = 2;

/// The events that the console reads from logs at a time, at most.
pub const CONSOLE_READS_MAX: usize = WORKSPACE_READS * workspace::EVENTS_MAX;

/// Questions to all nodes at a time.
const QUESTIONS: usize = 4;

/// The settings of the console.
#[derive(Debug)]
pub struct ConsoleSettings {
    /// The hosts under which the console is used.
    pub hosts: Hosts,
    /// Whether the console shows payloads.
    pub payloads: bool,
    /// The port of the admin listener, for the name of the cookie.
    pub port: u16,
    /// The most bytes of a payload.
    pub event_bytes: usize,
    /// The most events of a log that fit into one reply of the bus.
    pub page_events: usize,
    /// The bound on each wait for the bus or a writer.
    pub patience: Duration,
    /// How a client reaches the node, for the page.
    pub reach: Reach,
    /// The warnings of the start.
    pub findings: Vec<Finding>,
    /// The memory that all bounds together allow, and the memory that there is, in bytes.
    pub memory: (usize, Option<usize>),
    /// The reasons for which the node counts refusals.
    pub refusals: Vec<&'static str>,
    /// Whether the app decides about clients.
    pub forward: bool,
}

/// How a client reaches the node; without secrets.
#[derive(Debug, Clone)]
pub struct Reach {
    /// The URL of the public listener with its base path, for clients on this machine.
    pub public: String,
    /// The path of the public listener, if it is a socket in the file system.
    pub socket: Option<String>,
    /// The arguments of `redis-cli` that reach the bus; `None` if they are not known.
    pub redis_cli: Option<String>,
    /// The prefix of the channels.
    pub channel_prefix: String,
    /// Whether clients have to authenticate.
    pub authenticated: bool,
}

/// The parts of the node that the console reads and asks.
#[derive(Debug, Clone)]
pub struct ConsoleParts {
    /// The node.
    pub node: Arc<Node>,
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// The workspaces.
    pub hub: Arc<Hub>,
    /// The open streams.
    pub registry: Arc<StreamRegistry>,
    /// The settings of streams.
    pub streams: Arc<StreamSettings>,
    /// The engine; `None` if the HTTP server writes all streams.
    pub engine: Option<Arc<Engine>>,
    /// Publishes events.
    pub publish: Arc<PublishHandler>,
    /// Receives bodies.
    pub bodies: Arc<BodyReceiver>,
    /// The last warnings of the log.
    pub lines: RecentLines,
    /// The admin token.
    pub token: Arc<AdminToken>,
    /// Replies to questions about the node.
    pub responder: Arc<QuestionResponder>,
    /// Checks the tokens of clients; `None` if tokens are no method.
    pub tokens: Option<Arc<TokenMethod>>,
}

/// The console of a node.
#[derive(Debug)]
pub struct Console {
    settings: ConsoleSettings,
    parts: ConsoleParts,
    sessions: ConsoleSessions,
    sign_in_limit: SignInLimit,
    link_limit: SignInLimit,
    history: SampleHistory,
    reasons: ReasonHistory,
    rights: Mutex<Vec<Finding>>,
    feed: OverviewFeed,
    survey: WorkspaceSurvey,
    reads: Semaphore,
    questions: Semaphore,
}

impl Console {
    /// Creates the console. [`run`](Self::run) has to run beside it.
    ///
    /// Takes the first sample, so that each later count of the node has one before it. That reads
    /// one file below `/proc`.
    #[must_use]
    pub fn new(settings: ConsoleSettings, parts: ConsoleParts) -> Self {
        let console = Self {
            settings,
            parts,
            sessions: ConsoleSessions::default(),
            sign_in_limit: SignInLimit::default(),
            link_limit: SignInLimit::default(),
            history: SampleHistory::default(),
            reasons: ReasonHistory::default(),
            rights: Mutex::default(),
            feed: OverviewFeed::new(),
            survey: WorkspaceSurvey::default(),
            reads: Semaphore::new(WORKSPACE_READS),
            questions: Semaphore::new(QUESTIONS),
        };
        console.add_sample(figures::resident_bytes());
        console
    }

    /// Takes samples, and feeds open pages, until `stop` is cancelled.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        tokio::select! {
            () = self.take_samples() => {}
            () = self.feed_pages() => {}
            () = self.watch_rights() => {}
            () = stop.cancelled() => {}
        }
    }

    /// Returns the path and query of a link that opens the console once, within ten minutes;
    /// `None` if the system has no random numbers. A later link replaces it.
    #[must_use]
    pub fn link(&self) -> Option<String> {
        let link = self.sessions.issue_link(Instant::now()).ok()?;
        Some(format!("/enter?link={link}"))
    }
}
