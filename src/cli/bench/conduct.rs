//! The course of a run: look, connect, rest, publish, wait for what is under way, add up.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::super::CommandFailure;
use super::super::client::Broker;
use super::args::Plan;
use super::client_pool::{ClientPool, PoolTally, Scene};
use super::pace::Arrivals;
use super::preparing::{self, BenchBus};
use super::progress::{Now, Progress};
use super::publish::{Outlet, PublishRun, PublishedEvent};
use super::summing::{self, Seen};
use crate::config::Config;
use tidings_bench::host::{Processes, Unknown, Usage};
use tidings_bench::latency::Latencies;
use tidings_bench::outcome::{Connecting, Outcome, RampPoint};
use tidings_bench::tag::Tagger;

/// How often things are looked at.
const TICK: Duration = Duration::from_millis(50);

/// How long the streams rest when all are open, before their memory is measured.
const REST: Duration = Duration::from_secs(1);

/// Bound on opening the streams: this long, and a second more for each so many.
const OPENING: (Duration, usize) = (Duration::from_secs(30), 200);

/// From the start of the publishing threads to the moment at which the first event is due.
const LEAD: Duration = Duration::from_millis(300);

/// After this time without an expected event no more is expected.
const QUIET: Duration = Duration::from_secs(3);

/// How long those that did not read may read what is there, at most.
const READING_ON: Duration = Duration::from_secs(5);

/// The most moments that are kept of the growth while connections are made.
const RAMP_POINTS_MAX: usize = 200;

/// A run under way.
struct BenchRun {
    scene: Arc<Scene>,
    client_pool: ClientPool,
    empty: PoolTally,
    progress: Progress,
    /// The server's processes and what they used before the first connection, or why that is not
    /// known.
    server: Result<(Processes, Usage), Unknown>,
    bus: Option<BenchBus>,
}

/// Makes the run of a plan.
pub(super) async fn run(plan: Plan, broker: Broker, config: &Config) -> Result<Outcome, CommandFailure> {
    let broker = Arc::new(broker);
    let target = preparing::look(&plan, &broker).await?;
    let mut bus = preparing::bus(&plan, config).await?;
    let outlet = match bus.as_mut().and_then(BenchBus::outlet) {
        Some(outlet) => outlet,
        None => Outlet::Http(Arc::clone(&broker)),
    };
    let server = preparing::server(&plan, target);
    let latencies = Latencies::new(plan.duration).and_then(PoolTally::new);
    let empty = latencies.map_err(|error| CommandFailure::Failed(format!("cannot count: {error}")))?;
    let tagger = Tagger::new(&plan.run, plan.payload_bytes);
    let scene = Arc::new(Scene {
        plan,
        target,
        clock: Instant::now(),
        tagger,
        arrivals: Arrivals::default(),
        authorization: broker.authorization().cloned(),
        drop_all: CancellationToken::new(),
        dropped_at: Mutex::new(Duration::ZERO),
        read_on: CancellationToken::new(),
        stop: CancellationToken::new(),
    });
    // Whatever happens, the threads of the clients end with the run.
    let _stopping = scene.stop.clone().drop_guard();
    let client_pool =
        ClientPool::start(&scene, &empty).map_err(|error| failed("start the clients", &error))?;
    BenchRun { scene, client_pool, empty, progress: Progress::new(), server, bus }.go(outlet).await
}

impl BenchRun {
    async fn go(mut self, outlet: Outlet) -> Result<Outcome, CommandFailure> {
        let (connecting, ramp) = self.connect().await?;
        self.progress.waiting("the streams rest");
        sleep(REST).await;
        let idle = self.usage();

        let (published, xranges_before) = self.publish(outlet).await?;
        self.stragglers(&published).await;
        let end = self.usage();
        let xranges_after = self.xranges().await;
        let tally = self.client_pool.tally(&self.empty);

        self.read_on().await;
        let Self { scene, client_pool, server, progress, .. } = self;
        scene.stop.cancel();
        let done = client_pool.join().map_err(|error| failed("follow the streams", &error))?;
        drop(progress);
        let xranges = xranges_before.zip(xranges_after).map(|(before, after)| after.saturating_sub(before));
        let seen = Seen { connecting, ramp, idle, end, published, tally, done, xranges };
        Ok(summing::outcome(&scene.plan, &server, seen))
    }

    /// Waits until all streams are open.
    async fn connect(&self) -> Result<(Connecting, Vec<RampPoint>), CommandFailure> {
        let plan = &self.scene.plan;
        let (began, all) = (Instant::now(), plan.connections);
        let until = OPENING.0 + Duration::from_secs((all / OPENING.1) as u64);
        let mut ramp = Vec::new();
        loop {
            let (open, _, _) = self.client_pool.glance();
            let seconds = began.elapsed().as_secs_f64();
            self.progress.connecting(open, all);
            self.add_to(&mut ramp, open);
            if open >= all {
                // The clock began with the first attempt.
                let seconds = self.client_pool.tally(&self.empty).greeted_at.as_secs_f64();
                let per_second = open as f64 / seconds.max(1e-3);
                return Ok((Connecting { open, seconds, per_second }, ramp));
            }
            let trouble = if let Some(status) = self.client_pool.refused() {
                format!("the broker responded to a stream with {status}")
            } else if began.elapsed() > until {
                // A broker at its bound leaves further connections waiting without a response.
                format!(
                    "{open} of {all} streams are open after {seconds:.0} s (see limits.connections of the broker)"
                )
            } else {
                sleep(TICK).await;
                continue;
            };
            let tally = self.client_pool.tally(&self.empty);
            let reasons = tally.failed.iter().chain(&tally.ended);
            let reasons: Vec<String> = reasons.map(|(why, count)| format!("{count} times {why}")).collect();
            return Err(CommandFailure::Failed(format!("{trouble}; so far: {}", reasons.join(", "))));
        }
    }

    /// Records the growth of the memory, if it is known and the list is not full.
    fn add_to(&self, ramp: &mut Vec<RampPoint>, open: usize) {
        let moved = ramp.last().is_none_or(|last: &RampPoint| last.open < open);
        if let (true, Ok((_, before)), Some(now)) = (moved, &self.server, self.usage()) {
            if ramp.len() >= RAMP_POINTS_MAX {
                // Every other one shows nearly as much.
                let mut keep = false;
                ramp.retain(|_| {
                    keep = !keep;
                    keep
                });
            }
            let grown_kib = now.memory.pss_kib as f64 - before.memory.pss_kib as f64;
            ramp.push(RampPoint { open, grown_kib });
        }
    }

    /// Publishes everything, and drops all connections on the way if the plan says so. Then it
    /// returns how often logs had been read before.
    async fn publish(&mut self, outlet: Outlet) -> Result<(PublishedEvent, Option<u64>), CommandFailure> {
        let scene = Arc::clone(&self.scene);
        let plan = &scene.plan;
        let start = scene.clock.elapsed() + LEAD;
        self.client_pool.measure_from(start + plan.warm_up);
        let publishing =
            PublishRun::start(&scene, outlet, start).map_err(|error| failed("publish", &error))?;
        let all = plan.warm_up + plan.duration;
        let storm_at = plan.storm.map(|_| start + plan.warm_up + plan.duration / 3);
        let mut xranges_before = None;
        while !publishing.is_finished() {
            let now = scene.clock.elapsed();
            if storm_at.is_some_and(|at| now >= at) && !scene.drop_all.is_cancelled() {
                xranges_before = self.xranges().await;
                *scene.dropped_at.lock() = scene.clock.elapsed();
                scene.drop_all.cancel();
            }
            if self.progress.is_due() {
                let (_, open, deliveries) = self.client_pool.glance();
                let events = publishing.taken.load(Ordering::Relaxed);
                let now_is = Now { open, events, deliveries, latency: self.client_pool.latency() };
                self.progress.publishing(now.saturating_sub(start), all, &now_is);
            }
            sleep(TICK).await;
        }
        let published = publishing.join().map_err(|error| failed("publish", &error))?;
        Ok((published, xranges_before))
    }

    /// Waits for the events and clients under way, until all have arrived or no more come.
    async fn stragglers(&self, published: &PublishedEvent) {
        let plan = &self.scene.plan;
        let expected = summing::expected(plan, published);
        let (until, mut last, mut moved) = (Instant::now() + plan.grace, 0, Instant::now());
        self.progress.waiting("what is under way arrives");
        while Instant::now() < until {
            let (_, open, received) = self.client_pool.glance();
            if received >= expected && open >= plan.connections - plan.slow {
                return;
            }
            if received != last {
                (last, moved) = (received, Instant::now());
            }
            if moved.elapsed() > QUIET && open >= plan.connections - plan.slow {
                return;
            }
            sleep(TICK).await;
        }
    }

    /// Lets those that did not read find out what became of their streams.
    async fn read_on(&self) {
        if self.scene.plan.slow > 0 {
            self.scene.read_on.cancel();
            self.progress.waiting("slow readers read what is there");
            let until = Instant::now() + READING_ON;
            while Instant::now() < until && self.client_pool.slow_ended() < self.scene.plan.slow {
                sleep(TICK).await;
            }
        }
    }

    fn usage(&self) -> Option<Usage> {
        self.server.as_ref().ok().and_then(|(processes, _)| processes.usage().ok())
    }

    async fn xranges(&mut self) -> Option<u64> {
        self.bus.as_mut()?.xranges().await
    }
}

fn failed(what: &str, error: &std::io::Error) -> CommandFailure {
    CommandFailure::Failed(format!("cannot {what}: {error}"))
}
