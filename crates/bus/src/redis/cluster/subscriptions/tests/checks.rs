//! Checks, probes and the control channel.

use super::*;

/// A node that publishes to a channel without a subscription gives the link up.
#[tokio::test]
async fn only_the_chosen_channel_has_probes() {
    let mut fixture = Fixture::new();
    fixture.subscriptions.set_probe("one".to_owned());
    assert_eq!(fixture.send(), ["SSUBSCRIBE one"]);
    fixture.subscriptions.set_probe("two".to_owned());
    let _ = fixture.push(&PushKind::SSubscribe, "one", Value::Int(1));
    assert_eq!((fixture.subscriptions.probe(), fixture.subscriptions.chosen_probe()), (None, Some("two")));
    assert_eq!(fixture.answer(), ["SSUBSCRIBE two"]);
    assert_eq!(fixture.subscriptions.probe(), Some("two"));
    let mut number = |channel: &str, payload| match fixture
        .push(&PushKind::SMessage, channel, text(payload))
        .ok()
        .unwrap()
    {
        Learned::Probe(number) => Some(number),
        _ => None,
    };
    assert_eq!([number("two", "7"), number("one", "7"), number("two", "x")], [Some(7), None, None]);
    // The slot of the probes moved.
    let _ = fixture.push(&PushKind::SUnsubscribe, "two", Value::Int(0));
    assert_eq!(fixture.subscriptions.chosen_probe(), None);
}

#[tokio::test]
async fn rejected_probe_keeps_its_channel_only_without_the_right() {
    let mut fixture = Fixture::new();
    for (line, chosen, is_refused) in
        [("MOVED 7 127.0.0.1:1", None, false), ("NOPERM no", Some("probe"), true)]
    {
        fixture.subscriptions.set_probe("probe".to_owned());
        fixture.send();
        fixture.reject(line);
        assert_eq!(fixture.subscriptions.chosen_probe(), chosen, "{line}");
        assert_eq!(fixture.subscriptions.probe(), None);
        let is_noted = fixture.subscriptions.shard.status.lock().subscription_refused.is_some();
        assert_eq!(is_noted, is_refused, "{line}");
    }
}

/// The server does not report a new right.
#[tokio::test]
async fn check_tries_rejected_channels_again() {
    let mut fixture = Fixture::new();
    fixture.subscriptions.begin();
    fixture.subscriptions.set_probe("probe".to_owned());
    fixture.send();
    fixture.reject("NOPERM no");
    fixture.reject("NOPERM no");
    fixture.subscriptions.check();
    fixture.subscriptions.check();
    let sent = fixture.answer();
    // One attempt at a time, or the subscriptions are never complete on a slow link.
    assert_eq!(sent, ["HELLO 3", "SUBSCRIBE tidings:control", "SSUBSCRIBE probe", "HELLO 3"]);
    assert_eq!(fixture.calls.take(), ["control confirmed"]);
    assert_eq!(fixture.subscriptions.probe(), Some("probe"));
    fixture.subscriptions.check();
    assert_eq!(fixture.answer(), ["HELLO 3"], "the server accepts both now");
    let status = fixture.subscriptions.shard.status.lock();
    assert_eq!((&status.control_refused, &status.subscription_refused), (&None, &None));
}

/// A link without the control channel still has events.
#[tokio::test]
async fn rejected_control_channel_keeps_the_link() {
    let mut fixture = Fixture::new();
    fixture.subscriptions.begin();
    fixture.send();
    fixture.reject("NOPERM no");
    assert!(fixture.subscriptions.shard.status.lock().control_refused.is_some());
    assert!(fixture.calls.take().is_empty());
}

/// The server of the slot may be another one by then.
#[tokio::test]
async fn error_of_an_unsubscription_ends_no_command() {
    let mut fixture = Fixture::new();
    fixture.confirm("acme");
    fixture.apply("acme", SubscriptionChange::Release);
    assert_eq!(fixture.send(), ["SUNSUBSCRIBE workspace:acme", "HELLO 3"]);
    assert!(matches!(fixture.subscriptions.on_reply(error("MOVED 7 127.0.0.1:1")), Ok(Learned::Nothing)));
    assert!(matches!(fixture.subscriptions.on_reply(Ok(Value::Okay)), Ok(Learned::Checked(_))));
    assert!(fixture.subscriptions.oldest().is_none());
}

/// The bound on commands without a reply may separate an unsubscription from a later command.
#[tokio::test]
async fn probe_chosen_while_an_unsubscription_waits_keeps_the_order() {
    let mut fixture = Fixture::new();
    fixture.confirm("acme");
    for number in 1..UNDER_WAY_MAX {
        fixture.apply(&format!("w{number}"), SubscriptionChange::Want);
    }
    fixture.apply("acme", SubscriptionChange::Release);
    let sent = fixture.send();
    assert_eq!(sent[UNDER_WAY_MAX - 1], "SUNSUBSCRIBE workspace:acme");
    fixture.subscriptions.set_probe("probe".to_owned());
    fixture.reply_to(&sent);
    fixture.answer();
    assert_eq!(fixture.subscriptions.probe(), Some("probe"));
}

#[tokio::test]
async fn reply_of_another_kind_ends_the_link() {
    let mut fixture = Fixture::new();
    fixture.apply("acme", SubscriptionChange::Want);
    fixture.send();
    assert!(fixture.subscriptions.on_reply(Ok(Value::Okay)).is_err(), "a subscription has no such reply");
    let mut fixture = Fixture::new();
    fixture.subscriptions.check();
    fixture.send();
    assert!(fixture.subscriptions.on_reply(error("NOAUTH no")).is_err(), "the server rejects the check");
}
