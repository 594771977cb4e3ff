//! A session with a server: how a link opens, and what it does while it is open.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tidings_event::SubscriptionChange;
use tokio_util::task::AbortOnDropHandle;

use super::super::super::scripted::{bulk, eventually, push, settings_with, workspace};
use super::*;

/// A session of a server that has all slots.
pub(super) struct LinkFixture {
    pub(super) server: ScriptedServer,
    pub(super) calls: Arc<RecordedCalls>,
    pub(super) shared: Arc<ClusterShared>,
    pub(super) shard: Arc<ClusterShard>,
    pub(super) stop: CancellationToken,
    /// What the server says of its slots.
    pub(super) slots: Arc<Mutex<String>>,
    session: Option<AbortOnDropHandle<()>>,
}

/// The values of most tests: attempts and checks follow each other soon, and no deadline ends.
pub(super) const FAST: [(&str, &str); 6] = [
    ("connect_timeout_seconds", "40"),
    ("probe_seconds", "0.01"),
    ("ping_seconds", "0.02"),
    ("ping_timeout_seconds", "40"),
    ("backoff_min_seconds", "0.001"),
    ("backoff_max_seconds", "0.01"),
];

/// A long pause after the first link, so that its end can be observed.
pub(super) const ONCE: [(&str, &str); 3] =
    [("backoff_min_seconds", "1000"), ("backoff_max_seconds", "1000"), ("cluster.poll_seconds", "1000")];

impl LinkFixture {
    /// Starts a server and a session. `script` gets each command after the topology is known, and
    /// may leave the reply to a server that does all that is asked for.
    pub(super) async fn start(
        values: &[(&str, &str)],
        mut script: impl FnMut(&str) -> Option<ScriptedReply> + Send + 'static,
    ) -> Self {
        let is_begun = Arc::<AtomicBool>::default();
        let slots = Arc::new(Mutex::new("0-16383".to_owned()));
        let of_script = Arc::clone(&is_begun);
        let server = ScriptedServer::start_primary(Arc::clone(&slots), move |command| {
            if of_script.load(Ordering::SeqCst) { script(command) } else { None }
        })
        .await;
        let values = [&FAST, values].concat();
        let config = settings_with("127.0.0.1", server.port, &values);
        let calls = Arc::<RecordedCalls>::default();
        let shared = shared_with(config, Arc::clone(&calls));
        refresh(&shared).await;
        let topology = shared.refresher.topology().unwrap();
        let (id, place) = topology.servers.first_key_value().unwrap();
        let shard = Arc::new(ClusterShard::new(Arc::clone(id), shared.servers.at(place)));
        shard.changes.push(workspace("acme"), SubscriptionChange::Want);
        is_begun.store(true, Ordering::SeqCst);
        let stop = CancellationToken::new();
        let session = tokio::spawn(run(Arc::clone(&shared), Arc::clone(&shard), stop.clone()));
        let session = Some(AbortOnDropHandle::new(session));
        Self { server, calls, shared, shard, stop, slots, session }
    }

    pub(super) async fn is_up(&self) {
        eventually(|| self.shard.status.lock().link == ShardLinkState::Up).await;
    }

    /// Waits until the link is down; returns the reason.
    pub(super) async fn is_down(&self) -> String {
        let reason = || match &self.shard.status.lock().link {
            ShardLinkState::Down(reason) if reason != "not connected yet" => Some(reason.clone()),
            _ => None,
        };
        eventually(|| reason().is_some()).await;
        reason().unwrap()
    }

    /// Waits for the end of the session.
    pub(super) async fn ended(&mut self) {
        let session = self.session.take().unwrap();
        timeout(Duration::from_secs(40), session).await.expect("the session ends").unwrap();
    }

    /// Delivers the first probe that the server got.
    fn deliver_first_probe(&self) {
        let received = self.server.received();
        let probe = received.iter().find_map(|command| command.strip_prefix("SPUBLISH ")).unwrap();
        let (channel, number) = probe.split_once(' ').unwrap();
        self.server.push(&push("smessage", channel, &bulk(number)));
    }

    /// The channels of probes to which the session subscribed.
    pub(super) fn probe_channels(&self) -> Vec<String> {
        let prefix = format!("SSUBSCRIBE {}", self.shared.channels.probe());
        self.server.received().into_iter().filter(|command| command.starts_with(&prefix)).collect()
    }
}

/// Asks for the topology until there is a reply. A busy server may be late for a round.
async fn refresh(shared: &ClusterShared) {
    let reply = async { while shared.refresher.refresh().await.is_err() {} };
    timeout(Duration::from_secs(40), reply).await.expect("a topology");
}

/// The reply of a server that keeps quiet.
pub(super) fn silence() -> Option<ScriptedReply> {
    Some(ScriptedReply::Send(String::new()))
}

pub(super) fn error(line: &str) -> Option<ScriptedReply> {
    Some(ScriptedReply::Send(format!("-{line}\r\n")))
}

#[tokio::test]
async fn link_delivers_what_it_confirms() {
    let fixture = LinkFixture::start(&[], |_| None).await;
    assert_eq!(fixture.calls.until("confirmed acme").await, ["control confirmed", "confirmed acme"]);
    fixture.is_up().await;
    fixture.server.push(&push("smessage", "workspace:acme", &bulk("event")));
    fixture.server.push(&push("message", "tidings:control", &bulk("{}")));
    assert_eq!(fixture.calls.until("control {}").await, ["message acme event", "control {}"]);
    fixture.shard.changes.push(workspace("other"), SubscriptionChange::Want);
    fixture.calls.until("confirmed other").await;
    fixture.shard.changes.push(workspace("acme"), SubscriptionChange::Release);
    fixture.calls.until("lost acme").await;
    eventually(|| fixture.server.count("SUNSUBSCRIBE workspace:acme") == 1).await;
    let is_learned = || {
        let status = fixture.shard.status.lock();
        status.function.as_deref() == Some("loaded")
            && status.clock_difference.is_some()
            && (status.wanted, status.confirmed) == (1, 1)
            && status.server_name.as_deref() == Some("redis 7.0.15")
    };
    eventually(is_learned).await;
}

/// The replies to checks say nothing about messages.
#[tokio::test]
async fn link_without_a_probe_is_not_up() {
    let checks = Arc::new(Mutex::new(0));
    let of_script = Arc::clone(&checks);
    let fixture = LinkFixture::start(&[], move |command| match command.split(' ').next()? {
        "HELLO" => {
            *of_script.lock() += 1;
            None
        }
        "SPUBLISH" => Some(ScriptedReply::Send(":1\r\n".to_owned())),
        _ => None,
    })
    .await;
    fixture.calls.until("confirmed acme").await;
    eventually(|| fixture.server.count("SPUBLISH") == 1).await;
    let before = *checks.lock();
    eventually(|| *checks.lock() > before + 3).await;
    assert_eq!(fixture.shard.status.lock().link, ShardLinkState::Subscribing);
    assert_eq!(fixture.shard.status.lock().received_at, None);
    fixture.deliver_first_probe();
    fixture.is_up().await;
}

/// A probe arrives, and a workspace has no reply yet.
#[tokio::test]
async fn link_without_all_confirmations_is_not_up() {
    // One check alone: the server would reply to the next one in the place of the workspace.
    let fixture = LinkFixture::start(&[("ping_seconds", "1000")], |command| match command {
        "SSUBSCRIBE workspace:other" => silence(),
        _ if command.starts_with("SPUBLISH") && command.ends_with(" 1") => {
            Some(ScriptedReply::Send(":1\r\n".to_owned()))
        }
        _ => None,
    })
    .await;
    fixture.calls.until("confirmed acme").await;
    eventually(|| fixture.server.count("SPUBLISH") == 1).await;
    fixture.shard.changes.push(workspace("other"), SubscriptionChange::Want);
    eventually(|| fixture.server.count("SSUBSCRIBE workspace:other") == 1).await;
    fixture.deliver_first_probe();
    eventually(|| fixture.server.count("SPUBLISH") > 5).await;
    assert_eq!(fixture.shard.status.lock().link, ShardLinkState::Subscribing);
    fixture.server.push(&push("ssubscribe", "workspace:other", ":1\r\n"));
    fixture.is_up().await;
}

/// The server counts no subscriber before, and a probe without one ends the link.
#[tokio::test]
async fn probes_begin_after_the_confirmation_of_their_channel() {
    let release = Arc::<tokio::sync::Notify>::default();
    let of_script = Arc::clone(&release);
    let fixture = LinkFixture::start(&[], move |command| {
        let channel = command.strip_prefix("SSUBSCRIBE ")?;
        let confirmation = push("ssubscribe", channel, ":1\r\n");
        channel
            .starts_with("workspace:tidings/probe")
            .then(|| ScriptedReply::SendAfter(Arc::clone(&of_script), confirmation))
    })
    .await;
    eventually(|| !fixture.probe_channels().is_empty() && fixture.server.count("TIME") > 3).await;
    assert_eq!(fixture.server.count("SPUBLISH"), 0);
    release.notify_one();
    fixture.is_up().await;
    assert!(fixture.server.count("SPUBLISH") > 0);
}

/// A user without the right to publish probes has the replies to checks.
#[tokio::test]
async fn link_without_the_right_to_probes_is_up() {
    for forbidden in ["SPUBLISH", "SSUBSCRIBE workspace:tidings/probe"] {
        let fixture =
            LinkFixture::start(
                &[],
                move |command| {
                    if command.starts_with(forbidden) { error("NOPERM no") } else { None }
                },
            )
            .await;
        fixture.is_up().await;
        let status = fixture.shard.status.lock().clone();
        assert_eq!(status.probe_refused.is_some(), forbidden == "SPUBLISH");
        assert_eq!(status.subscription_refused.is_some(), forbidden != "SPUBLISH");
        assert!(status.received_at.is_some());
    }
}

/// The server redirects the subscription to each channel for probes.
#[tokio::test]
async fn redirected_probe_waits_for_the_next_topology() {
    let fixture = LinkFixture::start(&[], |command| {
        if command.starts_with("SSUBSCRIBE workspace:tidings/probe") {
            return error("MOVED 7 127.0.0.1:1");
        }
        None
    })
    .await;
    for attempts in 1..5 {
        eventually(|| fixture.probe_channels().len() == attempts).await;
        // The server has sent the reply, and time for more attempts has passed.
        let before = fixture.server.count("TIME");
        eventually(|| fixture.server.count("TIME") > before + 3).await;
        assert_eq!(fixture.probe_channels().len(), attempts, "no attempt without a new topology");
        refresh(&fixture.shared).await;
    }
    let channels = fixture.probe_channels();
    assert!(channels[1..].iter().all(|channel| *channel != channels[0]), "each one has another name");
}

#[tokio::test]
async fn probe_leaves_a_slot_that_moves_away() {
    let fixture = LinkFixture::start(&[], |_| None).await;
    fixture.is_up().await;
    let slot = |command: &String| slot_of(command.strip_prefix("SSUBSCRIBE ").unwrap().as_bytes());
    let first = slot(&fixture.probe_channels()[0]);
    let half = if first < 8192 { "8192-16383" } else { "0-8191" };
    for (slots, channels) in [("0-16383", 1), (half, 2), (half, 2)] {
        fixture.slots.lock().clear();
        fixture.slots.lock().push_str(slots);
        refresh(&fixture.shared).await;
        eventually(|| fixture.probe_channels().len() >= channels).await;
        let before = fixture.server.count("TIME");
        eventually(|| fixture.server.count("TIME") > before + 3).await;
        assert_eq!(fixture.probe_channels().len(), channels, "{slots}");
    }
    assert_eq!(slot(&fixture.probe_channels()[1]) < 8192, first >= 8192);
    // Probes go on over the new channel.
    let before = fixture.server.count("SPUBLISH");
    eventually(|| fixture.server.count("SPUBLISH") > before + 3).await;
    assert_eq!(fixture.shard.status.lock().link, ShardLinkState::Up);
    assert_eq!(fixture.server.count("SSUBSCRIBE workspace:acme"), 1, "the link is the same");
}

/// The node does not receive the announcements of the server that gets the slot.
#[tokio::test]
async fn log_of_a_migrating_slot_is_read_again_and_again() {
    let fixture = LinkFixture::start(&[], |_| None).await;
    fixture.is_up().await;
    fixture.calls.take();
    let slot = slot_of(b"workspace:acme");
    *fixture.slots.lock() = format!("0-16383 [{slot}->-{:040}]", 2);
    refresh(&fixture.shared).await;
    for _ in 0..3 {
        fixture.calls.until("message acme ").await;
    }
}
