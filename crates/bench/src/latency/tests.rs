use super::*;

const MS: u64 = 1_000_000;

#[test]
fn percentiles_of_a_known_distribution() {
    let mut durations = Durations::new().unwrap();
    for number in 1..=1000 {
        durations.record(Duration::from_millis(number));
    }
    let found = durations.percentiles();
    let expected = [(found.p50, 500.0), (found.p90, 900.0), (found.p99, 990.0), (found.p999, 999.0)];
    for (found, expected) in expected.into_iter().chain([(found.max, 1000.0), (found.mean, 500.5)]) {
        assert!((found / expected - 1.0).abs() < 0.002, "{found} for {expected}");
    }
    assert_eq!(found.count, 1000);
}

#[test]
fn a_curve_reaches_from_none_to_all_but_one() {
    let mut durations = Durations::new().unwrap();
    assert_eq!(durations.curve(), []);
    for number in 1..=1000 {
        durations.record(Duration::from_millis(number));
    }
    let curve = durations.curve();
    let last = curve[curve.len() - 1];
    assert!((curve[0].0, (last.0 - 0.999).abs() < 1e-9) == (0.0, true), "{curve:?}");
    assert!(curve.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1), "{curve:?}");
}

#[test]
fn nothing_is_too_long_or_too_short_to_count() {
    let mut durations = Durations::new().unwrap();
    durations.record(Duration::ZERO);
    durations.record(Duration::MAX);
    assert_eq!(durations.percentiles().count, 2);
    assert!((durations.percentiles().max / 3_600_000.0 - 1.0).abs() < 0.002);
    assert_eq!(Durations::new().unwrap().percentiles(), Percentiles::default());
}

#[test]
fn events_count_in_the_interval_in_which_they_were_due() {
    let mut latencies = Latencies::new(Duration::from_millis(2500)).unwrap();
    latencies.count_from(Duration::from_secs(1));
    latencies.record(999 * MS, 1500 * MS);
    latencies.record(1000 * MS, 1002 * MS);
    latencies.record(3400 * MS, 3404 * MS);
    // Due at the very end, where the last interval takes it.
    latencies.record(4000 * MS, 4003 * MS);
    let mut sum = Latencies::new(Duration::from_millis(2500)).unwrap();
    sum.add(&latencies);
    let course: Vec<(f64, u64)> =
        sum.course().iter().map(|interval| (interval.second, interval.latency_ms.count)).collect();
    assert_eq!(course, [(1.0, 1), (3.0, 2)]);
    assert_eq!(sum.all().percentiles().count, 3);
}

#[test]
fn long_runs_have_wider_intervals() {
    let latencies = Latencies::new(Duration::from_secs(3600)).unwrap();
    assert_eq!((latencies.interval_ns, latencies.intervals.len()), (15_000_000_000, 240));
}
