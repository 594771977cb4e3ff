//! How many writes deliveries take: as few as there are clients, however many events go out.

use bytes::Bytes;
use tidings_event::UserId;
use tidings_event::workspace::WorkspaceId;
use tidings_hub::SubscriptionFilter;

use super::ALONE;
use super::support::shard_harness::{Publisher, ShardHarness};

/// A workspace with so many clients, which see what these users see in turn.
struct WriteClients {
    shard_harness: ShardHarness,
    workspace: WorkspaceId,
    publisher: Publisher,
}

impl WriteClients {
    fn new(clients: usize, users: &[&str]) -> Self {
        let workspace = WorkspaceId::parse("acme").unwrap();
        let mut shard_harness = ShardHarness::new();
        for name in users.iter().cycle().take(clients) {
            shard_harness.join(
                &workspace,
                SubscriptionFilter {
                    user: Some(UserId::parse(name).unwrap().key()),
                    ..SubscriptionFilter::default()
                },
            );
        }
        shard_harness.confirm(&workspace);
        shard_harness.greet();
        Self { shard_harness, workspace, publisher: Publisher::default() }
    }

    /// How many writes it takes until events, published while the shard is busy, have made so many
    /// deliveries. Each has its audience.
    fn writes(&mut self, audiences: &[&[&str]], deliveries: u64) -> u64 {
        let messages: Vec<Bytes> = audiences.iter().map(|users| self.publisher.logged("{}", users)).collect();
        let before = self.shard_harness.streams.metrics.socket_writes.get();
        self.shard_harness.publish(&self.workspace, messages);
        self.shard_harness.deliver(deliveries);
        // Should there be more to come, it comes now.
        (0..10).for_each(|_| self.shard_harness.step());
        self.shard_harness.drain();
        self.shard_harness.streams.metrics.socket_writes.get() - before
    }
}

#[test]
fn client_takes_one_write_for_1_or_64_events() {
    let _alone = ALONE.lock();
    const CLIENTS: usize = 200;
    let mut crowd = WriteClients::new(CLIENTS, &["ann"]);
    assert_eq!(crowd.writes(&[&[]], CLIENTS as u64), CLIENTS as u64);
    assert_eq!(crowd.writes(&[&[][..]; 64], 64 * CLIENTS as u64), CLIENTS as u64);
}

#[test]
fn filtered_event_costs_a_client_no_write() {
    let _alone = ALONE.lock();
    const EACH: u64 = 50;
    let mut crowd = WriteClients::new(2 * EACH as usize, &["ann", "ben"]);
    assert_eq!(crowd.writes(&[&["ann"]], EACH), EACH, "nothing is written to who does not get it");
    assert_eq!(crowd.writes(&[&["cid"], &[]], 2 * EACH), 2 * EACH);
    // All in one run for ann; for ben eight, with gaps between them.
    let audiences = [&[][..], &["ann"]].repeat(8);
    assert_eq!(crowd.writes(&audiences, (16 + 8) * EACH), 2 * EACH);
}
