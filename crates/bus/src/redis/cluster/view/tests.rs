//! The reply of CLUSTER NODES, as servers of several versions send it.

use proptest::prelude::*;

use super::*;

const A: &str = "07c37dfeb235213a872192d90877d0cd55635b91";
const B: &str = "67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1";

#[test]
fn view_of_redis_is_parsed() {
    let text = format!(
        "{A} :30004@31004,host-a myself,master - 0 0 4 connected 0-5460 5462 [5461->-{B}] [77-<-{B}]\n\
         {B} fe80::1:30002@31002,,shard-id=ab master,fail - 0 1426238316232 2 connected 5461-5461\n"
    );
    let view = TopologyView::parse(&text, "10.0.0.1").unwrap();
    let [a, b] = view.servers.as_slice() else { panic!("{view:?}") };
    assert_eq!(
        (a.hosts.as_slice(), a.port, a.epoch),
        (&["host-a".to_owned(), "10.0.0.1".into()][..], 30_004, 4)
    );
    assert_eq!((a.slots.as_slice(), a.migrating.as_slice()), (&[0..=5460, 5462..=5462][..], &[5461][..]));
    assert!(a.is_myself && a.is_primary && !a.is_failed && view.myself() == Some(a));
    assert_eq!((b.hosts.as_slice(), b.port, b.is_failed), (&["fe80::1".to_owned()][..], 30_002, true));
}

#[test]
fn servers_without_an_address_have_no_hosts() {
    let view =
        TopologyView::parse(&format!("{A} :0@0 master,noaddr - 0 0 1 disconnected 1-2"), "asked").unwrap();
    assert!(view.servers[0].hosts.is_empty());
}

#[test]
fn other_texts_are_not_views() {
    for text in [
        "",
        "ERR",
        "OK\n",
        &format!("{A} host master - 0 0 1 connected"),
        &format!("{A} a:1 master - 0 0 1 connected 16384"),
    ] {
        assert_eq!(TopologyView::parse(text, "asked"), Err(NotAView), "{text}");
    }
}

proptest! {
    /// Whatever a server replies, parsing ends without a panic and within the range of slots.
    #[test]
    fn any_reply_is_parsed_or_rejected(
        words in prop::collection::vec(prop_oneof![
            Just(A.to_owned()), Just("a:1@2,h".to_owned()), Just("myself,master".to_owned()),
            Just("-".to_owned()), Just("\n".to_owned()), Just("0-16383".to_owned()),
            "[0-9]{1,6}", "\\[?[0-9]{0,5}->-[a-f0-9]{0,4}\\]?", "\\PC{0,12}",
        ], 0..40)
    ) {
        if let Ok(view) = TopologyView::parse(&words.join(" "), "asked") {
            for server in view.servers {
                prop_assert!(server.slots.iter().all(|range| *range.end() < SLOTS));
                prop_assert!(server.migrating.iter().all(|slot| *slot < SLOTS));
            }
        }
    }
}
