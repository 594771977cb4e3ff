//! Heartbeats of many idle clients that came at the same moment.

use std::time::{Duration, Instant};

use super::client::Sight;
use super::clients::{Coming, ScaleClients};
use super::figures::{print, tenths, unevenness};
use super::patience::Patience;
use super::support::{Broker, RedisOptions, RedisServer};
use super::{ALONE, CLIENTS_MAX, PATIENCE, quiet};

const INTERVAL: Duration = Duration::from_secs(6);

/// How many intervals are measured at most, after the first, until one is even.
const INTERVALS: usize = 4;

/// How much fuller than the average a tenth of an even interval may be.
const UNEVENNESS_MAX: f64 = 1.5;

/// They connect at once because all of them wait for the bus: their streams begin when it is up. A
/// machine that freezes for a moment makes one interval uneven; heartbeats that are not spread make
/// each of them so.
#[tokio::test]
async fn heartbeats_of_18_000_clients_are_spread_over_the_interval() {
    let _alone = ALONE.lock().await;
    let mut redis = RedisServer::prepare(RedisOptions::default());
    let options = quiet()
        .set("redis.url", redis.url())
        .set("log.level", "error")
        .set("redis.backoff_max_seconds", 0.2)
        // The link is not to be given up because the machine is busy.
        .set("redis.ping_timeout_seconds", PATIENCE.as_secs())
        .set("redis.confirm_seconds", PATIENCE.as_secs())
        .set("sse.heartbeat_seconds", INTERVAL.as_secs());
    let broker = Broker::start(options).await;
    let mut crowd = ScaleClients::of(broker.address());
    let coming = Coming { held: true, ..Coming::at_once(CLIENTS_MAX) };
    // A slow machine takes longer than an interval for it.
    crowd.come("acme", coming, |seen| assert_eq!(seen.what, Sight::Heartbeat, "too soon: {seen:?}"));

    redis.restart().await;
    let mut connected = Vec::new();
    let mut beats: Vec<(usize, Instant)> = Vec::new();
    let patience = Patience::waiting_for("each client has its connected event");
    while connected.len() < CLIENTS_MAX {
        crowd.turn(&patience, |seen| match seen.what {
            Sight::Connected => connected.push(seen.at),
            Sight::Heartbeat => beats.push((seen.client, seen.at)),
            what => panic!("{what:?}"),
        });
    }
    let first = *connected.iter().min().unwrap();
    let last = *connected.iter().max().unwrap();
    let settled = last.duration_since(first) + INTERVAL;
    let mut counts = vec![0; CLIENTS_MAX];
    beats.iter().for_each(|(client, _)| counts[*client] += 1);
    let mut intervals = Vec::new();
    while intervals.len() < INTERVALS && intervals.iter().map(unevenness).all(|most| most >= UNEVENNESS_MAX) {
        let begin = settled + INTERVAL * intervals.len() as u32;
        let wanted = intervals.len() + 1;
        let patience = Patience::waiting_for("each client has another heartbeat");
        while Instant::now() < first + begin + INTERVAL || counts.iter().any(|&count| count < wanted) {
            crowd.turn(&patience, |seen| {
                assert_eq!(seen.what, Sight::Heartbeat);
                counts[seen.client] += 1;
                beats.push((seen.client, seen.at));
            });
        }
        let moments = beats.iter().map(|(_, at)| at.duration_since(first));
        intervals.push(tenths(moments, begin, INTERVAL));
    }
    let arrivals = tenths(connected.iter().map(|at| at.duration_since(first)), Duration::ZERO, INTERVAL);
    let most = intervals.iter().map(unevenness).fold(f64::INFINITY, f64::min);
    print(&format!(
        "heartbeats: {CLIENTS_MAX} clients within {:?}, in tenths of {INTERVAL:?}: {arrivals:?}; \
         then heartbeats: {intervals:?}; fullest tenth {most:.2} times the mean",
        last.duration_since(first)
    ));
    assert!(most < UNEVENNESS_MAX, "{intervals:?}");
}
