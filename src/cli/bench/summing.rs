//! Adding up a run.

use super::args::Plan;
use super::client::{ClientDone, StreamEnd};
use super::client_pool::PoolTally;
use super::pace::PublishPace;
use super::publish::PublishedEvent;
use tidings_bench::command::without_secrets;
use tidings_bench::host::{Machine, Processes, Unknown, Usage};
use tidings_bench::outcome::{
    Connecting, Load, Outcome, Publishing, RampPoint, Receiving, ServerOutcome, Slow, Storm, Streams,
};

/// What was seen in the course of a run.
pub(super) struct Seen {
    pub(super) connecting: Connecting,
    pub(super) ramp: Vec<RampPoint>,
    /// What the server used before publishing, and at the end.
    pub(super) idle: Option<Usage>,
    pub(super) end: Option<Usage>,
    pub(super) published: PublishedEvent,
    pub(super) tally: PoolTally,
    pub(super) done: Vec<ClientDone>,
    /// Reads of logs since the storm began.
    pub(super) xranges: Option<u64>,
}

/// How many deliveries there are to be: for each event that was taken, the readers of its
/// workspace.
pub(super) fn expected(plan: &Plan, published: &PublishedEvent) -> u64 {
    (0..).zip(plan.readers()).map(|(workspace, readers)| readers * of_workspace(published, workspace)).sum()
}

/// How many events of a workspace were taken.
fn of_workspace(published: &PublishedEvent, workspace: usize) -> u64 {
    let count = published.counts.get(workspace).copied().unwrap_or(0);
    count.saturating_sub(failed(published, workspace).len() as u64)
}

fn failed(published: &PublishedEvent, workspace: usize) -> &[u64] {
    published.failed.get(&workspace).map_or(&[], Vec::as_slice)
}

/// All figures of a run, and the verdict.
pub(super) fn outcome(plan: &Plan, server: &Result<(Processes, Usage), Unknown>, seen: Seen) -> Outcome {
    let Seen { connecting, ramp, idle, end, published, tally, done, xranges } = seen;
    let seconds = published.took.as_secs_f64().max(1e-3);
    let receiving = receiving(&published, &tally, &done, seconds);
    let server_figures = match (server, idle, end) {
        (Ok((processes, before)), Some(idle), Some(end)) => {
            let usage = (*before, idle, end);
            Some(used(plan, processes, usage, ramp, receiving.received, seconds))
        }
        _ => None,
    };
    let server_unknown = match server {
        _ if server_figures.is_some() => None,
        Err(why) => Some(why.to_string()),
        Ok(_) => Some("the server has ended".to_owned()),
    };
    let mut outcome = Outcome {
        run: plan.run.as_str().to_owned(),
        started: format!("{:.0}", plan.started),
        tidings: crate::build::VERSION.to_owned(),
        machine: Machine::here(),
        command: plan.command.clone(),
        url: without_secrets(&plan.url),
        passed: false,
        problems: Vec::new(),
        load: load(plan),
        connecting,
        latency_ms: tally.latencies.all().percentiles(),
        latency_course: tally.latencies.course(),
        latency_curve: tally.latencies.all().curve(),
        storm: plan.storm.map(|_| storm(plan, &tally, xranges)),
        slow: (plan.slow > 0).then(|| slow(&done)),
        streams: Streams { open: tally.open, ended: tally.ended, failed: tally.failed },
        publishing: publishing(published, seconds),
        receiving,
        server: server_figures,
        server_unknown,
    };
    outcome.judge();
    outcome
}

fn load(plan: &Plan) -> Load {
    let (rate, in_flight) = match plan.pace {
        PublishPace::Rate(rate) => (Some(rate), None),
        PublishPace::InFlight(most) => (None, Some(most)),
    };
    Load {
        connections: plan.connections,
        workspaces: plan.workspaces.len(),
        rate,
        in_flight,
        duration_seconds: plan.duration.as_secs_f64(),
        warm_up_seconds: plan.warm_up.as_secs_f64(),
        payload_bytes: plan.payload_bytes,
        publish: plan.way,
        storm: plan.storm.is_some(),
        slow: plan.slow,
        threads: plan.threads,
    }
}

fn publishing(published: PublishedEvent, seconds: f64) -> Publishing {
    Publishing {
        events: published.taken,
        failed: published.refused,
        unsent: published.unsent,
        first_failure: published.first_failure,
        per_second: published.taken as f64 / seconds,
        behind_ms: published.behind.percentiles(),
        response_ms: published.answer.percentiles(),
    }
}

fn receiving(published: &PublishedEvent, tally: &PoolTally, done: &[ClientDone], seconds: f64) -> Receiving {
    let mut receiving = Receiving { misdelivered: tally.misdelivered, ..Receiving::default() };
    for client in done.iter().filter(|client| client.slow.is_none()) {
        let count = published.counts.get(client.workspace).copied().unwrap_or(0);
        let account = client.ledger.close(count, failed(published, client.workspace));
        receiving.add(account, of_workspace(published, client.workspace));
    }
    receiving.per_second = receiving.received as f64 / seconds;
    receiving
}

fn storm(plan: &Plan, tally: &PoolTally, xranges: Option<u64>) -> Storm {
    let reconnect_ms = tally.back.percentiles();
    Storm {
        dropped: plan.connections - plan.slow,
        reconnected: tally.reconnected,
        seconds: reconnect_ms.max / 1000.0,
        reconnect_ms,
        xranges,
    }
}

fn slow(done: &[ClientDone]) -> Slow {
    let mut slow = Slow::default();
    for end in done.iter().filter_map(|client| client.slow.as_ref()) {
        slow.clients += 1;
        match end {
            Some(StreamEnd::Reconnect(reason)) if reason == "lagging" => slow.lagging += 1,
            Some(StreamEnd::Aborted) => slow.aborted += 1,
            Some(_) => slow.ended_otherwise += 1,
            None => slow.open += 1,
        }
    }
    slow
}

/// What the server used: before, idle, and at the end.
fn used(
    plan: &Plan,
    processes: &Processes,
    (before, idle, end): (Usage, Usage, Usage),
    ramp: Vec<RampPoint>,
    deliveries: u64,
    seconds: f64,
) -> ServerOutcome {
    let cpu = end.cpu.saturating_sub(idle.cpu).as_secs_f64();
    let grown = idle.memory.pss_kib as f64 - before.memory.pss_kib as f64;
    ServerOutcome {
        pids: processes.pids().collect(),
        cpu_seconds: cpu,
        cpu_us_per_delivery: cpu * 1e6 / deliveries.max(1) as f64,
        cpu_share: cpu / seconds,
        memory_before: before.memory,
        memory_idle: idle.memory,
        memory_after: end.memory,
        pss_kib_per_connection: grown / plan.connections as f64,
        ramp,
    }
}
