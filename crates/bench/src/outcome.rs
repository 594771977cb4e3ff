//! All figures of a run, in the form in which `tidings bench --json` prints them, and whether it
//! went well.

use std::collections::BTreeMap;

use serde::Serialize;

use super::host::{Machine, Memory};
use super::latency::{Interval, Percentiles};
use super::ledger::DeliveryCounts;

/// How events were published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// `POST` to the broker, durably.
    Http,
    /// `PUBLISH` to the bus.
    RedisLive,
    /// The publish script on the bus.
    RedisDurable,
    /// `POST` of each event to a URL that was given, of whatever server.
    Url,
}

/// What was asked for.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the names of flags")]
pub struct Load {
    pub connections: usize,
    pub workspaces: usize,
    /// Events per second, over all workspaces; `None` where each waits for others.
    pub rate: Option<f64>,
    /// How many events may be under way at a time, where they are not due at a rate.
    pub in_flight: Option<usize>,
    pub duration_seconds: f64,
    pub warm_up_seconds: f64,
    pub payload_bytes: usize,
    pub publish: Way,
    pub storm: bool,
    /// How many of the connections do not read.
    pub slow: usize,
    pub threads: usize,
}

/// How the streams were opened.
#[derive(Debug, Clone, Serialize)]
pub struct Connecting {
    /// Streams with a `connected` event before the first publication.
    pub open: usize,
    /// From the first attempt to the last `connected` event.
    pub seconds: f64,
    /// Opened streams per second.
    pub per_second: f64,
}

/// What was published. The time of warming up counts here.
#[derive(Debug, Clone, Serialize)]
pub struct Publishing {
    /// Events that were taken.
    pub events: u64,
    /// Events that were refused, or of which it is not known whether they were taken.
    pub failed: u64,
    /// Events that were given up because the publishers were too far behind.
    pub unsent: u64,
    /// The response to the first failed one.
    pub first_failure: Option<String>,
    /// Events taken per second of publishing.
    pub per_second: f64,
    /// How much later than due events were sent.
    pub behind_ms: Percentiles,
    /// From the sending of an event, or of several together, to the response.
    pub response_ms: Percentiles,
}

/// What the clients received. Those that do not read are left out.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Receiving {
    /// Deliveries that there should have been: for each event, the clients of its workspace.
    pub expected: u64,
    /// Deliveries that there were, repetitions left out.
    pub received: u64,
    /// Deliveries per second of publishing.
    pub per_second: f64,
    /// Deliveries that there were not.
    pub missing: u64,
    /// Those of them where the broker had said, in the stream, that some may be missing.
    pub missing_reported: u64,
    /// Those of them where it had said nothing.
    pub missing_unreported: u64,
    /// Clients that miss something.
    pub clients_missing: u64,
    /// Deliveries of what the client had already.
    pub duplicates: u64,
    /// Deliveries behind that of a later event.
    pub out_of_order: u64,
    /// The number of resets that clients got.
    pub resets: u64,
    /// Events of another workspace, or of no run.
    pub misdelivered: u64,
}

/// What became of streams, from the first attempt to the last word. A stream that was ended is
/// opened again.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Streams {
    /// Open at the end, those of clients that do not read left out.
    pub open: usize,
    /// How many ended, by why: the reason in `tidings.reconnect`, `ended` for a clean end without a
    /// reason, `aborted` for one that was not clean.
    pub ended: BTreeMap<String, u64>,
    /// Attempts that came to nothing, by why.
    pub failed: BTreeMap<String, u64>,
}

/// All clients reconnected at once.
#[derive(Debug, Clone, Serialize)]
pub struct Storm {
    /// Connections that were dropped.
    pub dropped: usize,
    /// Clients that reconnected.
    pub reconnected: usize,
    /// From the drop until the last stream was open again.
    pub seconds: f64,
    /// From the drop to the `connected` event of each.
    pub reconnect_ms: Percentiles,
    /// Reads of logs that Redis has counted since the drop; `None` where it does not say.
    pub xranges: Option<u64>,
}

/// Clients that did not read.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Slow {
    /// How many there were.
    pub clients: usize,
    /// Clients that got a reconnect as too slow (`lagging`) when they read at last.
    pub lagging: usize,
    /// Streams that ended without a reconnect event.
    pub aborted: usize,
    /// Ended for another reason.
    pub ended_otherwise: usize,
    /// Not ended: what waited for them fitted into the buffers on the way.
    pub open: usize,
}

/// What the server used.
#[derive(Debug, Clone, Serialize)]
pub struct ServerOutcome {
    /// Its processes.
    pub pids: Vec<u32>,
    /// CPU time from the first event that was due until the end, in seconds.
    pub cpu_seconds: f64,
    /// The same for each delivery, in microseconds.
    pub cpu_us_per_delivery: f64,
    /// Of one core, how much of it was used.
    pub cpu_share: f64,
    /// Memory before the first connection.
    pub memory_before: Memory,
    /// Memory when all streams were open and nothing was published.
    pub memory_idle: Memory,
    /// Memory at the end.
    pub memory_after: Memory,
    /// What `pss_kib` grew by, for each connection, from before to idle.
    pub pss_kib_per_connection: f64,
    /// The growth while connections were made.
    pub ramp: Vec<RampPoint>,
}

/// A moment while connections were made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RampPoint {
    /// Open streams.
    pub open: usize,
    /// `pss_kib` of the server, less what it was before.
    pub grown_kib: f64,
}

/// All figures of a run.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "each error is at its type")]
pub struct Outcome {
    pub run: String,
    /// When the run began, as RFC 3339.
    pub started: String,
    /// The version of the generator.
    pub tidings: String,
    /// The machine of the generator.
    pub machine: Machine,
    /// The command line, without secrets.
    pub command: String,
    pub url: String,
    /// Whether nothing is wrong; then the exit code is 0.
    pub passed: bool,
    /// What is wrong, in words.
    pub problems: Vec<String>,
    pub load: Load,
    pub connecting: Connecting,
    pub publishing: Publishing,
    pub receiving: Receiving,
    /// From the moment an event was due to the moment a client had it.
    pub latency_ms: Percentiles,
    /// The same, over time.
    pub latency_course: Vec<Interval>,
    /// Shares of the deliveries, and the latency in milliseconds that so many did not exceed.
    pub latency_curve: Vec<(f64, f64)>,
    pub streams: Streams,
    pub storm: Option<Storm>,
    pub slow: Option<Slow>,
    pub server: Option<ServerOutcome>,
    /// Why there is nothing about the server.
    pub server_unknown: Option<String>,
}

impl Receiving {
    /// Takes in what one client received, of so many events that it should have.
    pub fn add(&mut self, account: DeliveryCounts, expected: u64) {
        self.expected += expected;
        self.received += account.received;
        self.missing += account.missing.total();
        self.missing_reported += account.missing.reported;
        self.missing_unreported += account.missing.unreported;
        self.clients_missing += u64::from(account.missing.total() > 0);
        self.duplicates += account.duplicates;
        self.out_of_order += account.out_of_order;
        self.resets += account.resets;
    }
}

impl Outcome {
    /// Finds what is wrong, and sets the verdict.
    pub fn judge(&mut self) {
        let mut problems = Vec::new();
        let mut find = |count: u64, text: String| {
            if count > 0 {
                problems.push(text);
            }
        };
        let r = &self.receiving;
        find(
            r.missing,
            format!(
                "{} deliveries are missing, at {} clients: {} with a reset, {} without",
                r.missing, r.clients_missing, r.missing_reported, r.missing_unreported
            ),
        );
        find(r.duplicates, format!("{} deliveries came again", r.duplicates));
        find(r.out_of_order, format!("{} deliveries came out of order", r.out_of_order));
        find(r.misdelivered, format!("{} events came to clients that they were not for", r.misdelivered));
        let p = &self.publishing;
        let why = p.first_failure.as_deref().unwrap_or_default();
        find(p.failed, format!("{} events could not be published: {why}", p.failed));
        find(
            p.unsent,
            format!("{} events were not sent: the publishers could not keep up with the rate", p.unsent),
        );
        let readers = self.load.connections - self.load.slow.min(self.load.connections);
        let away = readers.saturating_sub(self.streams.open);
        find(away as u64, format!("{away} streams were not open at the end"));
        if self.receiving.expected == 0 {
            problems.push("nothing was published".to_owned());
        }
        self.passed = problems.is_empty();
        self.problems = problems;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::ledger::Missing;

    /// A run in which all went well, with something in every part.
    pub(crate) fn good() -> Outcome {
        let latency =
            Percentiles { count: 6000, mean: 1.5, p50: 1.0, p90: 2.0, p99: 3.0, p999: 4.0, max: 5.0 };
        let memory = |kib| Memory { rss_kib: kib + 10, pss_kib: kib };
        Outcome {
            run: "abcdefgh".to_owned(),
            started: "2026-03-01T12:00:00Z".to_owned(),
            tidings: "0.1.0".to_owned(),
            machine: Machine {
                cores: 2,
                system: "Linux 6.1.0 x86_64".to_owned(),
                processor: Some("A <fast> one".to_owned()),
                memory_mib: Some(16_009),
            },
            command: "tidings bench --rate 500".to_owned(),
            url: "http://127.0.0.1:8080/api".to_owned(),
            passed: true,
            problems: Vec::new(),
            load: Load {
                connections: 12,
                workspaces: 2,
                rate: Some(500.0),
                in_flight: None,
                duration_seconds: 2.0,
                warm_up_seconds: 0.5,
                payload_bytes: 200,
                publish: Way::RedisLive,
                storm: true,
                slow: 2,
                threads: 1,
            },
            connecting: Connecting { open: 12, seconds: 0.5, per_second: 24.0 },
            publishing: Publishing {
                events: 1250,
                failed: 0,
                unsent: 0,
                first_failure: None,
                per_second: 500.0,
                behind_ms: latency,
                response_ms: latency,
            },
            receiving: Receiving {
                expected: 6250,
                received: 6250,
                per_second: 2500.0,
                ..Receiving::default()
            },
            latency_ms: latency,
            latency_course: vec![
                Interval { second: 1.0, latency_ms: latency },
                Interval { second: 2.0, latency_ms: latency },
            ],
            latency_curve: vec![(0.0, 0.5), (0.5, 1.0), (0.99, 3.0)],
            streams: Streams {
                open: 10,
                ended: BTreeMap::from([("lagging".to_owned(), 1)]),
                failed: BTreeMap::new(),
            },
            storm: Some(Storm {
                dropped: 10,
                reconnected: 10,
                seconds: 0.3,
                reconnect_ms: latency,
                xranges: Some(4),
            }),
            slow: Some(Slow { clients: 2, lagging: 1, open: 1, ..Slow::default() }),
            server: Some(ServerOutcome {
                pids: vec![4711],
                cpu_seconds: 0.2,
                cpu_us_per_delivery: 32.0,
                cpu_share: 0.08,
                memory_before: memory(10_000),
                memory_idle: memory(10_120),
                memory_after: memory(11_000),
                pss_kib_per_connection: 10.0,
                ramp: vec![
                    RampPoint { open: 0, grown_kib: 0.0 },
                    RampPoint { open: 6, grown_kib: 70.0 },
                    RampPoint { open: 12, grown_kib: 120.0 },
                ],
            }),
            server_unknown: None,
        }
    }

    #[test]
    fn a_good_run_passes() {
        let mut outcome = good();
        outcome.judge();
        assert!(outcome.passed && outcome.problems.is_empty(), "{:?}", outcome.problems);
        let json = serde_json::to_value(&outcome).unwrap();
        assert_eq!(
            (&json["load"]["publish"], &json["latency_ms"]["p99.9"]),
            (&"redis-live".into(), &4.0.into())
        );
    }

    #[test]
    fn every_problem_is_reported() {
        let account = DeliveryCounts {
            missing: Missing { reported: 2, unreported: 3 },
            duplicates: 1,
            out_of_order: 1,
            ..DeliveryCounts::default()
        };
        type Wrong = (fn(&mut Outcome, DeliveryCounts), &'static str);
        let wrongs: [Wrong; 6] = [
            (
                |o, account| o.receiving.add(account, 9),
                "5 deliveries are missing, at 1 clients: 2 with a reset",
            ),
            (|o, _| o.receiving.duplicates = 7, "7 deliveries came again"),
            (|o, _| o.receiving.misdelivered = 8, "8 events came to clients"),
            (|o, _| o.publishing.failed = 9, "9 events could not be published"),
            (|o, _| o.publishing.unsent = 10, "10 events were not sent"),
            (|o, _| o.streams.open = 9, "1 streams were not open"),
        ];
        for (wrong, words) in wrongs {
            let mut outcome = good();
            wrong(&mut outcome, account);
            outcome.judge();
            assert!(!outcome.passed && outcome.problems[0].contains(words), "{:?}", outcome.problems);
        }
        let mut nothing = good();
        nothing.receiving = Receiving::default();
        nothing.judge();
        assert_eq!(nothing.problems, ["nothing was published"]);
    }
}
