//! A backend: numbered events, through the embedded bus, on one connection that keeps their order.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redis::Connection;

use super::support::Broker;

/// A payload that fills an event to about the size that is usual.
const PADDING: usize = 120;

/// A connection to the bus.
pub(crate) struct Backend(Connection);

impl Backend {
    /// Connects to a broker's own bus.
    pub(crate) fn of(broker: &Broker) -> Self {
        let url = format!("redis://{}", broker.embedded());
        let client = redis::Client::open(url).expect("the address of the bus");
        Self(client.get_connection().expect("a connection to the bus"))
    }

    /// Publishes live events with these numbers at once, and returns the moment of the first.
    pub(crate) fn publish(&mut self, workspace: &str, numbers: std::ops::Range<u64>) -> Instant {
        let mut pipe = redis::pipe();
        for number in numbers {
            pipe.cmd("PUBLISH").arg(channel(workspace)).arg(payload(number)).ignore();
        }
        let began = Instant::now();
        pipe.query::<()>(&mut self.0).expect("publish");
        began
    }

    /// Publishes durable events with these numbers, and returns their ids.
    pub(crate) fn log(&mut self, workspace: &str, numbers: std::ops::Range<u64>) -> Vec<String> {
        let mut pipe = redis::pipe();
        for number in numbers {
            pipe.cmd("FCALL").arg("tidings_publish").arg(1).arg(channel(workspace)).arg(payload(number));
            // As many as there are, for a day.
            pipe.arg(1_000_000).arg(86_400);
        }
        pipe.query(&mut self.0).expect("publish")
    }
}

fn channel(workspace: &str) -> String {
    format!("workspace:{workspace}")
}

fn payload(number: u64) -> String {
    format!(r#"{{"number":{number},"padding":"{}"}}"#, "x".repeat(PADDING))
}

/// A backend that publishes an event now and then, until it is stopped.
#[derive(Debug, Default)]
pub(crate) struct LoadPublisher {
    stopped: AtomicBool,
    /// How many events it published, if it does not publish any more.
    total: OnceLock<u64>,
}

impl LoadPublisher {
    /// Publishes to a workspace, and once more at the stop: so each client that is connected by
    /// then gets an event.
    pub(crate) fn run(&self, broker: &Broker, workspace: &str, pause: Duration) {
        let mut backend = Backend::of(broker);
        for number in 0.. {
            let is_last = self.stopped.load(Ordering::Relaxed);
            backend.publish(workspace, number..number + 1);
            if is_last {
                return self.total.set(number + 1).expect("run once");
            }
            std::thread::sleep(pause);
        }
    }

    /// Stops it when the value goes out of scope, so that a failed test does not wait for it.
    pub(crate) fn stop_on_drop(&self) -> StopOnDrop<'_> {
        StopOnDrop(&self.stopped)
    }

    /// How many events there are; `None` while there may be more.
    pub(crate) fn total(&self) -> Option<u64> {
        self.total.get().copied()
    }
}

/// Raises a flag when it goes out of scope.
#[derive(Debug)]
pub(crate) struct StopOnDrop<'a>(pub &'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
