//! Streams that have to end although their clients take nothing.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::http2_frames::{DATA, FrameConnection, RST_STREAM, frame};
use crate::support::token::{JWT, bearer, token};
use crate::support::{Broker, BrokerOptions, Bus, Connect, DEADLINE, SseClient, TestCluster, eventually};

const INITIAL_WINDOW_SIZE: u16 = 4;
const WINDOW_UPDATE: u8 = 8;

/// A client may take 5 seconds for the end of its stream. The rest is for a busy machine. A stream
/// without this bound ends after a minute, by the write timeout of these tests.
const GRACE: Duration = Duration::from_secs(5 + 20);

/// A broker that would wait a minute for a client that takes nothing.
async fn patient(writer: &str, more: &[(&str, &str)]) -> TestCluster {
    let settings = [&[("delivery.writer", writer), ("server.write_timeout_seconds", "60")], more].concat();
    let cluster = TestCluster::start_with(Bus::Embedded, &settings).await;
    cluster.broker.ready().await;
    cluster
}

/// A client that reads no more after its `connected` event, and has far more waiting than fits into
/// any buffer.
async fn stuck(cluster: &TestCluster, options: Connect) -> SseClient {
    let mut client =
        cluster.broker.connect_with("acme", Connect { receive_buffer: Some(8192), ..options }).await;
    client.connected().await;
    client.stop_reading();
    for _ in 0..15 {
        cluster.publish_live("acme", "x".repeat(50_000)).await;
    }
    client
}

async fn is_over(cluster: &TestCluster, within: Duration, why: &str) {
    eventually("the stream is over", within, async || {
        let status = cluster.broker.status().await;
        status["subscribers"] == 0 && status["connections"] == 0
    })
    .await;
    cluster.broker.logged(&format!("why=\"{why}\"")).await;
}

async fn disconnect(cluster: &TestCluster) {
    let order = json!({ "disconnect": { "workspace": "acme" } }).to_string();
    let mut publish = redis::cmd("PUBLISH");
    publish.arg("tidings:control").arg(order).exec_async(&mut cluster.connection().await).await.unwrap();
}

#[tokio::test]
async fn stalled_client_is_gone_soon_after_its_token() {
    for writer in ["handoff", "body"] {
        let cluster = patient(writer, &JWT).await;
        // One with less than two seconds left at the first look would be good by the leeway for
        // clocks.
        let authorization = bearer(&token("ann", &["acme"], 7, &json!({})));
        let _client = stuck(&cluster, Connect::default().header("Authorization", &authorization)).await;
        is_over(&cluster, Duration::from_secs(7) + GRACE, "expired").await;
    }
}

#[tokio::test]
async fn stalled_client_is_gone_soon_after_its_disconnect() {
    for writer in ["handoff", "body"] {
        let cluster = patient(writer, &[]).await;
        let _client = stuck(&cluster, Connect::default()).await;
        disconnect(&cluster).await;
        is_over(&cluster, GRACE, "disconnected").await;
    }
}

#[tokio::test]
async fn stalled_client_does_not_hold_a_drain() {
    for writer in ["handoff", "body"] {
        let settings = [("server.drain_delay_seconds", "0"), ("server.drain_seconds", "1")];
        let mut cluster = patient(writer, &settings).await;
        let _client = stuck(&cluster, Connect::default()).await;
        assert_eq!(cluster.broker.terminate(Duration::from_secs(1) + GRACE).await, Some(0), "{writer}");
    }
}

#[tokio::test]
async fn client_that_reads_gets_its_whole_end() {
    for writer in ["handoff", "body"] {
        let cluster = patient(writer, &[]).await;
        let mut client = stuck(&cluster, Connect::default()).await;
        disconnect(&cluster).await;
        client.resume_reading();
        assert_eq!(client.event_named("tidings.reconnect").await.json()["reason"], "disconnected");
        assert_eq!(client.wait_end(DEADLINE).await, crate::support::End::Clean);
    }
}

#[tokio::test]
async fn http2_stream_with_shut_window_is_reset_after_its_disconnect() {
    let cluster = patient("handoff", &[]).await;
    let mut frames = FrameConnection::open(cluster.broker.address(), &[(INITIAL_WINDOW_SIZE, 0)]).await;
    let request = frames.get(1, "acme");
    assert!(frames.send(&request).await);
    eventually("it is there", DEADLINE, async || cluster.broker.status().await["subscribers"] == 1).await;
    disconnect(&cluster).await;
    eventually("it is over", GRACE, async || cluster.broker.status().await["subscribers"] == 0).await;
    cluster.broker.logged("why=\"disconnected\"").await;
    let reset = async {
        loop {
            let frame = frames.next().await.expect("the connection goes on");
            if frame.kind == RST_STREAM {
                return frame.stream;
            }
        }
    };
    assert_eq!(tokio::time::timeout(DEADLINE, reset).await.expect("a reset"), 1);
}

#[tokio::test]
async fn http2_stream_with_shut_window_is_reset_beside_moving_ones() {
    let options = BrokerOptions::embedded().set("server.write_timeout_seconds", 1);
    let broker = Broker::start_ready(options.set("sse.heartbeat_seconds", 0.5)).await;
    let mut frames = FrameConnection::open(broker.address(), &[(INITIAL_WINDOW_SIZE, 0)]).await;
    let began = Instant::now();
    let requests = [frames.get(1, "shut"), frames.get(3, "moving")].concat();
    assert!(frames.send(&requests).await);
    assert!(frames.send(&frame(WINDOW_UPDATE, 0, 3, &1_000_000_u32.to_be_bytes())).await);
    let watching = async {
        let mut moved = 0;
        loop {
            let frame = frames.next().await.expect("the connection goes on");
            match (frame.kind, frame.stream) {
                (RST_STREAM, 1) => return moved,
                (RST_STREAM, _) => panic!("the moving stream was reset"),
                (DATA, 3) => moved += 1,
                _ => {}
            }
        }
    };
    let moved = tokio::time::timeout(DEADLINE, watching).await.expect("a reset");
    assert!(moved > 2 && began.elapsed() > Duration::from_secs(1), "{moved} in {:?}", began.elapsed());
    eventually("one is left", DEADLINE, async || broker.status().await["subscribers"] == 1).await;
    broker.logged("why=\"takes no bytes\"").await;
    // And that one goes on.
    let beats = async { while frames.next().await.expect("the connection goes on").kind != DATA {} };
    tokio::time::timeout(DEADLINE, beats).await.expect("a heartbeat");
}
