//! Workspaces with live and durable events, beside workspaces with durable ones alone, on three
//! brokers.
//!
//! A broker without a client of a workspace knows nothing of it, unless another one has marked it.

mod brokers;
mod links;
mod random;
mod servers;

use std::ops::Range;
use std::time::Duration;

use tidings_testkit::ledger::{Clients, LiveShare, Mixed, Setting, Settings, Way};

/// A frozen broker holds publishers over HTTP.
pub(crate) const WITHOUT_HTTP: [Way; 3] = [Way::Script, Way::Function, Way::Plain];

const PACE: Duration = Duration::from_millis(60);
/// How long a client that hops stays.
const STAY: Range<Duration> = Duration::from_millis(400)..Duration::from_millis(1_500);

/// Where a publisher has live events too, plain commands are left out: their place among live
/// events is not promised.
fn publisher(ways: &[Way], live: LiveShare) -> Settings {
    let has_place = |way: &Way| live == LiveShare::None || *way != Way::Plain;
    let ways: Vec<Way> = ways.iter().copied().filter(has_place).collect();
    Settings { pace: PACE, ..Settings::mixed(&ways, live) }
}

/// Workspaces whose clients are all on one broker at a time.
fn together(ways: &[Way], live: LiveShare, publishers: usize) -> Mixed {
    Mixed {
        workspaces: 3,
        clients: 2,
        go: Clients::Together,
        resident: false,
        stay: None,
        publishers: vec![publisher(ways, live); publishers],
    }
}

/// A workspace whose clients hop at random and often.
fn hopping(ways: &[Way], live: LiveShare, publishers: usize) -> Mixed {
    Mixed {
        workspaces: 1,
        clients: 3,
        go: Clients::Random,
        resident: false,
        stay: Some(STAY),
        publishers: vec![publisher(ways, live); publishers],
    }
}

/// Three brokers; few and many live events, one and several publishers, and the same without live
/// events.
fn setting(ways: &[Way]) -> Setting {
    let mixed = vec![
        together(ways, LiveShare::Sparse, 1),
        Mixed { workspaces: 1, ..together(ways, LiveShare::Dense, 2) },
        hopping(ways, LiveShare::Sparse, 3),
        hopping(ways, LiveShare::Dense, 1),
        hopping(ways, LiveShare::None, 2),
    ];
    let mut setting = Setting { workspaces: 1, nodes: 3, mixed, ..Setting::default() };
    setting.publishers.ways = ways.to_vec();
    setting.publishers.pace = PACE;
    // A broker without clients forgets the workspace soon. So a client that reconnects meets one
    // without knowledge.
    setting.brokers.push(("ring.linger_seconds", "1".to_owned()));
    setting
}

/// The same with one client of each workspace on the first broker, which no fault strikes: it
/// receives every live event.
fn setting_with_residents(ways: &[Way]) -> Setting {
    let mut setting = setting(ways);
    for mixed in &mut setting.mixed {
        mixed.resident = true;
        mixed.stay.get_or_insert(STAY);
    }
    setting
}
