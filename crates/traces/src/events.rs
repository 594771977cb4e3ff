//! Turns the watched events of the hub into spans.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio_util::sync::CancellationToken;

use super::span::{SpanKind, SpanQueue, TraceSpan};
use tidings_delivery::BodyStreams;
use tidings_hub::{WATCH_TIME, WatchList, WatchedEvent};

/// The interval at which the node looks for finished events, while it watches some.
const TICK: Duration = Duration::from_millis(100);

/// Turns events into spans until the node stops; then all that are still watched.
pub(super) async fn run(
    watch_list: Arc<WatchList>,
    bodies: Arc<BodyStreams>,
    queue: SpanQueue,
    stop: CancellationToken,
) {
    let finish = |time| {
        for event in watch_list.take_finished(Instant::now(), time) {
            queue.push(span(&event, &bodies));
        }
    };
    loop {
        tokio::select! {
            () = watch_list.added() => {}
            () = stop.cancelled() => break,
        }
        while !watch_list.is_empty() && !stop.is_cancelled() {
            tokio::select! {
                () = tokio::time::sleep(TICK) => finish(WATCH_TIME),
                () = stop.cancelled() => break,
            }
        }
    }
    finish(Duration::ZERO);
}

/// The span of an event: from its arrival on the node to its last delivery.
fn span(event: &WatchedEvent, bodies: &BodyStreams) -> TraceSpan {
    let deliveries = event.watch.deliveries();
    let slowest = deliveries.slowest.or_else(|| {
        // The HTTP server does not say which of its streams it does not poll.
        let is_behind = deliveries.behind > 0;
        is_behind.then(|| bodies.most_behind(&event.workspace, event.number)).flatten()
    });
    let mut attributes = vec![
        ("tidings.workspace", event.workspace.as_str().into()),
        ("tidings.event.id", event.position.to_string().into()),
        ("tidings.event.bytes", event.bytes.into()),
        ("tidings.event.private", event.is_private.into()),
        ("tidings.deliveries", deliveries.streams.into()),
        ("tidings.streams_behind", deliveries.behind.into()),
    ];
    attributes.extend(slowest.map(|id| ("tidings.slowest_connection", id.to_string().into())));
    TraceSpan {
        name: "deliver event",
        kind: SpanKind::Consumer,
        context: event.watch.context(),
        parent: event.watch.parent(),
        begin: SystemTime::now().checked_sub(event.watch.began().elapsed()).unwrap_or(SystemTime::UNIX_EPOCH),
        duration: deliveries.after,
        attributes,
        has_failed: false,
    }
}
