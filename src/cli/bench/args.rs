//! The flags of `tidings bench`, and the plan they make.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::SignedDuration;

use super::CommandFailure;
use super::pace::PublishPace;
use super::places::{BenchTarget, Template};
use tidings_bench::outcome::Way;
use tidings_bench::tag::{PAYLOAD_BYTES_MIN, RunId};
use tidings_bench::{command, host};
use tidings_event::workspace::WorkspaceId;

/// The most connections of one process: as many as 16 addresses of the loopback network have ports
/// for.
const CONNECTIONS_MAX: usize = 400_000;

/// The largest payload.
const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;

/// The most events of a run: each number of a failed one is kept.
const EVENTS_MAX: f64 = 1e9;

/// The most events under way, which all fit into the queue of one worker.
const IN_FLIGHT_MAX: usize = 10_000;

/// Where a broker has its streams, below its base.
const PATH: &str = "/workspaces/{workspace}/events";

/// Files that are open beside the connections: of the runtime, of publishing, of looking at
/// `/proc`.
const OTHER_FILES: u64 = 100;

/// Arguments of `tidings bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
Every event carries its number in its workspace, and every client checks that it gets each number once and in order. Latency \
counts from the moment at which an event was due, so a delayed publisher hides nothing. docs/cli.md \
explains the figures and the members of --json. TIDINGS_TOKEN may hold a token, which needs the right to read and write bench-*.
Exit codes: 0 every event arrived; 1 an event is missing, repeated or out of order, or the run failed; 2 wrong usage.")]
pub(crate) struct BenchArgs {
    /// The broker, such as http://127.0.0.1:8080/api; the configured one by default
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
    /// Streams to open
    #[arg(long, value_name = "N", default_value_t = 1000)]
    connections: usize,
    /// Workspaces, over which streams and events are spread evenly
    #[arg(long, value_name = "N", default_value_t = 10)]
    workspaces: usize,
    /// Events per second, in all workspaces together
    #[arg(long, value_name = "EVENTS", default_value_t = 100.0)]
    rate: f64,
    /// Instead of a rate: publish the next event once fewer than N events wait for a client
    #[arg(long, value_name = "N", conflicts_with_all = ["rate", "storm"])]
    in_flight: Option<usize>,
    /// How long to publish, such as 30s or 5m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// Publish this long before the measurement. These events are checked too
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    warm_up: Duration,
    /// Wait this long at the end for missing events
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    grace: Duration,
    /// The size of each event's payload
    #[arg(long, value_name = "BYTES", default_value_t = 200)]
    payload_bytes: usize,
    /// Publish through the broker or on the bus. The bus is the configured Redis (--redis,
    /// TIDINGS__REDIS__URL), or the embedded bus at embedded.listen
    #[arg(long, value_enum, default_value_t = PublishTarget::Http)]
    publish: PublishTarget,
    /// Post each event to its own URL, for other servers, such as
    /// http://127.0.0.1:8080/pub/{workspace}. Any 2xx status is a success
    #[arg(long, value_name = "URL", value_parser = Template::url)]
    publish_url: Option<Template>,
    /// The path of a stream behind that of --url, for other servers
    #[arg(long, value_name = "PATH", default_value = PATH, value_parser = Template::path)]
    path: Template,
    /// A stream is open when its head arrives, for servers without a `connected` event
    #[arg(long)]
    no_connected: bool,
    /// With --publish redis: by PUBLISH, without the log (the default there)
    #[arg(long, conflicts_with = "durable")]
    live: bool,
    /// With --publish redis: by the publish script; over HTTP events are always durable
    #[arg(long)]
    durable: bool,
    /// After a third of the run, drop all connections. Clients reconnect with their Last-Event-ID
    /// at once, or after the time of `retry:`
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "at-once"
    )]
    storm: Option<Return>,
    /// This many streams do not read until the end
    #[arg(long, value_name = "N", default_value_t = 0)]
    slow: usize,
    /// Threads for the streams; by default half of the cores, and four at most
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// The process of the server, if its port does not identify it. Its child processes count too
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Write a page with figures and plots to this file
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
}

/// Where events are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PublishTarget {
    /// `POST` to the broker
    Http,
    /// Commands on the bus
    Redis,
}

/// When clients reconnect in a storm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Return {
    /// Without a pause: the worst case
    AtOnce,
    /// As an EventSource does, after what `retry:` said
    Retry,
}

/// A run that can be made.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) run: RunId,
    pub(super) started: jiff::Timestamp,
    /// The command line, without secrets.
    pub(super) command: String,
    /// The broker's address as it was given.
    pub(super) url: String,
    /// Host and port, as in requests.
    pub(super) authority: String,
    /// Host and port, to be looked up.
    pub(super) host: (String, u16),
    /// The path of a workspace's streams.
    pub(super) path: Template,
    /// Where events are posted to, if not to the broker.
    pub(super) publish_url: Option<Template>,
    /// Streams count as open without a `connected` event.
    pub(super) no_connected: bool,
    pub(super) connections: usize,
    pub(super) workspaces: Vec<WorkspaceId>,
    pub(super) pace: PublishPace,
    pub(super) duration: Duration,
    pub(super) warm_up: Duration,
    pub(super) grace: Duration,
    pub(super) payload_bytes: usize,
    pub(super) way: Way,
    pub(super) storm: Option<Return>,
    pub(super) slow: usize,
    pub(super) threads: usize,
    pub(super) pid: Option<u32>,
}

impl BenchArgs {
    pub(super) fn json(&self) -> bool {
        self.json
    }

    /// Checks the flags, and whether this process may open so many connections.
    pub(super) fn plan(&self, url: &str) -> Result<Plan, CommandFailure> {
        let usage = |message: &str| Err(CommandFailure::Usage(message.to_owned()));
        if !(1..=CONNECTIONS_MAX).contains(&self.connections) {
            return usage("--connections is a number from 1 to 400000");
        }
        if !(1..=self.connections).contains(&self.workspaces) {
            return usage("--workspaces is a number from 1 to that of the connections");
        }
        if self.slow >= self.connections {
            return usage("--slow has to be less than --connections: one client has to read");
        }
        if !(PAYLOAD_BYTES_MIN..=PAYLOAD_BYTES_MAX).contains(&self.payload_bytes) {
            return usage("--payload-bytes is a number from 128 to 1048576");
        }
        if self.duration.is_zero() {
            return usage("--duration is longer than 0s");
        }
        let fixed = self.path.is_fixed() || self.publish_url.as_ref().is_some_and(Template::is_fixed);
        if self.workspaces > 1 && fixed {
            return usage(
                "with several workspaces --path and --publish-url need a place for theirs: {workspace}",
            );
        }
        let (pace, way) = (self.pace()?, self.way()?);
        enough_files(self.connections)?;
        let BenchTarget { host, authority, base_path } = BenchTarget::of(url)?;
        let run = RunId::random();
        let workspaces =
            (0..self.workspaces).map(|n| WorkspaceId::parse(&format!("bench-{}-{n}", run.as_str())));
        let workspaces: Result<Vec<_>, _> = workspaces.collect();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Plan {
            run,
            started: jiff::Timestamp::now(),
            command: command::shown(std::env::args_os()),
            url: url.to_owned(),
            authority,
            host,
            path: self.path.below(&base_path),
            publish_url: self.publish_url.clone(),
            no_connected: self.no_connected,
            connections: self.connections,
            workspaces: workspaces.map_err(|error| CommandFailure::Usage(error.to_string()))?,
            pace,
            duration: self.duration,
            warm_up: self.warm_up,
            grace: self.grace,
            payload_bytes: self.payload_bytes,
            way,
            storm: self.storm,
            slow: self.slow,
            threads: self.threads.unwrap_or((cores / 2).clamp(1, 4)).clamp(1, self.connections.min(64)),
            pid: self.pid,
        })
    }

    fn pace(&self) -> Result<PublishPace, CommandFailure> {
        let usage = |message: &str| Err(CommandFailure::Usage(message.to_owned()));
        if let Some(most) = self.in_flight {
            if !(1..=IN_FLIGHT_MAX).contains(&most) {
                return usage("--in-flight is a number from 1 to 10000");
            }
            return Ok(PublishPace::InFlight(most));
        }
        let events = self.rate * (self.warm_up + self.duration).as_secs_f64();
        if !(self.rate > 0.0 && (1.0..=EVENTS_MAX).contains(&events)) {
            return usage("--rate and --duration have to come to at least one event, and to 1e9 at most");
        }
        Ok(PublishPace::Rate(self.rate))
    }

    fn way(&self) -> Result<Way, CommandFailure> {
        let usage = |message: &str| Err(CommandFailure::Usage(message.to_owned()));
        match (self.publish, &self.publish_url) {
            (PublishTarget::Redis, Some(_)) => {
                usage("--publish-url is for publishing over HTTP, not on the bus")
            }
            (PublishTarget::Redis, None) if self.durable => Ok(Way::RedisDurable),
            (PublishTarget::Redis, None) => Ok(Way::RedisLive),
            (PublishTarget::Http, _) if self.live => {
                usage("over HTTP events are always durable: --live needs --publish redis")
            }
            (PublishTarget::Http, Some(_)) => Ok(Way::Url),
            (PublishTarget::Http, None) => Ok(Way::Http),
        }
    }
}

impl Plan {
    /// How many clients each workspace has, those that do not read left out.
    pub(super) fn readers(&self) -> Vec<u64> {
        let mut readers = vec![0; self.workspaces.len()];
        for client in (0..self.connections).filter(|client| !self.is_slow(*client)) {
            if let Some(count) = readers.get_mut(self.workspace_of(client)) {
                *count += 1;
            }
        }
        readers
    }

    /// The workspace of an event, by its number in the run.
    pub(super) fn workspace_of_event(&self, event: u64) -> usize {
        usize::try_from(event % self.workspaces.len() as u64).unwrap_or(0)
    }

    /// The workspace of a client, by its number.
    pub(super) fn workspace_of(&self, client: usize) -> usize {
        client % self.workspaces.len()
    }

    /// Whether a client, by its number, is one of those that do not read.
    pub(super) fn is_slow(&self, client: usize) -> bool {
        client >= self.connections - self.slow
    }
}

/// Every connection is an open file of this process.
fn enough_files(connections: usize) -> Result<(), CommandFailure> {
    // If the machine does not report a limit, opening finds it out.
    let allowed = host::open_files_max().unwrap_or(u64::MAX);
    let needed = connections as u64 + OTHER_FILES;
    if needed <= allowed {
        return Ok(());
    }
    Err(CommandFailure::Usage(format!(
        "{connections} connections need {needed} open files, and this process may have {allowed}: raise the limit with \
         `ulimit -n {needed}` in the shell that runs this (as far as `ulimit -Hn` allows), or spread them over several \
         processes; the broker needs as many"
    )))
}

/// A time such as 500ms, 30s, 5m or `1m 30s`, up to a day.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a time up to 24h, such as 500ms, 30s, 5m or 1m30s".to_owned();
    let duration = text.parse::<SignedDuration>().map_err(|_| wrong())?;
    let duration = Duration::try_from(duration).map_err(|_| wrong())?;
    if duration > Duration::from_secs(24 * 3600) { Err(wrong()) } else { Ok(duration) }
}

#[cfg(test)]
mod tests;
