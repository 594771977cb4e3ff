use super::*;
use crate::log::{Fields, IdempotencyBounds, Publish, RequestedId};
use crate::settings::LogSync;

const SETTINGS: LogSettings = LogSettings {
    events: 1000,
    age: Duration::from_secs(3600),
    bytes: 1 << 20,
    memory: 16 << 20,
    idempotency_cache: IdempotencyBounds { log: 1 << 20, all: 4 << 20 },
};

const LOG: Bytes = Bytes::from_static(b"workspace:a");

/// A writer on a file, and all that it announced.
async fn log_writer(path: &std::path::Path, sync: LogSync) -> Result<LogWriter, OpenError> {
    let disk = DiskSettings { path: path.to_owned(), sync };
    let state = Arc::new(StateCell::new("embedded"));
    LogWriter::start(SETTINGS, Some(disk), Arc::new(PubSub::new("workspace:", "tidings:control")), state)
        .await
}

async fn publish(log_writer: &LogWriter, payload: &str, idempotency_key: Option<&'static str>) -> String {
    let publish = Publish {
        items: vec![Bytes::from(payload.to_owned()).into()],
        events: Some(1000),
        age: Some(3_600_000),
        bytes: Some(1 << 20),
        idempotency_key: idempotency_key.map(|key| Bytes::from_static(key.as_bytes())),
        trace: None,
    };
    let ids = log_writer
        .ask(move |logs| Committed::without_announcements(logs.publish(&LOG, &publish).unwrap().ids))
        .await
        .unwrap();
    ids[0].to_string()
}

/// Ids and payloads of the log.
async fn read(log_writer: &LogWriter) -> Vec<(String, Bytes)> {
    let read = log_writer.ask(|logs| {
        let entries = logs.get(&LOG).map(|stream| stream.entries().cloned().collect::<Vec<_>>());
        Committed::without_announcements(entries.unwrap_or_default())
    });
    let entries = read.await.unwrap();
    entries.into_iter().map(|entry| (entry.id.to_string(), entry.fields.get(b"data").unwrap())).collect()
}

#[tokio::test]
async fn logs_and_keys_are_there_again_after_a_proper_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    for sync in [LogSync::Always, LogSync::EverySecond, LogSync::No] {
        let before = log_writer(&path, sync).await.unwrap();
        let had = read(&before).await;
        let key: &'static str = format!("{sync:?}").leak();
        let first = publish(&before, "one", Some(key)).await;
        publish(&before, "two", None).await;
        let entries = read(&before).await;
        assert_eq!(entries.len(), had.len() + 2);
        before.close().await;
        assert!(!before.is_running());

        let after = log_writer(&path, sync).await.unwrap();
        assert_eq!(read(&after).await, entries);
        assert_eq!(publish(&after, "again", Some(key)).await, first);
        assert_eq!(read(&after).await, entries);
        let next = publish(&after, "three", None).await;
        assert!(entries.iter().all(|(id, _)| *id != next), "{next} was given before");
        after.close().await;
    }
}

#[tokio::test]
async fn stopped_writer_rejects_commands() {
    let log_writer = LogWriter::in_memory(&Arc::new(PubSub::new("workspace:", "tidings:control"))).await;
    log_writer.close().await;
    log_writer.close().await;
    log_writer.tidy().await;
    let refused = log_writer.ask(|logs| Committed::without_announcements(logs.now())).await;
    assert_eq!(refused, Err(LogWriterError::Stopped));
}

#[tokio::test]
async fn a_file_is_open_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let first = log_writer(&path, LogSync::Always).await.unwrap();
    let error = log_writer(&path, LogSync::Always).await.unwrap_err();
    assert_eq!(error.to_string(), format!("the log {} is in use by another process", path.display()));
    first.close().await;
    log_writer(&path, LogSync::Always).await.unwrap().close().await;
}

/// A command is acknowledged and announced only after it is stored.
#[tokio::test]
async fn announcements_follow_the_order_of_stored_commands() {
    use crate::listener::output_buffer::OutputBuffer;
    use crate::pubsub::SubscriptionKind;
    use crate::pubsub::subscriber::RedisSubscriber;
    use futures_util::FutureExt as _;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let pubsub = Arc::new(PubSub::new("workspace:", "tidings:control"));
    let disk = DiskSettings { path: path.clone(), sync: LogSync::Always };
    let state = Arc::new(StateCell::new("embedded"));
    let log_writer = LogWriter::start(SETTINGS, Some(disk), Arc::clone(&pubsub), state).await.unwrap();
    let output_buffer = OutputBuffer::new(1 << 20);
    let mut subscriber = RedisSubscriber::new(pubsub, Arc::clone(&output_buffer));
    subscriber.subscribe(SubscriptionKind::Channel, &Bytes::from_static(b"a")).unwrap();
    output_buffer.next().await.unwrap();

    // All of it waits while the first piece of work takes its time: it is stored together.
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let busy = log_writer.submit(move |_| Committed::without_announcements(wait.recv().is_ok())).await;
    let mut tickets = Vec::new();
    for number in 0..100 {
        let pending = log_writer.submit(move |logs| {
            logs.append(&LOG, RequestedId::Any, Fields::new(&["data", "x"])).unwrap();
            let message = Bytes::from(format!("number-{number}"));
            Committed {
                reply: (),
                announcements: vec![Announcement { channel: Bytes::from_static(b"a"), message }],
            }
        });
        tickets.push(pending.await);
    }
    assert!(output_buffer.next().now_or_never().is_none());
    go.send(()).unwrap();
    assert_eq!(busy.reply().await, Ok(true));
    for pending in tickets {
        pending.reply().await.unwrap();
    }
    let mut output = String::new();
    while let Some(Some(bytes)) = output_buffer.next().now_or_never() {
        output += std::str::from_utf8(&bytes.bytes).unwrap();
    }
    let numbers: Vec<usize> =
        output.lines().filter_map(|line| line.strip_prefix("number-")?.parse().ok()).collect();
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    log_writer.close().await;
}
