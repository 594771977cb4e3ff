//! A session that loses its link: how it notices, what it leaves behind, and when it tries again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tidings_event::SubscriptionChange;

use super::super::super::scripted::{eventually, login, push, workspace};
use super::links::{LinkFixture, ONCE, error, silence};
use super::*;

/// A switch for a script.
fn switch() -> (Arc<AtomicBool>, Arc<AtomicBool>) {
    let switch = Arc::<AtomicBool>::default();
    (Arc::clone(&switch), switch)
}

#[tokio::test]
async fn lost_link_is_replaced_and_confirms_again() {
    let (closes, of_script) = switch();
    let fixture = LinkFixture::start(&[], move |command| {
        let is_now = command.starts_with("HELLO") && of_script.swap(false, Ordering::SeqCst);
        is_now.then_some(ScriptedReply::Close)
    })
    .await;
    fixture.is_up().await;
    fixture.calls.take();
    fixture.shared.refresher.is_requested();
    closes.store(true, Ordering::SeqCst);
    let calls = fixture.calls.until("confirmed acme").await;
    assert_eq!(calls, ["lost acme", "control confirmed", "confirmed acme"]);
    fixture.is_up().await;
    assert_eq!(fixture.shared.metrics.cluster_links_lost.get(), 1);
    assert!(fixture.shared.refresher.is_requested(), "the slots may belong to another server now");
}

/// What was learned over the former link says nothing about the next one.
#[tokio::test]
async fn lost_link_leaves_no_knowledge() {
    let (closes, of_script) = switch();
    let fixture = LinkFixture::start(&ONCE, move |command| {
        let is_forbidden = ["SUBSCRIBE", "SPUBLISH"].iter().any(|name| command.starts_with(name));
        match command.starts_with("HELLO") && of_script.load(Ordering::SeqCst) {
            true => Some(ScriptedReply::Close),
            false if is_forbidden => error("NOPERM no"),
            false => None,
        }
    })
    .await;
    fixture.is_up().await;
    let is_known = || {
        let status = fixture.shard.status.lock();
        status.clock_difference.is_some() && status.control_refused.is_some() && status.received_at.is_some()
    };
    eventually(is_known).await;
    closes.store(true, Ordering::SeqCst);
    fixture.is_down().await;
    fixture.calls.until("lost acme").await;
    eventually(|| fixture.shard.status.lock().wanted == 1).await;
    let status = fixture.shard.status.lock();
    assert_eq!((status.confirmed, status.received_at, status.clock_difference), (0, None, None));
    assert_eq!((&status.control_refused, &status.probe_refused), (&None, &None));
}

/// A server that freezes keeps its connections open.
#[tokio::test]
async fn link_without_replies_is_lost() {
    let (is_silent, of_script) = switch();
    let values = [&ONCE[..], &[("ping_timeout_seconds", "2")]].concat();
    let fixture = LinkFixture::start(&values, move |command| {
        if command.starts_with("HELLO") && of_script.load(Ordering::SeqCst) { silence() } else { None }
    })
    .await;
    fixture.is_up().await;
    is_silent.store(true, Ordering::SeqCst);
    let reason = fixture.is_down().await;
    assert!(reason.contains("no reply within 2.0 s"), "{reason}");
}

/// The probes of a link end it.
#[tokio::test]
async fn link_that_does_not_deliver_is_lost() {
    let (is_deaf, of_script) = switch();
    let values = [&ONCE[..], &[("ping_timeout_seconds", "2")]].concat();
    let fixture = LinkFixture::start(&values, move |command| {
        let is_now = command.starts_with("SPUBLISH") && of_script.load(Ordering::SeqCst);
        is_now.then(|| ScriptedReply::Send(":0\r\n".to_owned()))
    })
    .await;
    fixture.is_up().await;
    is_deaf.store(true, Ordering::SeqCst);
    let reason = fixture.is_down().await;
    assert!(reason.contains("do not arrive over its link for events"), "{reason}");
}

/// A demoted server keeps its connections, and reports the change only on request.
#[tokio::test]
async fn link_to_a_server_that_is_demoted_is_lost() {
    let (is_demoted, of_script) = switch();
    let fixture = LinkFixture::start(&ONCE, move |command| {
        let role = if of_script.load(Ordering::SeqCst) { "slave" } else { "master" };
        login(command, role).map(ScriptedReply::Send)
    })
    .await;
    fixture.is_up().await;
    is_demoted.store(true, Ordering::SeqCst);
    assert_eq!(fixture.is_down().await, "the server is a replica now");
    assert_eq!(fixture.calls.until("lost acme").await.last().unwrap(), "lost acme");
}

#[tokio::test]
async fn replica_and_server_of_another_kind_get_no_subscription() {
    for (from, to, expected) in [
        ("+master", "+slave", "the server is a replica now"),
        ("+cluster", "+standalone", "the server is no node of a Redis Cluster"),
    ] {
        let fixture = LinkFixture::start(&ONCE, move |command| {
            login(command, "master").map(|reply| ScriptedReply::Send(reply.replace(from, to)))
        })
        .await;
        let reason = fixture.is_down().await;
        assert!(reason.contains(expected), "{reason}");
        assert_eq!(fixture.server.count("SSUBSCRIBE"), 0);
        assert_eq!(fixture.shared.metrics.cluster_links_lost.get(), 0, "there was no link");
    }
}

/// The fault of the server is the reason, and not the error that follows from it.
#[tokio::test]
async fn reason_names_the_fault_of_the_server() {
    let fixture = LinkFixture::start(&ONCE, |_| None).await;
    fixture.is_up().await;
    fixture.server.push(&push("ssubscribe", "workspace:other", ":1\r\n"));
    let reason = fixture.is_down().await;
    assert!(reason.contains("did not request"), "{reason}");
}

/// The new owner of a slot waits for what the former session gives back.
#[tokio::test]
async fn workspaces_are_given_back_without_a_link() {
    // While the session pauses, and while it waits for the login.
    for (reply, timeout) in [("-ERR no\r\n", "1"), ("", "1000")] {
        let values = [&ONCE[..], &[("connect_timeout_seconds", timeout)]].concat();
        let fixture = LinkFixture::start(&values, move |_| Some(ScriptedReply::Send(reply.to_owned()))).await;
        if !reply.is_empty() {
            fixture.is_down().await;
        }
        eventually(|| fixture.shard.status.lock().wanted == 1).await;
        fixture.shard.changes.push(workspace("acme"), SubscriptionChange::Release);
        let returned = timeout_of(fixture.shared.returned.take()).await;
        assert_eq!(returned, [(workspace("acme"), fixture.shard.id.clone())].into());
        assert!(fixture.calls.take().is_empty());
    }
}

async fn timeout_of<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(40), future).await.expect("an outcome")
}

#[tokio::test]
async fn stopped_session_gives_its_workspaces_back() {
    for is_linked in [true, false] {
        let mut fixture = LinkFixture::start(&ONCE, move |command| {
            if !is_linked && command.starts_with("HELLO") { error("ERR no") } else { None }
        })
        .await;
        if is_linked {
            fixture.is_up().await;
        } else {
            fixture.is_down().await;
            eventually(|| fixture.shard.status.lock().wanted == 1).await;
        }
        fixture.calls.take();
        fixture.stop.cancel();
        fixture.ended().await;
        assert_eq!(fixture.calls.take(), if is_linked { vec!["lost acme"] } else { Vec::new() });
        let returned = timeout_of(fixture.shared.returned.take()).await;
        assert_eq!(returned, [(workspace("acme"), fixture.shard.id.clone())].into());
    }
}

#[tokio::test]
async fn link_follows_the_address_of_its_server() {
    let fixture = LinkFixture::start(&[], |_| None).await;
    fixture.is_up().await;
    fixture.calls.take();
    let other = LinkFixture::start(&[], |_| None).await;
    let server = Arc::clone(&other.shard.server.borrow());
    eventually(|| other.server.count("SSUBSCRIBE workspace:acme") == 1).await;
    fixture.shard.server.send_replace(server);
    let calls = fixture.calls.until("confirmed acme").await;
    assert_eq!(calls[0], "lost acme");
    assert_eq!(other.server.count("SSUBSCRIBE workspace:acme"), 2, "its own session has one");
}

/// Nodes that lose one server must not connect to it in a loop.
#[tokio::test]
async fn pauses_grow_until_a_link_is_up() {
    let values =
        [("backoff_min_seconds", "0.02"), ("backoff_max_seconds", "10"), ("cluster.poll_seconds", "10")];
    // The login fails, or the link does not last.
    for closing in ["HELLO", "SUBSCRIBE"] {
        let attempts = Arc::<AtomicUsize>::default();
        let of_script = Arc::clone(&attempts);
        let _fixture = LinkFixture::start(&values, move |command| {
            if !command.starts_with(closing) {
                return None;
            }
            of_script.fetch_add(1, Ordering::SeqCst);
            if closing == "HELLO" { error("ERR no") } else { Some(ScriptedReply::Close) }
        })
        .await;
        let began = Instant::now();
        eventually(|| attempts.load(Ordering::SeqCst) >= 6).await;
        // Half of 20, 40, 80, 160 and 320 ms.
        assert!(began.elapsed() > Duration::from_millis(300), "{closing}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn pauses_are_short_again_after_a_link_was_up() {
    let (closes, of_script) = switch();
    let values =
        [("backoff_min_seconds", "0.1"), ("backoff_max_seconds", "1000"), ("cluster.poll_seconds", "1000")];
    let fixture = LinkFixture::start(&values, move |command| {
        let is_now = command.starts_with("HELLO") && of_script.swap(false, Ordering::SeqCst);
        is_now.then_some(ScriptedReply::Close)
    })
    .await;
    // Without the reset the eleventh pause has at least 50 s, and no test waits for so long.
    for _ in 0..11 {
        fixture.is_up().await;
        fixture.calls.take();
        closes.store(true, Ordering::SeqCst);
        fixture.calls.until("confirmed acme").await;
    }
}

/// A server that restarts before the cluster replaces it is found as soon as a successor is.
#[tokio::test]
async fn pauses_are_no_longer_than_the_time_between_topologies() {
    for min in ["0.001", "1000"] {
        let values =
            [("backoff_min_seconds", min), ("backoff_max_seconds", "1000"), ("cluster.poll_seconds", "0.01")];
        let attempts = Arc::<AtomicUsize>::default();
        let of_script = Arc::clone(&attempts);
        let _fixture = LinkFixture::start(&values, move |command| {
            of_script.fetch_add(usize::from(command.starts_with("HELLO")), Ordering::SeqCst);
            error("ERR no")
        })
        .await;
        // Pauses that double have 65 s in all by then.
        eventually(|| attempts.load(Ordering::SeqCst) > 17).await;
    }
}
