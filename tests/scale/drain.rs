//! Thousands of streams that end because their node does.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::client::Sight;
use super::clients::ScaleClients;
use super::figures::{print, tenths, unevenness};
use super::patience::{PATIENCE, Patience};
use super::support::Broker;

/// Over which the ends are spread: `server.drain_seconds`.
pub(crate) const WINDOW: Duration = Duration::from_secs(4);

/// How much fuller a tenth of the window may be than the average. A machine that freezes for a
/// while makes one fuller; ends that are not spread are all in one.
const UNEVENNESS_MAX: f64 = 4.0;

/// Ends a broker. Each stream of the crowd gets a reconnect and a complete response. They end one
/// after the other; then the program ends.
pub(crate) async fn drain(writer: &str, broker: &mut Broker, crowd: &mut ScaleClients) {
    let clients = crowd.len();
    let mut told = std::collections::HashSet::new();
    let mut ends = Vec::new();
    let began = Instant::now();
    broker.signal(Signal::SIGTERM);
    let patience = Patience::waiting_for("all streams have ended");
    while crowd.len() > 0 {
        crowd.turn(&patience, |seen| match seen.what {
            Sight::Reconnect => assert!(told.insert(seen.client), "client {} was told twice", seen.client),
            Sight::Closed { whole } => {
                assert!(whole && told.contains(&seen.client), "client {} was cut", seen.client);
                ends.push(seen.at.duration_since(began));
            }
            what => panic!("client {}: {what:?}", seen.client),
        });
    }
    let exit = broker.ended(PATIENCE).await;
    let tenths = tenths(ends.iter().copied(), Duration::ZERO, WINDOW);
    let unevenness = unevenness(&tenths);
    print(&format!(
        "drain ({writer}): {clients} ended within {:?}, in tenths of {WINDOW:?}: {tenths:?}, the fullest {unevenness:.2} times \
         the mean; the program ended after {:?}",
        ends.last().expect("somebody"),
        began.elapsed(),
    ));
    assert!(exit.success(), "{exit}");
    assert!(unevenness < UNEVENNESS_MAX, "{tenths:?}");
}
