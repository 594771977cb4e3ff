//! What an event costs on its way from the bus to the sockets of its workspace.

use std::alloc::System;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tidings::auth::Identity;
use tidings::bus::{Feed as _, Interest, LogPage};
use tidings::delivery::engine::{Engine, EngineSettings, Granted, Handed, Kept, LogBounds};
use tidings::delivery::{Drain, EndNote, Recipient, StreamSettings, Terms};
use tidings::event::{EntryId, NodeId};
use tidings::hub::{Hub, HubSettings, Start, View};
use tidings::limits::{Candidate, OpenStreams, StreamLimits};
use tidings::metrics::Metrics;
use tidings::rate::Rates;
use tidings::workspace::WorkspaceId;

use super::ALONE;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const EVENTS: usize = 200;

/// How often memory is taken while [`EVENTS`] events go to so many clients, one event after the other.
fn allocations(clients: usize) -> usize {
    let metrics = Arc::new(Metrics::new());
    let node = NodeId::random();
    let settings = HubSettings {
        ring_events: 100,
        ring_bytes: 1 << 20,
        ring_bytes_in_all: 1 << 30,
        rates: Rates::default(),
        event_bytes: 1 << 16,
        linger: Duration::from_secs(30),
        workspaces: 10,
    };
    let hub = Hub::new(node, settings, Arc::new(Interest::default()), Arc::clone(&metrics));
    let hour = Duration::from_secs(3600);
    let streams = Arc::new(StreamSettings {
        heartbeat: hour,
        retry: hour,
        confirm: hour,
        age: None,
        drain: Drain::new(hour),
        metrics,
    });
    let bounds = LogBounds { frames: 100, bytes: 1 << 20 };
    let (engine, shards) = Engine::new(1, &EngineSettings { streams, write_timeout: hour, bounds }).unwrap();
    let threads: Vec<_> = shards.into_iter().map(|shard| std::thread::spawn(|| shard.run())).collect();

    let workspace = WorkspaceId::parse("acme").unwrap();
    let open = Arc::new(OpenStreams::new(node, StreamLimits::default()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut readers = Vec::new();
    for _ in 0..clients {
        let reader = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, address) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let candidate = Candidate { workspace: workspace.clone(), identity: Identity::default() };
        let terms = Terms { lease: open.admit(candidate).unwrap(), place: None, until: None };
        let subscriber = hub.join(&workspace, Start::Head, View::default()).unwrap();
        let recipient = Recipient { address, client: address.ip(), cut: EndNote::default() };
        let granted = Granted::new(subscriber, terms, &recipient);
        engine.open(Handed { granted, socket, head: b"head\r\n\r\n".to_vec(), kept: Kept::default() });
        readers.push(reader);
    }
    hub.confirmed(&workspace);
    while let Some(read) = hub.reads().take() {
        let page = LogPage { entries: Vec::new(), proven: true, more: false, head: EntryId::ZERO };
        hub.answer(&read, Ok(page));
    }
    let mut buffer = vec![0; 4096];
    for reader in &mut readers {
        read_until(reader, &mut buffer, b"\"connected\"");
    }
    let mut publish = |count: usize| {
        for _ in 0..count {
            hub.message(&workspace, Bytes::from_static(br#"{"type":"CHANNEL_UPDATED","marker":true}"#));
            for reader in &mut readers {
                read_until(reader, &mut buffer, b"marker");
            }
        }
    };
    // What is kept from then on is there.
    publish(EVENTS);
    let region = Region::new(ALLOCATOR);
    publish(EVENTS);
    let change = region.change();
    engine.stop();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    std::io::stderr().flush().unwrap();
    change.allocations + change.reallocations
}

/// Reads until some bytes have come, and whatever came with them.
fn read_until(reader: &mut TcpStream, buffer: &mut [u8], wanted: &[u8]) {
    let mut filled = 0;
    loop {
        let count = reader.read(&mut buffer[filled..]).unwrap();
        assert_ne!(count, 0, "cut");
        filled += count;
        let come = &buffer[..filled];
        if come.ends_with(b"\n\n\r\n") && come.windows(wanted.len()).any(|window| window == wanted) {
            return;
        }
    }
}

#[test]
fn an_event_takes_memory_once_however_many_clients_get_it() {
    let _alone = ALONE.lock();
    let (few, many) = (allocations(10), allocations(200));
    // 38,000 deliveries more. What differs by chance is how often the two threads meet.
    assert!(many < few + EVENTS, "{few} with 10 clients, {many} with 200");
    assert!(few < 16 * EVENTS, "{few} for {EVENTS} events");
}
