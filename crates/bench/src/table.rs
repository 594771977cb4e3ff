//! The figures of a run as rows of words: for the terminal, and for the table of the report.

use std::collections::BTreeMap;

use super::latency::Percentiles;
use super::outcome::{Outcome, ServerOutcome, Slow, Storm, Way};

/// A figure and what it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What it is.
    pub name: &'static str,
    /// What it came to.
    pub value: String,
}

/// Rows that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSection {
    /// What they are about.
    pub title: &'static str,
    /// The rows.
    pub rows: Vec<Row>,
}

/// All figures of a run.
#[must_use]
pub fn sections(outcome: &Outcome) -> Vec<TableSection> {
    let mut all =
        vec![run(outcome), load(outcome), publishing(outcome), receiving(outcome), latency(outcome)];
    all.extend(outcome.storm.as_ref().map(storm));
    all.extend(outcome.slow.as_ref().map(slow));
    all.push(match (&outcome.server, &outcome.server_unknown) {
        (Some(found), _) => server(found),
        (None, why) => {
            let why = why.clone().unwrap_or_else(|| "not measured".to_owned());
            TableSection { title: "Server", rows: vec![row("not known", why)] }
        }
    });
    all
}

/// The table for a terminal, with the verdict at its end.
#[must_use]
pub fn text(outcome: &Outcome) -> String {
    let mut text = String::new();
    let sections = sections(outcome);
    let width = sections.iter().flat_map(|s| &s.rows).map(|row| row.name.len()).max().unwrap_or(0);
    for section in &sections {
        text.push_str(&format!("{}\n", section.title));
        for row in &section.rows {
            text.push_str(&format!("  {:<width$}  {}\n", row.name, row.value));
        }
    }
    text.push('\n');
    text.push_str(&verdict(outcome));
    text
}

/// Whether it went well, and what did not.
#[must_use]
pub fn verdict(outcome: &Outcome) -> String {
    if outcome.passed {
        "passed: every client received every event of its workspace, once and in order".to_owned()
    } else {
        format!("failed: {}", outcome.problems.join("; "))
    }
}

fn run(outcome: &Outcome) -> TableSection {
    let machine = &outcome.machine;
    let memory = machine.memory_mib.map(|mib| format!("{} MiB", grouped(mib)));
    let parts = [
        Some(format!("{} cores", machine.cores)),
        machine.processor.clone(),
        memory,
        Some(machine.system.clone()),
    ];
    let rows = vec![
        row("date", outcome.started.clone()),
        row("tidings", outcome.tidings.clone()),
        row("machine", parts.into_iter().flatten().collect::<Vec<_>>().join(", ")),
        row("command", outcome.command.clone()),
    ];
    TableSection { title: "Run", rows }
}

fn load(outcome: &Outcome) -> TableSection {
    let load = &outcome.load;
    let way = match load.publish {
        Way::Http => "over HTTP, durable",
        Way::RedisLive => "over the bus, live",
        Way::RedisDurable => "over the bus, durable",
        Way::Url => "posted to a URL",
    };
    let pace = match (load.rate, load.in_flight) {
        (Some(rate), _) => format!("{}/s", short(rate)),
        (None, in_flight) => format!("up to {} at a time", grouped(in_flight.unwrap_or(1) as u64)),
    };
    let connecting = &outcome.connecting;
    let mut rows = vec![
        row("broker", outcome.url.clone()),
        row(
            "streams",
            format!("{} in {} workspaces", grouped(load.connections as u64), grouped(load.workspaces as u64)),
        ),
        row(
            "events",
            format!(
                "{pace} of {} bytes for {} s, after {} s of warming up, {way}",
                grouped(load.payload_bytes as u64),
                short(load.duration_seconds),
                short(load.warm_up_seconds)
            ),
        ),
        row(
            "connecting",
            format!("{} s, {} streams/s", short(connecting.seconds), grouped(connecting.per_second as u64)),
        ),
    ];
    rows.extend(counts("ended streams", &outcome.streams.ended));
    rows.extend(counts("failed attempts", &outcome.streams.failed));
    TableSection { title: "Load", rows }
}

fn publishing(outcome: &Outcome) -> TableSection {
    let publishing = &outcome.publishing;
    let events = format!("{}, {}/s", grouped(publishing.events), short(publishing.per_second));
    let mut rows = vec![
        row("published", events),
        row("sent late by", spread(&publishing.behind_ms)),
        row("response time", spread(&publishing.response_ms)),
    ];
    if publishing.failed + publishing.unsent > 0 {
        let failed =
            format!("{} refused, {} not sent", grouped(publishing.failed), grouped(publishing.unsent));
        rows.push(row("not published", failed));
    }
    TableSection { title: "Publishing", rows }
}

fn receiving(outcome: &Outcome) -> TableSection {
    let receiving = &outcome.receiving;
    let delivered = format!(
        "{} of {}, {}/s",
        grouped(receiving.received),
        grouped(receiving.expected),
        grouped(receiving.per_second as u64)
    );
    let missing = format!(
        "{} (with a reset {}, without {}), at {} clients",
        grouped(receiving.missing),
        grouped(receiving.missing_reported),
        grouped(receiving.missing_unreported),
        grouped(receiving.clients_missing)
    );
    let rows = vec![
        row("delivered", delivered),
        row("missing", missing),
        row("again", grouped(receiving.duplicates)),
        row("out of order", grouped(receiving.out_of_order)),
        row("resets", format!("{} times", grouped(receiving.resets))),
    ];
    TableSection { title: "Receiving", rows }
}

fn latency(outcome: &Outcome) -> TableSection {
    let Percentiles { count, mean, p50, p90, p99, p999, max } = outcome.latency_ms;
    let ms = |value| format!("{} ms", short(value));
    let rows = vec![
        row("mean", format!("{} of {} deliveries", ms(mean), grouped(count))),
        row("p50", ms(p50)),
        row("p90", ms(p90)),
        row("p99", ms(p99)),
        row("p99.9", ms(p999)),
        row("max", ms(max)),
    ];
    TableSection { title: "Latency, from due to received", rows }
}

fn storm(storm: &Storm) -> TableSection {
    let xranges = storm.xranges.map_or("not known".to_owned(), grouped);
    let rows = vec![
        row(
            "reconnected",
            format!("{} of {}", grouped(storm.reconnected as u64), grouped(storm.dropped as u64)),
        ),
        row("all reconnected", format!("after {} s", short(storm.seconds))),
        row("each reconnected", format!("after {}", spread(&storm.reconnect_ms))),
        row("XRANGEs", xranges),
    ];
    TableSection { title: "Reconnect storm", rows }
}

fn slow(slow: &Slow) -> TableSection {
    let rows = vec![
        row("did not read", grouped(slow.clients as u64)),
        row("ended as lagging", grouped(slow.lagging as u64)),
        row("aborted", grouped(slow.aborted as u64)),
        row("ended otherwise", grouped(slow.ended_otherwise as u64)),
        row("still open", grouped(slow.open as u64)),
    ];
    TableSection { title: "Slow readers", rows }
}

fn server(server: &ServerOutcome) -> TableSection {
    let pids: Vec<String> = server.pids.iter().map(ToString::to_string).collect();
    let mib = |kib: u64| short(kib as f64 / 1024.0);
    let memory = |memory: &super::host::Memory| {
        format!("{} MiB resident, {} MiB with shared pages in part", mib(memory.rss_kib), mib(memory.pss_kib))
    };
    let cpu = format!(
        "{} s, {:.0} % of a core, {} µs a delivery",
        short(server.cpu_seconds),
        server.cpu_share * 100.0,
        short(server.cpu_us_per_delivery)
    );
    let rows = vec![
        row("process", pids.join(", ")),
        row("CPU", cpu),
        row("memory before", memory(&server.memory_before)),
        row("memory idle", memory(&server.memory_idle)),
        row("a connection", format!("{} KiB", short(server.pss_kib_per_connection))),
        row("memory after", memory(&server.memory_after)),
    ];
    TableSection { title: "Server", rows }
}

fn row(name: &'static str, value: String) -> Row {
    Row { name, value }
}

fn counts(name: &'static str, counts: &BTreeMap<String, u64>) -> Option<Row> {
    let listed: Vec<String> =
        counts.iter().map(|(why, count)| format!("{} {why}", grouped(*count))).collect();
    (!listed.is_empty()).then(|| row(name, listed.join(", ")))
}

fn spread(percentiles: &Percentiles) -> String {
    let Percentiles { p50, p99, max, .. } = *percentiles;
    format!("p50 {} ms, p99 {} ms, max {} ms", short(p50), short(p99), short(max))
}

/// A number with three significant digits or more, and no zeros behind the point that say nothing.
#[must_use]
pub fn short(number: f64) -> String {
    let decimals = match number.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{number:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A number with commas between its thousands.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::good;

    #[test]
    fn numbers_are_easy_to_read() {
        for (number, text) in
            [(0.0, "0"), (0.1234, "0.123"), (1.5, "1.5"), (2.0, "2"), (12.34, "12.3"), (1000.4, "1000")]
        {
            assert_eq!(short(number), text);
        }
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn table_has_every_figure() {
        let outcome = good();
        let text = text(&outcome);
        for words in [
            "2026-03-01T12:00:00Z",
            "2 cores, A <fast> one, 16,009 MiB, Linux 6.1.0 x86_64",
            "tidings bench --rate 500",
            "12 in 2 workspaces",
            "500/s of 200 bytes for 2 s, after 0.5 s of warming up, over the bus, live",
            "6,250 of 6,250, 2,500/s",
            "0 (with a reset 0, without 0), at 0 clients",
            "p99.9",
            "10 of 10",
            "1 lagging",
            "10 KiB",
            "32 µs a delivery",
            "passed: ",
        ] {
            assert!(text.contains(words), "{words} in\n{text}");
        }
    }

    #[test]
    fn problems_are_at_the_end() {
        let mut outcome = good();
        outcome.receiving.missing = 3;
        outcome.server = None;
        outcome.server_unknown = Some("the server is not on this machine".to_owned());
        outcome.judge();
        let text = text(&outcome);
        let last = text.lines().last().unwrap();
        assert!(last.starts_with("failed: 3 deliveries are missing"), "{last}");
        assert!(text.contains("the server is not on this machine"), "{text}");
    }
}
