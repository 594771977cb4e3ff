use super::*;

/// Heartbeats are spread over the interval, also of clients that connected at once.
#[test]
fn heartbeats_of_20_000_simultaneous_clients_are_spread() {
    const CLIENTS: usize = 20_000;
    const INTERVAL: u64 = 15_000;
    let mut heartbeat_wheel = HeartbeatWheel::new(INTERVAL, 0);
    let mut times: Vec<Vec<Tick>> = vec![Vec::new(); CLIENTS];
    let mut most = 0;
    while let Some(now) = heartbeat_wheel.next_at(CLIENTS, |_| true).filter(|&at| at <= 10 * INTERVAL) {
        let mut at_once = 0;
        while let Some(number) = heartbeat_wheel.pop(now, CLIENTS) {
            times[number as usize].push(now);
            at_once += 1;
        }
        most = most.max(at_once);
    }
    for times in &times {
        assert!(times[0] <= INTERVAL, "{times:?}");
        assert!(times.windows(2).all(|pair| (INTERVAL * 99 / 100..=INTERVAL).contains(&(pair[1] - pair[0]))));
    }
    assert!(most <= CLIENTS / 128 + 1, "{most} at once");
}

#[test]
fn every_number_has_its_point_whatever_the_interval() {
    for interval in [1, 25, 100, 200, 790, 1000, 1580, 60_000] {
        let mut heartbeat_wheel = HeartbeatWheel::new(interval, 0);
        let mut counts = vec![0; 300];
        for now in 0..=interval {
            while let Some(number) = heartbeat_wheel.pop(now, counts.len()) {
                counts[number as usize] += 1;
            }
        }
        assert!(counts.iter().all(|count| (1..=2).contains(count)), "{interval}: {counts:?}");
    }
}

#[test]
fn neighbours_are_apart() {
    let mut heartbeat_wheel = HeartbeatWheel::new(12_800, 0);
    let mut order = Vec::new();
    for now in 0..=12_800 {
        order.extend(std::iter::from_fn(|| heartbeat_wheel.pop(now, 8)));
    }
    assert!(order.windows(2).any(|pair| pair[0].abs_diff(pair[1]) > 1), "{order:?}");
}

#[test]
fn wait_ends_when_a_client_is_due() {
    let mut heartbeat_wheel = HeartbeatWheel::new(12_800, 0);
    assert_eq!(heartbeat_wheel.next_at(0, |_| true), None);
    assert_eq!(heartbeat_wheel.next_at(4, |_| false), None);
    let at = heartbeat_wheel.next_at(4, |number| number == 3).unwrap();
    assert_eq!(std::iter::from_fn(|| heartbeat_wheel.pop(at - 1, 4)).find(|&number| number == 3), None);
    assert_eq!(std::iter::from_fn(|| heartbeat_wheel.pop(at, 4)).find(|&number| number == 3), Some(3));
}

#[test]
fn a_long_sleep_brings_one_heartbeat_and_not_many() {
    let mut heartbeat_wheel = HeartbeatWheel::new(1280, 0);
    let due = std::iter::from_fn(|| heartbeat_wheel.pop(100_000, 1)).count();
    assert!((1..=2).contains(&due), "{due}");
}
