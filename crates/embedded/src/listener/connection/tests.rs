use bytes::Bytes;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::*;

/// A client, and the task that serves it.
struct Served {
    client: TcpStream,
    pubsub: Arc<PubSub>,
    serving: JoinHandle<ConnectionEnd>,
}

async fn served() -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let pubsub = Arc::new(PubSub::new("workspace:", "tidings:control"));
    let context = ClientContext {
        pubsub: Arc::clone(&pubsub),
        log_writer: LogWriter::in_memory(&pubsub).await,
        shared_sets: Arc::default(),
        clients_max: 1,
        password: Arc::default(),
        event_bytes: 1 << 18,
        output_bytes: 1 << 28,
        budget: ClientBudget::new(1 << 30),
        reads: Arc::new([1, 1].map(Semaphore::new)),
        unauthenticated: Unauthenticated::new(4),
    };
    let serving = tokio::spawn(serve(stream, context, None, CancellationToken::new()));
    Served { client, pubsub, serving }
}

/// The clock of these tests is paused, and jumps to the next deadline whenever no task can go
/// on.
#[tokio::test(start_paused = true)]
async fn client_that_takes_no_bytes_is_disconnected() {
    let Served { mut client, pubsub, serving } = served().await;
    client.write_all(b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n").await.unwrap();
    let (channel, message) = (Bytes::from_static(b"a"), Bytes::from(vec![b'x'; 1 << 20]));
    while pubsub.publish(&channel, &message) == 0 {
        tokio::task::yield_now().await;
    }
    // More than the buffers of both sockets take.
    for _ in 0..64 {
        pubsub.publish(&channel, &message);
    }
    let ended = serving.await.unwrap();
    assert!(matches!(ended, ConnectionEnd::Stalled), "{ended}");
    assert_eq!(pubsub.publish(&channel, &message), 0);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn client_that_does_not_finish_a_command_is_disconnected() {
    for begun in [&b"*3\r\n$7\r\nPUBLISH\r\n$1\r\na\r\n$262144\r\nxxx"[..], b"*", b"*1\r\n$"] {
        let Served { mut client, serving, .. } = served().await;
        client.write_all(begun).await.unwrap();
        let began = Instant::now();
        let ended = timeout(100 * READ_STALL_MAX, serving).await.expect("it ends").unwrap();
        assert!(matches!(ended, ConnectionEnd::Unfinished), "{ended}");
        assert!(began.elapsed() <= 2 * READ_STALL_MAX, "{:?}", began.elapsed());
        drop(client);
    }
}

#[tokio::test(start_paused = true)]
async fn client_that_waits_between_commands_stays() {
    let Served { mut client, serving, .. } = served().await;
    for _ in 0..2 {
        sleep(100 * READ_STALL_MAX).await;
        client.write_all(b"*1\r\n$4\r\nPING\r\n").await.unwrap();
        let mut reply = [0; 7];
        client.read_exact(&mut reply).await.unwrap();
        assert_eq!(&reply, b"+PONG\r\n");
    }
    client.write_all(b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n").await.unwrap();
    sleep(100 * READ_STALL_MAX).await;
    assert!(!serving.is_finished());
}

#[tokio::test(start_paused = true)]
async fn client_that_sends_a_command_slowly_gets_its_reply() {
    let Served { mut client, serving, .. } = served().await;
    for byte in b"*1\r\n$4\r\nPING\r\n" {
        client.write_all(&[*byte]).await.unwrap();
        sleep(READ_STALL_MAX * 3 / 4).await;
    }
    let mut reply = [0; 7];
    client.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b"+PONG\r\n");
    assert!(!serving.is_finished());
}
