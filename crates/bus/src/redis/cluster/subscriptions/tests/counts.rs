//! The numbers of workspaces in the status, and when all are confirmed.

use super::*;

/// Records the status; returns the wanted, confirmed and rejected workspaces.
fn recorded(fixture: &Fixture) -> (usize, usize, Option<usize>) {
    fixture.subscriptions.record();
    let status = fixture.subscriptions.shard.status.lock();
    (status.wanted, status.confirmed, status.refused.as_ref().map(|(count, _)| *count))
}

#[tokio::test]
async fn confirmed_workspace_counts_once() {
    let mut fixture = Fixture::new();
    fixture.confirm("acme");
    assert_eq!(recorded(&fixture), (1, 1, None));
    // Two commands for one workspace, as the node wants it again before the first reply.
    for _ in 0..2 {
        fixture.apply("other", SubscriptionChange::Want);
    }
    assert_eq!(recorded(&fixture), (2, 1, None));
    assert_eq!(fixture.answer().len(), 2);
    assert_eq!(recorded(&fixture), (2, 2, None));
    fixture.apply("acme", SubscriptionChange::Release);
    assert_eq!(recorded(&fixture), (1, 1, None));
    let _ = fixture.push(&PushKind::SUnsubscribe, "workspace:other", Value::Int(0));
    assert_eq!(recorded(&fixture), (0, 0, None));
}

#[tokio::test]
async fn rejected_workspace_counts_once() {
    let mut fixture = Fixture::new();
    for _ in 0..2 {
        fixture.apply("acme", SubscriptionChange::Want);
    }
    fixture.send();
    fixture.reject("NOPERM no");
    fixture.reject("NOPERM no");
    assert_eq!(recorded(&fixture), (1, 0, Some(1)));
    fixture.apply("acme", SubscriptionChange::Want);
    assert_eq!(recorded(&fixture), (1, 0, None), "the server is asked again");
    fixture.send();
    fixture.reject("NOPERM no");
    fixture.apply("acme", SubscriptionChange::Release);
    assert_eq!(recorded(&fixture), (0, 0, None));
}

/// The right may be taken away between two commands.
#[tokio::test]
async fn workspace_that_is_rejected_later_is_no_longer_confirmed() {
    let mut fixture = Fixture::new();
    for _ in 0..2 {
        fixture.apply("acme", SubscriptionChange::Want);
    }
    fixture.send();
    let _ = fixture.push(&PushKind::SSubscribe, "workspace:acme", Value::Int(1));
    assert_eq!(recorded(&fixture), (1, 1, None));
    fixture.reject("NOPERM no");
    assert_eq!(recorded(&fixture), (1, 0, Some(1)));
}

#[tokio::test]
async fn lost_link_leaves_no_workspace_confirmed_or_rejected() {
    let mut fixture = Fixture::new();
    fixture.confirm("acme");
    fixture.apply("other", SubscriptionChange::Want);
    fixture.send();
    fixture.reject("NOPERM no");
    assert_eq!(recorded(&fixture), (2, 1, Some(1)));
    fixture.subscriptions.end();
    assert_eq!(recorded(&fixture), (2, 0, None));
}

#[tokio::test]
async fn subscriptions_are_complete_once_all_have_a_reply() {
    let mut fixture = Fixture::new();
    fixture.subscriptions.begin();
    fixture.answer();
    assert!(!fixture.subscriptions.is_complete(), "without a channel for probes");
    fixture.subscriptions.set_probe("probe".to_owned());
    assert!(!fixture.subscriptions.is_complete(), "the command waits");
    fixture.send();
    assert!(!fixture.subscriptions.is_complete(), "the command is under way");
    let _ = fixture.push(&PushKind::SSubscribe, "probe", Value::Int(1));
    assert!(fixture.subscriptions.is_complete());
    fixture.apply("acme", SubscriptionChange::Want);
    assert!(!fixture.subscriptions.is_complete());
    fixture.answer();
    assert!(fixture.subscriptions.is_complete());
    fixture.subscriptions.check();
    assert!(fixture.subscriptions.is_complete(), "a check subscribes to nothing");
}
