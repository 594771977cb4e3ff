//! The port of the embedded bus under attack: the node as a whole.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Broker, BrokerOptions, DEADLINE, eventually};

/// Sends bytes and waits until the broker has ended the connection.
async fn offend(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // That the broker has closed shows when reading.
    let _ = stream.write_all(bytes).await;
    let mut rest = Vec::new();
    let _ = timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("the connection is not ended");
}

/// How many lines of a kind there are in the log, and how many they say were left out.
fn counted(log: &str, kind: &str) -> (u64, u64) {
    let lines: Vec<_> = log.lines().filter(|line| line.contains(kind)).collect();
    let silenced = lines.iter().filter_map(|line| {
        line.split("silenced=")
            .nth(1)?
            .split(|letter: char| !letter.is_ascii_digit())
            .next()?
            .parse::<u64>()
            .ok()
    });
    (lines.len() as u64, silenced.sum())
}

#[tokio::test]
async fn floods_of_offences_are_few_lines_that_count_all() {
    const OFFENCES: u64 = 500;
    let broker = Broker::start(BrokerOptions::embedded()).await;
    let kinds: [(&[u8], &str); 3] = [
        (b"*x\r\n", "Protocol error"),
        (b"POST / HTTP/1.1\r\n", "it speaks HTTP"),
        (b"AUTH x\r\n", "an inline command led to an error"),
    ];
    let began = Instant::now();
    for _ in 0..OFFENCES {
        for (bytes, _) in kinds {
            offend(broker.embedded(), bytes).await;
        }
    }
    let seconds = began.elapsed().as_secs() + 2;
    for (_, kind) in kinds {
        let lines = counted(&broker.log(), kind).0;
        assert!((1..=seconds).contains(&lines), "{kind}: {lines} lines in {seconds} s");
    }
    // The next line of a kind, a second later, says how many were left out.
    sleep(Duration::from_millis(1100)).await;
    for (bytes, kind) in kinds {
        offend(broker.embedded(), bytes).await;
        eventually("all are counted", DEADLINE, async || {
            let (lines, silenced) = counted(&broker.log(), kind);
            lines + silenced == OFFENCES + 1
        })
        .await;
    }
}

#[tokio::test]
async fn clients_beyond_the_limit_are_few_lines() {
    let broker = Broker::start(BrokerOptions::embedded().set("embedded.clients", 1)).await;
    let began = Instant::now();
    for _ in 0..300 {
        // Of two, at least one finds the only place taken, and the place is free again afterwards.
        let mut one = TcpStream::connect(broker.embedded()).await.unwrap();
        let mut other = TcpStream::connect(broker.embedded()).await.unwrap();
        let (mut of_one, mut of_other) = (Vec::new(), Vec::new());
        let refusal = async {
            tokio::select! {
                read = one.read_to_end(&mut of_one) => read,
                read = other.read_to_end(&mut of_other) => read,
            }
        };
        let _ = timeout(DEADLINE, refusal).await.expect("nobody is turned away");
    }
    let lines = counted(&broker.log(), "turns clients away").0;
    assert!((1..=began.elapsed().as_secs() + 2).contains(&lines), "{lines} lines");
}
