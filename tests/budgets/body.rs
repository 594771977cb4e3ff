//! How often a delivery takes memory where the HTTP server writes it. What the server itself takes
//! for its buffers is not counted here.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::Stream as _;
use tidings_delivery::{CloseReason, Recipient, StreamBody};
use tidings_event::UserId;
use tidings_event::workspace::WorkspaceId;
use tidings_hub::{SubscriptionFilter, TypeFilter};

use super::support::shard_harness::{Publisher, ShardHarness};
use super::{ALONE, least, taken};

const EVENTS: usize = 256;

/// Counts how often a connection's task was woken.
#[derive(Default)]
struct TestWaker(AtomicU64);

impl Wake for TestWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A stream, and what wakes the task that polls it.
struct Client {
    body: StreamBody,
    bell: Arc<TestWaker>,
}

impl Client {
    fn join(shard_harness: &ShardHarness, workspace: &WorkspaceId, view: SubscriptionFilter) -> Self {
        let (subscriber, terms) = shard_harness.admit(workspace, view);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let recipient =
            Recipient { address, client: address.ip(), user: None, abort: CloseReason::default() };
        let body = StreamBody::new(subscriber, terms, Arc::clone(&shard_harness.streams), recipient);
        Self { body, bell: Arc::default() }
    }

    /// Takes frames until there are none, and returns their number.
    fn frames(&mut self) -> usize {
        let waker = Waker::from(Arc::clone(&self.bell));
        let mut context = Context::from_waker(&waker);
        let mut frames = 0;
        while let Poll::Ready(frame) = Pin::new(&mut self.body).poll_next(&mut context) {
            assert!(frame.is_some(), "the stream has ended");
            frames += 1;
        }
        frames
    }
}

/// The number of allocations while [`EVENTS`] events go to clients with the same filter, `burst` of
/// them at a time.
fn takes(view: &SubscriptionFilter, users: &[&str], clients: usize, burst: usize) -> usize {
    let shard_harness = ShardHarness::new();
    let workspace = WorkspaceId::parse("acme").unwrap();
    let mut clients: Vec<_> =
        (0..clients).map(|_| Client::join(&shard_harness, &workspace, view.clone())).collect();
    shard_harness.confirm(&workspace);
    assert!(clients.iter_mut().all(|client| client.frames() == 2), "`retry:` and the connected event");
    let mut publisher = Publisher::default();
    let mut round = || {
        let mut messages: Vec<_> = (0..EVENTS)
            .map(|_| publisher.logged(r#"{"type":"CHANNEL_UPDATED","id":12345}"#, users))
            .collect();
        taken(|| {
            let mut messages = messages.drain(..);
            for _ in 0..EVENTS / burst {
                shard_harness.publish(&workspace, messages.by_ref().take(burst));
                assert!(clients.iter_mut().all(|client| client.frames() == burst));
            }
        })
    };
    // What is kept from then on is there.
    round();
    let least = least(round);
    assert!(clients.iter().all(|client| client.bell.0.load(Ordering::Relaxed) > 0), "each is woken");
    least
}

#[test]
fn delivery_takes_memory_in_the_http_server_alone() {
    let _alone = ALONE.lock();
    // Streams have timers.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _inside = runtime.enter();
    let ann = SubscriptionFilter {
        types: TypeFilter::parse("CHANNEL_UPDATED").ok(),
        named: true,
        user: Some(UserId::parse("ann").unwrap().key()),
    };
    for (view, users) in [(SubscriptionFilter::default(), &[][..]), (ann, &["ann"])] {
        for burst in [1, 64] {
            let (one, many) = (takes(&view, users, 1, burst), takes(&view, users, 200, burst));
            assert_eq!(one, many, "with one client, with many; {burst} at a time, {view:?}");
        }
    }
}
