//! A log that cannot be written, or has no reader, changes nothing for clients.

use std::io::{PipeReader, Read as _};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;

use crate::support::programs::Sink;
use crate::support::raw::RawConnection;
use crate::support::{Broker, BrokerOptions, DEADLINE, SseClient, eventually};

/// What a pipe of Linux takes without a reader.
const PIPE_BYTES: u64 = 64 * 1024;

/// Without a pause for load balancers, which none of these tests is about.
fn options(sink: &Sink) -> BrokerOptions {
    BrokerOptions::embedded()
        .writing_to(sink)
        .set("log.format", "json")
        .set("log.lines_per_second", 0)
        .set("server.drain_delay_seconds", 0)
        .set("server.drain_seconds", 0)
}

async fn dropped(broker: &Broker) -> f64 {
    broker.metric("tidings_log_lines_dropped_total").await.expect("the metric")
}

/// Has streams end, each of which is a line.
async fn end_streams(broker: &Broker, count: usize) {
    for _ in 0..count {
        let mut client = RawConnection::open(broker.address()).await;
        let request = "GET /api/workspaces/acme/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n";
        client.send(request).await;
        client.read_until("connected").await;
    }
}

/// Fails the test when an event does not reach the client.
async fn delivers(broker: &Broker, client: &mut SseClient) {
    broker.publish("acme", r#"{"type":"still-here"}"#).await;
    assert_eq!(client.application_event().await.data, r#"{"type":"still-here"}"#);
}

async fn loses_only_lines(sink: Sink) {
    let mut broker = Broker::start_ready(options(&sink)).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    end_streams(&broker, 10).await;
    eventually("lost lines are counted", DEADLINE, async || dropped(&broker).await > 10.0).await;
    delivers(&broker, &mut client).await;
    assert_eq!(broker.terminate(DEADLINE).await, Some(0));
}

#[tokio::test]
async fn a_log_on_a_full_disk_loses_only_lines() {
    loses_only_lines(Sink::full_disk()).await;
}

#[tokio::test]
async fn a_log_that_is_closed_loses_only_lines() {
    loses_only_lines(Sink::closed_pipe()).await;
}

#[tokio::test]
async fn unread_log_delays_neither_streams_nor_the_end() {
    let (sink, _unread) = Sink::pipe();
    let mut broker = Broker::start_ready(options(&sink)).await;
    let mut client = broker.connect("acme").await;
    client.connected().await;
    // Each line has more than 200 bytes.
    end_streams(&broker, 500).await;
    delivers(&broker, &mut client).await;
    assert_eq!(broker.terminate(DEADLINE).await, Some(0));
}

/// Reads a pipe to its end, beside the test.
fn read_all(mut pipe: PipeReader) -> std::sync::Arc<Mutex<Vec<u8>>> {
    let read = std::sync::Arc::<Mutex<Vec<u8>>>::default();
    let target = std::sync::Arc::clone(&read);
    std::thread::spawn(move || {
        let mut bytes = [0; 16 * 1024];
        while let Ok(count @ 1..) = pipe.read(&mut bytes) {
            target.lock().extend_from_slice(&bytes[..count]);
        }
    });
    read
}

#[tokio::test]
async fn lost_lines_are_reported_once_the_log_is_read() {
    let (sink, pipe) = Sink::pipe();
    // Of every request some kilobytes.
    let mut broker = Broker::start(options(&sink).set("log.level", "trace")).await;
    drop(sink);
    eventually("lines are lost", DEADLINE * 2, async || {
        end_streams(&broker, 20).await;
        dropped(&broker).await > 0.0
    })
    .await;
    let read = read_all(pipe);
    eventually("the loss is reported", DEADLINE, async || {
        String::from_utf8_lossy(&read.lock()).contains("log lines were lost")
    })
    .await;
    let lost = dropped(&broker).await;
    assert_eq!(broker.terminate(DEADLINE).await, Some(0));
    let text = String::from_utf8(read.lock().clone()).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let reported: u64 = lines
        .iter()
        .filter(|line| line["message"].as_str().unwrap_or_default().starts_with("log lines were lost"))
        .map(|line| line["lines"].as_u64().unwrap())
        .sum();
    assert!(reported as f64 >= lost, "{reported} of {lost}");
    assert!(text.len() as u64 > PIPE_BYTES);
    let last = lines.last().unwrap();
    assert_eq!(last["message"], "stopped: every connection ended", "an ordinary end writes every line");
}

#[tokio::test]
async fn flood_of_one_line_is_limited_and_counted() {
    const STREAMS: usize = 100;
    let options = BrokerOptions::embedded().set("log.format", "json").set("log.lines_per_second", 10);
    let broker = Broker::start_ready(options).await;
    let began = Instant::now();
    end_streams(&broker, STREAMS).await;
    let counted = |log: &str| {
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let (mut written, mut silenced) = (0, 0);
        for line in lines {
            if line["message"] == "stream ended" {
                written += 1;
            }
            if line["kind"] == "stream ended" {
                silenced += line["silenced"].as_u64().unwrap();
            }
        }
        (written, silenced)
    };
    eventually("every line is written or counted", DEADLINE, async || {
        let (written, silenced) = counted(&broker.log());
        written + silenced == STREAMS as u64
    })
    .await;
    let seconds = began.elapsed().max(Duration::from_secs(1)).as_secs() + 1;
    let (written, _) = counted(&broker.log());
    assert!(written <= 10 * seconds, "{written} lines in {seconds} s");
    assert!(written < STREAMS as u64, "{written}");
}
