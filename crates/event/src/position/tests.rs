use super::*;
use crate::workspace::is_unreserved;
use proptest::prelude::*;

#[test]
fn texts_of_the_protocol_parse() {
    assert_eq!(
        "1795373098811-3".parse(),
        Ok(Position::logged(EntryId { milliseconds: 1_795_373_098_811, sequence: 3 }))
    );
    let live: Position = "0-0~k3v9x2ab.17".parse().unwrap();
    assert_eq!(live.entry, EntryId::ZERO);
    assert_eq!(live.live.unwrap().number, 17);
    let epoch: Position = "0-0.abcdefgh0123~k3v9x2ab.17".parse().unwrap();
    assert_eq!((epoch.live, epoch.epoch), (live.live, Some("abcdefgh0123".parse().unwrap())));
}

#[test]
fn text_that_no_node_writes_is_rejected() {
    for text in [
        "",
        "-",
        "1",
        "1-",
        "-1",
        "01-0",
        "1-00",
        "1-0~",
        "1-0~k3v9x2ab",
        "1-0~K3V9X2AB.1",
        "1-0~short.1",
        "1-0~k3v9x2ab.",
        "1-0~k3v9x2ab.-1",
        "+1-0",
        "1-0 ",
        " 1-0",
        "1-0\n",
        "18446744073709551616-0",
        "1-0~k3v9x2ab.1~",
        "1-0.",
        "1-0.short",
        "1-0.ABCDEFGH0123",
        "1-0~k3v9x2ab.1.abcdefgh0123",
    ] {
        assert_eq!(text.parse::<Position>(), Err(PositionError), "{text:?}");
    }
    assert_eq!("1".repeat(129).parse::<Position>(), Err(PositionError));
}

#[test]
fn position_reaches_the_events_before_it() {
    let reaches = |here: &str, event: &str| {
        here.parse::<Position>().unwrap().reaches(&event.parse::<Position>().unwrap())
    };
    for (here, event) in [
        ("2-0", "1-9"),
        ("2-0", "2-0"),
        ("2-0~k3v9x2ab.1", "2-0"),
        ("2-0~k3v9x2ab.2", "2-0~k3v9x2ab.1"),
        ("3-0", "2-0~k3v9x2ab.1"),
    ] {
        assert!(reaches(here, event), "{here} {event}");
    }
    for (here, event) in [
        ("2-0", "2-1"),
        ("2-0", "2-0~k3v9x2ab.1"),
        ("2-0~k3v9x2ab.1", "2-0~k3v9x2ab.2"),
        ("2-0~k3v9x2ac.9", "2-0~k3v9x2ab.2"),
    ] {
        assert!(!reaches(here, event), "{here} {event}");
    }
}

#[test]
fn epoch_counts_where_both_have_one() {
    let is_same = |one: &str, other: &str| {
        one.parse::<Position>().unwrap().is_same_event(&other.parse::<Position>().unwrap())
    };
    assert!(is_same("2-0", "2-0.4f2c91d07be3") && is_same("2-0.4f2c91d07be3", "2-0.4f2c91d07be3"));
    assert!(!is_same("2-0.4f2c91d07be4", "2-0.4f2c91d07be3") && !is_same("2-0", "2-0~k3v9x2ab.1"));
}

proptest! {
    #[test]
    fn position_survives_its_text_form(
        milliseconds: u64, sequence: u64, epoch: bool, number in proptest::option::of(any::<u64>()),
    ) {
        let position = Position {
            entry: EntryId { milliseconds, sequence },
            epoch: epoch.then(Epoch::random),
            live: number.map(|number| LivePart { node: NodeId::random(), number }),
        };
        let text = position.to_string();
        prop_assert!(text.len() <= POSITION_BYTES_MAX && text.bytes().all(is_unreserved));
        prop_assert_eq!(text.parse::<Position>(), Ok(position));
    }

    #[test]
    fn position_has_one_text(text in "[0-9]{1,4}-[0-9]{1,4}(~[a-z0-9]{8}\\.[0-9]{1,4})?") {
        if let Ok(position) = text.parse::<Position>() {
            prop_assert_eq!(position.to_string(), text);
        }
    }

    #[test]
    fn any_text_parses_or_is_rejected(text in any::<String>()) {
        let _ = text.parse::<Position>();
    }
}
