//! Commands: when they are sent, in which order, and of how many channels.

use super::*;

/// Nothing of a former link concerns the next one.
#[tokio::test]
async fn link_begins_without_commands_of_the_former_one() {
    let mut fixture = Fixture::new();
    fixture.confirm("acme");
    fixture.subscriptions.set_probe("probe".to_owned());
    fixture.answer();
    assert_eq!(fixture.subscriptions.probe(), Some("probe"));
    fixture.apply("sent", SubscriptionChange::Want);
    fixture.send();
    fixture.apply("waiting", SubscriptionChange::Want);
    fixture.subscriptions.end();
    assert_eq!((fixture.subscriptions.probe(), fixture.subscriptions.chosen_probe()), (None, None));
    assert!(fixture.subscriptions.oldest().is_none());
    fixture.subscriptions.begin();
    let mut sent = fixture.answer();
    sent.sort();
    assert_eq!(
        sent,
        [
            "SSUBSCRIBE workspace:acme",
            "SSUBSCRIBE workspace:sent",
            "SSUBSCRIBE workspace:waiting",
            "SUBSCRIBE tidings:control"
        ]
    );
    assert_eq!(fixture.subscriptions.shared.metrics.cluster_resubscriptions.get(), 3);
}

/// The confirmations of a former link do not count.
#[tokio::test]
async fn only_the_present_link_confirms() {
    let mut fixture = Fixture::new();
    fixture.confirm("acme");
    fixture.subscriptions.end();
    assert_eq!(fixture.calls.take(), ["lost acme"]);
    fixture.subscriptions.apply([(workspace("acme"), SubscriptionChange::Want)].into(), false);
    fixture.subscriptions.begin();
    let _ = fixture.push(&PushKind::SMessage, "workspace:acme", text("early"));
    fixture.subscriptions.end();
    assert!(fixture.calls.take().is_empty());
}

#[tokio::test]
async fn changes_without_a_link_wait_for_it() {
    let mut fixture = Fixture::new();
    let changes = [("acme", SubscriptionChange::Want), ("other", SubscriptionChange::Release)];
    let changes = changes.map(|(id, change)| (workspace(id), change));
    fixture.subscriptions.apply(changes.into(), false);
    assert_eq!(fixture.returned(), ["other"], "the session never had it");
    assert!(fixture.send().is_empty());
    fixture.subscriptions.begin();
    assert_eq!(fixture.answer(), ["SUBSCRIBE tidings:control", "SSUBSCRIBE workspace:acme"]);
}

/// The hub has not seen the first confirmation.
#[tokio::test]
async fn confirmed_workspace_is_confirmed_again_without_a_command() {
    let mut fixture = Fixture::new();
    fixture.confirm("acme");
    fixture.apply("acme", SubscriptionChange::Want);
    assert_eq!(fixture.calls.take(), ["confirmed acme"]);
    assert!(fixture.send().is_empty());
}

#[tokio::test]
async fn rejected_workspace_is_tried_again_if_it_is_wanted_again() {
    let mut fixture = Fixture::new();
    fixture.apply("acme", SubscriptionChange::Want);
    fixture.send();
    fixture.reject("NOPERM no");
    fixture.apply("acme", SubscriptionChange::Want);
    assert_eq!(fixture.answer(), ["SSUBSCRIBE workspace:acme"]);
    assert_eq!(fixture.calls.take(), ["refused acme", "confirmed acme"]);
}

/// The reply to SUNSUBSCRIBE looks like the event of a slot that moved.
#[tokio::test]
async fn end_that_was_requested_is_no_event() {
    let mut fixture = Fixture::new();
    fixture.confirm("acme");
    fixture.apply("acme", SubscriptionChange::Release);
    assert_eq!(fixture.returned(), ["acme"]);
    fixture.apply("acme", SubscriptionChange::Want);
    let sent = fixture.answer();
    assert_eq!(sent, ["SUNSUBSCRIBE workspace:acme", "HELLO 3", "SSUBSCRIBE workspace:acme"]);
    assert_eq!(fixture.calls.take(), ["lost acme", "confirmed acme"]);
    assert!(fixture.returned().is_empty());
}

/// An unsubscription would end the subscription that the node wants again.
#[tokio::test]
async fn workspace_without_a_reply_is_not_unsubscribed() {
    let mut fixture = Fixture::new();
    fixture.apply("acme", SubscriptionChange::Want);
    fixture.send();
    fixture.apply("acme", SubscriptionChange::Release);
    fixture.apply("acme", SubscriptionChange::Want);
    assert_eq!(fixture.send(), ["SSUBSCRIBE workspace:acme"]);
    for _ in 0..2 {
        assert!(fixture.push(&PushKind::SSubscribe, "workspace:acme", Value::Int(1)).is_ok());
    }
    let _ = fixture.push(&PushKind::SMessage, "workspace:acme", text("event"));
    assert_eq!(fixture.calls.take(), ["confirmed acme", "confirmed acme", "message acme event"]);
}

/// The hash tag gives all channels one slot.
#[tokio::test]
async fn command_has_a_bounded_number_of_channels() {
    let mut fixture = Fixture::with_prefix("{all}:");
    let each = |change| (0..250).map(move |number| (workspace(&format!("w{number}")), change)).collect();
    fixture.subscriptions.apply(each(SubscriptionChange::Want), true);
    let (commands, channels) = fixture.subscriptions.commands(Instant::now());
    let mut sizes: Vec<_> = commands.iter().map(|command| command.args_iter().count() - 1).collect();
    sizes.sort_unstable();
    assert_eq!((sizes.as_slice(), channels), (&[50, CHANNELS_MAX, CHANNELS_MAX][..], 250));
}

/// A server rejects a command with channels of several slots.
#[tokio::test]
async fn unsubscription_has_one_channel() {
    let mut fixture = Fixture::new();
    for id in ["acme", "other"] {
        fixture.confirm(id);
    }
    let released = ["acme", "other"].map(|id| (workspace(id), SubscriptionChange::Release));
    fixture.subscriptions.apply(released.into(), true);
    let mut sent = fixture.answer();
    sent.sort();
    assert_eq!(sent, ["HELLO 3", "SUNSUBSCRIBE workspace:acme", "SUNSUBSCRIBE workspace:other"]);
}

/// The server rejects a command as a whole.
#[tokio::test]
async fn one_forbidden_channel_rejects_no_other() {
    let mut fixture = Fixture::with_prefix("{all}:");
    let wanted = ["acme", "other"].map(|id| (workspace(id), SubscriptionChange::Want));
    fixture.subscriptions.apply(wanted.into(), true);
    assert_eq!(fixture.send().len(), 1);
    fixture.reject("NOPERM no");
    assert!(fixture.calls.take().is_empty(), "it is not known which one is forbidden");
    let sent = fixture.send();
    assert_eq!(sent.len(), 2);
    fixture.reject("NOPERM no");
    let other = sent[1].strip_prefix("SSUBSCRIBE ").unwrap();
    assert!(fixture.push(&PushKind::SSubscribe, other, Value::Int(1)).is_ok());
    let of = |command: &str| command.strip_prefix("SSUBSCRIBE {all}:").unwrap().to_owned();
    let expected = [format!("refused {}", of(&sent[0])), format!("confirmed {}", of(&sent[1]))];
    assert_eq!(fixture.calls.take(), expected);
}

/// All of its channels have to be confirmed before the next command is.
#[tokio::test]
async fn command_ends_with_its_last_channel() {
    let mut fixture = Fixture::with_prefix("{all}:");
    let wanted = ["acme", "other"].map(|id| (workspace(id), SubscriptionChange::Want));
    fixture.subscriptions.apply(wanted.into(), true);
    fixture.subscriptions.check();
    let first = Instant::now();
    fixture.subscriptions.commands(first);
    assert!(fixture.push(&PushKind::SSubscribe, "{all}:other", Value::Int(1)).is_ok());
    assert_eq!(fixture.subscriptions.oldest(), Some(first), "a channel has no reply");
    assert!(fixture.push(&PushKind::SSubscribe, "{all}:acme", Value::Int(1)).is_ok());
    assert!(matches!(fixture.subscriptions.on_reply(Ok(Value::Okay)), Ok(Learned::Checked(_))));
    assert_eq!(fixture.subscriptions.oldest(), None);
}

#[tokio::test]
async fn oldest_command_has_its_own_time() {
    let mut fixture = Fixture::new();
    let first = Instant::now();
    let second = first + std::time::Duration::from_secs(1);
    for (id, now) in [("acme", first), ("other", second)] {
        fixture.apply(id, SubscriptionChange::Want);
        fixture.subscriptions.commands(now);
    }
    assert_eq!(fixture.subscriptions.oldest(), Some(first));
    let _ = fixture.push(&PushKind::SSubscribe, "workspace:acme", Value::Int(1));
    assert_eq!(fixture.subscriptions.oldest(), Some(second));
}
