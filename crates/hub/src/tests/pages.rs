//! The memory of the pages that resuming clients read, and the turns of the clients.

use super::*;

const LATER: Duration = Duration::from_secs(3600);

fn logged(fixture: &Fixture, ids: std::ops::RangeInclusive<u64>, bytes: usize) {
    ids.for_each(|id| log_unannounced(fixture, id, &format!("{id:0bytes$}")));
}

fn client(fixture: &Fixture, name: &str, from: u64) -> Subscriber {
    resume(fixture, &format!("{from}-0")).reading_for(ReaderId::of(&name))
}

/// Completes one read, if the hub needs one whose page fits.
fn complete_one(fixture: &Fixture) -> bool {
    let Some(read) = fixture.hub.read_queue().take() else { return false };
    fixture.hub.answer(&read, fixture.log.lock().read(read.span, 3));
    true
}

fn used(fixture: &Fixture) -> i64 {
    fixture.metrics.replay_bytes.get()
}

#[test]
fn idle_page_is_freed_and_its_reader_continues() {
    let fixture = large_ring();
    logged(&fixture, 1..=10, 1);
    let _keeps_the_workspace = joined(&fixture);
    let mut slow = client(&fixture, "slow", 1);
    assert_eq!(next(&mut slow), Poll::Pending);
    let mut got = Vec::new();
    for index in 0..9 {
        fixture.complete_reads();
        assert!(used(&fixture) > 0, "{index}");
        if index == 0 {
            // A page without any read is read again.
            fixture.hub.sweep(Instant::now() + LATER);
            assert_eq!(next(&mut slow), Poll::Pending);
            fixture.complete_reads();
            assert!(matches!(next(&mut slow), Poll::Ready(Next::Joined(_))));
        }
        let Poll::Ready(Next::Event(bytes)) = next(&mut slow) else { panic!("{index}") };
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        got.push(text.split_once("data: ").unwrap().1.trim_end().to_owned());
        fixture.hub.sweep(Instant::now() + LATER);
        assert_eq!(used(&fixture), 0);
        assert_eq!(next(&mut slow), Poll::Pending);
    }
    assert_eq!(got, (2..=10).map(|number: u64| number.to_string()).collect::<Vec<_>>());
    fixture.complete_reads();
    log(&fixture, 11, "11");
    assert_eq!(read_short(&mut slow), ["11"]);
}

#[test]
fn pages_are_bounded_and_a_greedy_client_yields_its_pages() {
    const BYTES: usize = 16_000;
    let fixture = fixture_with(HubSettings {
        ring_events: 100,
        ring_bytes: 1000,
        replay_bytes: BYTES,
        event_bytes: 1000,
        ..settings()
    });
    logged(&fixture, 1..=60, 300);
    let mut live = joined(&fixture);
    let rings = fixture.metrics.ring_bytes.get();
    let mut greedy: Vec<_> = (1..=50).map(|from| client(&fixture, "greedy", from)).collect();
    for _ in 0..20 {
        for subscriber in &mut greedy {
            assert!(!matches!(next(subscriber), Poll::Ready(Next::Unavailable | Next::Lagging)));
        }
        while complete_one(&fixture) {}
    }
    let most = i64::try_from(BYTES).unwrap();
    assert!((most / 2..=most).contains(&used(&fixture)), "{}", used(&fixture));
    assert_eq!(fixture.metrics.ring_bytes.get(), rings, "rings are another matter");

    let mut other = client(&fixture, "other", 55);
    assert_eq!(read_all(&fixture, &mut other).len(), 6);
    assert!(used(&fixture) <= most, "{}", used(&fixture));
    let id = WorkspaceId::parse("further").unwrap();
    assert!(fixture.hub.join(&id, Start::Head, SubscriptionFilter::default()).is_ok());
    log(&fixture, 61, "61");
    assert_eq!(read_short(&mut live).last().unwrap(), "61");

    // The clients that waited get all of it in the end, a page at a time.
    for subscriber in &mut greedy {
        let mut got = Vec::new();
        while got.last().map(String::as_str) != Some("61") {
            got.extend(read_short(subscriber));
            fixture.hub.sweep(Instant::now() + LATER);
            fixture.complete_reads();
        }
        assert!(got.iter().all(|text| !text.starts_with("reset")), "{got:?}");
    }
}

#[test]
fn clients_take_turns_and_many_positions_delay_no_other_client() {
    let fixture = fixture();
    logged(&fixture, 1..=1000, 1);
    let _keeps_the_workspace = joined(&fixture);
    let mut greedy: Vec<_> = (1..=200).map(|from| client(&fixture, "greedy", from)).collect();
    for subscriber in &mut greedy {
        assert_eq!(next(subscriber), Poll::Pending);
    }
    let mut other = client(&fixture, "other", 900);
    assert_eq!(next(&mut other), Poll::Pending);
    assert!(complete_one(&fixture) && complete_one(&fixture));
    assert!(matches!(next(&mut other), Poll::Ready(Next::Joined(Joined::Resumed { .. }))));
    // A few positions of one client wait at a time, and all are read in the end.
    assert_eq!(fixture.complete_reads(), 7);
    let mut waiting = greedy;
    while !waiting.is_empty() {
        let before = waiting.len();
        waiting.retain_mut(|subscriber| next(subscriber).is_pending());
        fixture.complete_reads();
        assert!(waiting.len() < before);
    }
}
